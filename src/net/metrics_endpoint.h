// Prometheus' text of a registry as an HTTP handler, at /metrics. The registry's own headers stay in the .cc.
#pragma once

#include <memory>

#include "net/http_server.h"

namespace prometheus {
class Registry;
}

namespace godwit::net {

// Collects at each request; every other path is 404. Shares the registry.
HttpHandler metrics_handler(std::shared_ptr<prometheus::Registry> registry);

}  // namespace godwit::net
