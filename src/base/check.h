// Assertions of what would be our own bug. They stay on in release. Bytes from a peer or a disk never trip one.
#pragma once

#include <source_location>

namespace godwit {

[[noreturn]] void fail_check(const char* expression, std::source_location where);

}  // namespace godwit

#define GODWIT_CHECK(expression)                                          \
  do {                                                                    \
    if (!(expression)) [[unlikely]]                                       \
      ::godwit::fail_check(#expression, std::source_location::current()); \
  } while (false)
