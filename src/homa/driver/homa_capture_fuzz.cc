// Any bytes as a capture and as a hex dump: an error or datagrams, each of which can be told.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "homa/driver/capture.h"
#include "homa/driver/datagram_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const godwit::ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  std::vector<godwit::homa::CapturedDatagram> datagrams;
  if (!godwit::homa::read_capture(bytes, datagrams)) datagrams.clear();
  if (!godwit::homa::read_hex_dump(godwit::as_text(bytes), datagrams)) datagrams.clear();
  for (const auto& datagram : datagrams) {
    GODWIT_CHECK(datagram.payload.size() <= size);
    GODWIT_CHECK(!godwit::homa::describe_datagram(datagram.payload).empty());
  }
  return 0;
}
