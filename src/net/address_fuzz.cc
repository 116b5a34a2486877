// Any text as an address: refused, or one whose own text is read as the same address.
#include "base/check.h"
#include "net/address.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto address = godwit::net::Address::parse(text, 10809);
  if (address) GODWIT_CHECK(godwit::net::Address::parse(address->text(), 0).value() == *address);
  return 0;
}
