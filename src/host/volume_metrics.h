// What a host tells Prometheus: gathered at each scrape from the parts themselves, so that nothing counts twice.
#pragma once

#include "net/http_server.h"

namespace godwit::host {

class VolumeProcess;

// Answers /metrics. The process outlives the handler.
net::HttpHandler make_metrics(VolumeProcess& process);

}  // namespace godwit::host
