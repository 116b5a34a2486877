// The counters of an endpoint and its socket in Prometheus' text form.
#pragma once

#include <string>

#include "homa/driver/driver.h"
#include "homa/driver/latency_histogram.h"

namespace godwit::homa {

std::string metrics_text(const Driver& driver, const LatencyHistogram& calls);

}  // namespace godwit::homa
