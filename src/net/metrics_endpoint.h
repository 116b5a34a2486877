// Prometheus' text of a registry, or of anything else that can be collected, as an HTTP handler at /metrics. Its own headers stay
// in the .cc.
#pragma once

#include <memory>

#include "net/http_server.h"

namespace prometheus {
class Collectable;
}

namespace godwit::net {

// Collects at each request; every other path is 404. Shares what it collects.
HttpHandler metrics_handler(std::shared_ptr<prometheus::Collectable> metrics);

}  // namespace godwit::net
