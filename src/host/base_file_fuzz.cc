// The file NAME.cow.base with any bytes in it: read, or refused; what is read is found again when it is written.
#include <cstdint>

#include "base/check.h"
#include "host/base_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  Result<host::BaseFile> read = host::decode_base_file({reinterpret_cast<const std::byte*>(data), size});
  if (!read) return 0;
  if (read->path.empty()) read->path = "/version/1";
  const Result<host::BaseFile> again = host::decode_base_file(host::encode_base_file(*read));
  GODWIT_CHECK(again && *again == *read);
  return 0;
}
