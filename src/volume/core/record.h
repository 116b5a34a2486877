// The ownership record, `NAME.own`: what a host durably knows about its copy of a volume. Two slots of 8 KiB at offsets 0 and
// 8192; a change goes to the older slot; the valid slot with the higher gen counts. Source: ownership.md 2;
// docs/formats/ownership-record.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "volume/core/chain.h"
#include "volume/core/control.h"
#include "volume/core/ids.h"

namespace godwit::volume {

inline constexpr std::size_t kRecordSlotSize = 8192;
inline constexpr std::size_t kRecordFileSize = 2 * kRecordSlotSize;
inline constexpr std::size_t kWordsMax = 64;
inline constexpr std::size_t kDeclinedMax = 64;

struct Record {
  std::uint64_t gen = 0;  // of the slot this was read from; encode_slot writes it as given
  VolumeId volume;
  CopyId copy;
  Geometry geometry;
  HostId host;  // ours; another one means a copied directory
  CopyState state = CopyState::none;
  Chain chain;
  std::optional<HandoverId> h;  // READY, RELINQUISHED, SPLIT
  std::optional<Peer> peer;
  struct Reserved {
    CopyId copy;
    HostId host;
    friend bool operator==(const Reserved&, const Reserved&) = default;
  };
  std::optional<Reserved> reserved;
  struct Word {
    HostId host;
    Boot boot;
    std::uint64_t word = 0;
    friend bool operator==(const Word&, const Word&) = default;
  };
  std::vector<Word> words;  // at most 64
  struct Declined {
    HandoverId h;
    bool aborted = false;  // ended by ABORTED: makes room first
    friend bool operator==(const Declined&, const Declined&) = default;
  };
  std::vector<Declined> declined;  // oldest first, at most 64
  bool untold = false;
  bool heard = false;
  bool relaying = false;
  std::string data_name;  // what the data file is called; for a block device its path
  enum class Kind : std::uint8_t { file = 0, overlay = 1, block_device = 2 } kind = Kind::file;

  bool has_declined(const HandoverId& attempt) const;
  void decline(const HandoverId& attempt, bool aborted);

  friend bool operator==(const Record&, const Record&) = default;
};

// Exactly kRecordSlotSize bytes: magic, version, gen, length, fields, CRC32C.
Bytes encode_slot(const Record& record);
// Errors: corrupt (magic, checksum, fields), unsupported (newer version, named).
Result<Record> decode_slot(ConstBytes slot);
// The newest valid slot of a whole record file. Both bad: corrupt, never a guess. One unsupported: that error, never the older
// one.
Result<Record> decode_record_file(ConstBytes file);
// Where a record of generation `gen` goes: the slot that holds gen - 1 is never overwritten.
std::uint64_t slot_offset(std::uint64_t gen);

}  // namespace godwit::volume
