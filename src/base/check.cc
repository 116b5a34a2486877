#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace godwit {

void fail_check(const char* expression, std::source_location where) {
  std::fprintf(stderr, "godwit: internal error: check failed: %s at %s:%u in %s\n", expression, where.file_name(),
               static_cast<unsigned>(where.line()), where.function_name());
  std::abort();
}

}  // namespace godwit
