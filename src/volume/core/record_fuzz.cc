// Any bytes as a record file; and, since no random bytes have the right checksum, as a slot that is given one.
#include <algorithm>

#include "base/check.h"
#include "volume/core/record.h"

using namespace godwit;
using namespace godwit::volume;

static void check_round_trip(const Result<Record>& record) {
  if (!record) return;
  const Result<Record> again = decode_slot(encode_slot(*record));
  GODWIT_CHECK(again && *again == *record);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  check_round_trip(decode_record_file(bytes));

  constexpr std::size_t kChecksumAt = kRecordSlotSize - sizeof(std::uint32_t);
  Bytes slot(kRecordSlotSize);
  std::copy_n(bytes.begin(), std::min(bytes.size(), kChecksumAt), slot.begin());
  const std::uint32_t sum = crc32c(ConstBytes(slot).first(kChecksumAt));
  std::memcpy(slot.data() + kChecksumAt, &sum, sizeof sum);
  const Result<Record> record = decode_slot(slot);
  check_round_trip(record);

  Bytes file(kRecordFileSize);
  if (record) {
    std::copy(slot.begin(), slot.end(), file.begin() + static_cast<std::ptrdiff_t>(slot_offset(record->gen)));
    const Result<Record> read = decode_record_file(file);
    GODWIT_CHECK(read && *read == *record);
  }
  return 0;
}
