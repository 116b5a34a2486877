// Any bytes as the head of a request for a file, and any text as its range: refused with a status, or a path that stays below its
// folder and a range that lies within the file.
#include "base/check.h"
#include "chunks/driver/http_request.h"

using namespace godwit::chunks;

static void check_below(std::string_view path) {
  GODWIT_CHECK(!path.empty() && !path.starts_with('/') && !path.ends_with('/') && path.find("//") == std::string::npos);
  GODWIT_CHECK(path.find("/.") == std::string::npos && !path.starts_with('.'));
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view head(reinterpret_cast<const char*>(data), size);
  const FileRequest request = parse_file_request(head);
  if (request.refusal == 0) {
    GODWIT_CHECK(!request.path.empty());
    for (const char c : request.path) GODWIT_CHECK(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    if (is_image_path(request.path)) check_below(request.path);
  } else {
    GODWIT_CHECK(request.refusal >= 400 && request.refusal < 600);
  }
  if (is_image_path(head)) check_below(head);
  for (const std::string_view text : {head, std::string_view(request.range)}) {
    for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100}, ~std::uint64_t{0}}) {
      const auto range = parse_range(text, length);
      if (range) GODWIT_CHECK(range->length <= length && range->first <= length && range->first + range->length <= length);
    }
  }
  return 0;
}
