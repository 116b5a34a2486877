#include "store/blob_store.h"

#include <fmt/format.h>

namespace godwit::store {

Result<void> check_blob_name(std::string_view name) {
  static constexpr std::size_t kNameBytesMax = 512;
  bool plain = name.size() <= kNameBytesMax && name.find('\0') == name.npos;
  for (std::string_view rest = name; plain;) {
    const std::size_t slash = rest.find('/');
    const std::string_view element = rest.substr(0, slash);
    plain = !element.empty() && element != "." && element != "..";
    if (slash == rest.npos) break;
    rest = rest.substr(slash + 1);
  }
  if (!plain) return fail(ErrorKind::invalid, fmt::format("\"{}\" is no name of a blob", escaped(name)));
  return {};
}

}  // namespace godwit::store
