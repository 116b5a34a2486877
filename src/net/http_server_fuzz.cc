// Any bytes as the head of a request: refused with a status, or a request that keeps the rules of its fields.
#include "base/check.h"
#include "net/http_server.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view head(reinterpret_cast<const char*>(data), size);
  const auto parsed = godwit::net::parse_http_head(head);
  if (parsed.refusal != 0) return 0;
  GODWIT_CHECK(parsed.request.path.starts_with('/'));
  GODWIT_CHECK(parsed.request.path.find_first_of(" ?\r\n") == std::string::npos);
  GODWIT_CHECK(parsed.request.method == "GET" || parsed.request.method == "HEAD");
  return 0;
}
