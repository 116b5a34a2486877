// The file `host` with any bytes in it: read, or refused; what is read is found again when it is written.
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "host/host_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  const Result<host::HostFile> read = host::decode_host_file({reinterpret_cast<const std::byte*>(data), size});
  if (!read) return 0;
  Bytes file(host::kHostFileSize);
  std::ranges::copy(host::encode_host_slot(*read),
                    file.begin() + static_cast<std::ptrdiff_t>(host::host_slot_offset(read->boot)));
  const Result<host::HostFile> again = host::decode_host_file(file);
  GODWIT_CHECK(again && *again == *read);
  return 0;
}
