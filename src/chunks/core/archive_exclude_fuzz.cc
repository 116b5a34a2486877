// Any bytes as the text of a .caexclude file, judged on its own lines as paths.
#include "base/check.h"
#include "chunks/core/archive_exclude.h"

using namespace godwit;
using namespace godwit::chunks;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  const Result<ExcludeRules> rules = ExcludeRules::parse(text);
  const std::string_view path = text.substr(0, std::min<std::size_t>(text.size(), 200));
  if (rules) {
    (void)rules->judge(path, true);
    (void)rules->judge("a/b", false);
  }
  // Only stars match nothing.
  GODWIT_CHECK(glob_matches(path, "") == (path.find_first_not_of('*') == std::string_view::npos));
  return 0;
}
