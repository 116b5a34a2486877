#include "net/metrics_endpoint.h"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

namespace godwit::net {

HttpHandler metrics_handler(std::shared_ptr<prometheus::Collectable> metrics) {
  return [metrics = std::move(metrics)](const HttpRequest& request) -> HttpResponse {
    if (request.path != "/metrics") return {404, "text/plain; charset=utf-8", "metrics are at /metrics\n"};
    return {200, "text/plain; version=0.0.4; charset=utf-8", prometheus::TextSerializer().Serialize(metrics->Collect())};
  };
}

}  // namespace godwit::net
