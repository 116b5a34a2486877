#include "volume/core/record.h"

#include <algorithm>

#include "base/check.h"
#include "base/cursor.h"
#include "volume/core/tagged_fields.h"

namespace godwit::volume {
namespace {

constexpr std::string_view kMagic = "GODWITOW";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeaderSize = 24;
constexpr std::size_t kChecksumSize = 4;
constexpr std::size_t kFieldsSizeMax = kRecordSlotSize - kHeaderSize - kChecksumSize;

constexpr std::size_t kFieldHeadSize = 6;
constexpr std::size_t kReservedSize = 32;
constexpr std::size_t kWordSize = 32;
constexpr std::size_t kDeclinedSize = 17;
constexpr std::size_t kDataNameSizeMax = 255;

// Everything at its maximum fits, so that a host never finds itself unable to note what it must.
constexpr std::size_t kChainSizeMax = 2 + kChainEntriesMax * 41 + 2 + kChainEntriesMax * 16;
constexpr std::size_t kPeerSizeMax = 16 + 2 * (1 + kPeerTextSizeMax);
static_assert(14 * kFieldHeadSize + 4 * 16 /* uuid, copy, host, h */ + 12 /* geometry */ + 3 /* state, flags, kind */ +
                  kChainSizeMax + kPeerSizeMax + kReservedSize + kWordsMax * kWordSize + kDeclinedMax * kDeclinedSize +
                  kDataNameSizeMax <=
              kFieldsSizeMax);

enum Tag : std::uint16_t {
  kVolume = 1,
  kCopy = 2,
  kGeometry = 3,
  kHost = 4,
  kState = 5,
  kChain = 6,
  kHandover = 7,
  kPeer = 8,
  kReserved = 9,
  kWords = 10,
  kDeclined = 11,
  kFlags = 12,
  kDataName = 13,
  kKind = 14,
  kTagEnd = 15,
};
constexpr Tag kNeeded[] = {kVolume, kCopy, kGeometry, kHost, kState, kChain, kWords, kDeclined, kFlags, kDataName, kKind};

enum Flag : std::uint8_t { kUntold = 1, kHeard = 2, kRelaying = 4, kFlagsAll = 7 };

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorKind::corrupt, std::move(what));
}

// What a record may not say, whoever says it; null when it is in order.
const char* why_impossible(const Record& record) {
  if (record.geometry.size_bytes == 0 || record.geometry.block_size_bytes == 0) return "a size or block size of 0";
  if (record.state == CopyState::none) return "no state";
  if (record.state == CopyState::ready && !record.h) return "READY without the attempt it is for";
  return nullptr;
}

void put_lists(const Record& record, Bytes& out) {
  FieldWriter fields(out);
  Writer writer(out);
  fields.begin(kWords);
  for (const Record::Word& word : record.words) {
    writer.bytes(word.host.view());
    writer.u64_le(word.boot.value);
    writer.u64_le(word.word);
  }
  fields.end();
  fields.begin(kDeclined);
  for (const Record::Declined& declined : record.declined) {
    writer.bytes(declined.h.view());
    writer.u8(declined.aborted ? 1 : 0);
  }
  fields.end();
}

void put_fields(const Record& record, Bytes& out) {
  FieldWriter fields(out);
  Writer writer(out);
  fields.bytes(kVolume, record.volume.view());
  fields.bytes(kCopy, record.copy.view());
  fields.begin(kGeometry);
  writer.u64_le(record.geometry.size_bytes);
  writer.u32_le(record.geometry.block_size_bytes);
  fields.end();
  fields.bytes(kHost, record.host.view());
  fields.u8(kState, static_cast<std::uint8_t>(record.state));
  fields.begin(kChain);
  encode_chain(record.chain, out);
  fields.end();
  if (record.h) fields.bytes(kHandover, record.h->view());
  if (record.peer) {
    fields.begin(kPeer);
    encode_peer(*record.peer, out);
    fields.end();
  }
  if (record.reserved) {
    fields.begin(kReserved);
    writer.bytes(record.reserved->copy.view());
    writer.bytes(record.reserved->host.view());
    fields.end();
  }
  put_lists(record, out);
  fields.u8(kFlags, static_cast<std::uint8_t>((record.untold ? kUntold : 0) | (record.heard ? kHeard : 0) |
                                              (record.relaying ? kRelaying : 0)));
  fields.bytes(kDataName, as_bytes(record.data_name));
  fields.u8(kKind, static_cast<std::uint8_t>(record.kind));
}

// One field into the record; a cursor that is not exactly at its end afterwards says that the field has another size.
template <class Id>
void take_id(Cursor& in, Id& id) {
  const ConstBytes sixteen = in.take(16);
  if (in.ok()) id = Id::from(sixteen);
}

template <class Enum>
void take_enum(Cursor& in, Enum& value, Enum last) {
  const std::uint8_t number = in.u8();
  if (number > static_cast<std::uint8_t>(last)) in.fail();
  value = static_cast<Enum>(number);
}

void take_words(Cursor& in, std::vector<Record::Word>& words) {
  while (in.ok() && in.remaining() > 0 && words.size() < kWordsMax) {
    Record::Word word;
    take_id(in, word.host);
    word.boot = Boot{in.u64_le()};
    word.word = in.u64_le();
    words.push_back(word);
  }
}

void take_declined(Cursor& in, std::vector<Record::Declined>& declined) {
  while (in.ok() && in.remaining() > 0 && declined.size() < kDeclinedMax) {
    Record::Declined entry;
    take_id(in, entry.h);
    const std::uint8_t aborted = in.u8();
    if (aborted > 1) in.fail();
    entry.aborted = aborted == 1;
    declined.push_back(entry);
  }
}

void take_flags(Cursor& in, Record& record) {
  const std::uint8_t flags = in.u8();
  if ((flags & ~kFlagsAll) != 0) in.fail();
  record.untold = (flags & kUntold) != 0;
  record.heard = (flags & kHeard) != 0;
  record.relaying = (flags & kRelaying) != 0;
}

Result<void> take_field(const TaggedField& field, Record& record) {
  Cursor in(field.value);
  switch (field.tag) {
    case kVolume: take_id(in, record.volume); break;
    case kCopy: take_id(in, record.copy); break;
    case kGeometry:
      record.geometry.size_bytes = in.u64_le();
      record.geometry.block_size_bytes = in.u32_le();
      break;
    case kHost: take_id(in, record.host); break;
    case kState: take_enum(in, record.state, CopyState::gone); break;
    case kChain: {
      Result<Chain> chain = decode_chain(in.rest());
      if (!chain) return corrupt(chain.error().message());
      record.chain = std::move(*chain);
      break;
    }
    case kHandover: take_id(in, record.h.emplace()); break;
    case kPeer: {
      Result<Peer> peer = decode_peer(in.rest());
      if (!peer) return corrupt(peer.error().message());
      record.peer = std::move(*peer);
      break;
    }
    case kReserved:
      take_id(in, record.reserved.emplace().copy);
      take_id(in, record.reserved->host);
      break;
    case kWords: take_words(in, record.words); break;
    case kDeclined: take_declined(in, record.declined); break;
    case kFlags: take_flags(in, record); break;
    case kDataName:
      record.data_name = as_text(in.rest());
      if (record.data_name.size() > kDataNameSizeMax)
        return corrupt("a data name of " + std::to_string(record.data_name.size()) + " bytes");
      break;
    case kKind: take_enum(in, record.kind, Record::Kind::block_device); break;
    default: return corrupt("unknown field " + std::to_string(field.tag));
  }
  if (!in.at_end()) return corrupt("field " + std::to_string(field.tag) + " is not what it should be");
  return {};
}

Result<Record> decode_fields(ConstBytes bytes) {
  const Result<std::vector<TaggedField>> fields = read_fields(bytes);
  if (!fields) return corrupt(fields.error().message());
  Record record;
  bool seen[kTagEnd] = {};
  for (const TaggedField& field : *fields) {
    if (Result<void> taken = take_field(field, record); !taken) return fail(std::move(taken).error());
    seen[field.tag] = true;
  }
  for (const Tag tag : kNeeded)
    if (!seen[tag]) return corrupt("field " + std::to_string(tag) + " is missing");
  if (const char* why = why_impossible(record)) return corrupt(why);
  return record;
}

}  // namespace

bool Record::has_declined(const HandoverId& attempt) const {
  return std::any_of(declined.begin(), declined.end(), [&](const Declined& entry) { return entry.h == attempt; });
}

// An attempt that ABORTED ended will not be granted any more, so forgetting it costs least; the others may still be asked for.
// The attempt itself is always there afterwards.
void Record::decline(const HandoverId& attempt, bool aborted) {
  const auto known = std::find_if(declined.begin(), declined.end(), [&](const Declined& entry) { return entry.h == attempt; });
  if (known != declined.end()) {
    known->aborted = known->aborted && aborted;
    return;
  }
  while (declined.size() >= kDeclinedMax) {
    const auto spare = std::find_if(declined.begin(), declined.end(), [](const Declined& entry) { return entry.aborted; });
    declined.erase(spare != declined.end() ? spare : declined.begin());
  }
  declined.push_back({.h = attempt, .aborted = aborted});
}

Bytes encode_slot(const Record& record) {
  GODWIT_CHECK(why_impossible(record) == nullptr);
  GODWIT_CHECK(record.words.size() <= kWordsMax && record.declined.size() <= kDeclinedMax);
  GODWIT_CHECK(record.data_name.size() <= kDataNameSizeMax);
  Bytes fields;
  put_fields(record, fields);
  GODWIT_CHECK(fields.size() <= kFieldsSizeMax);

  Bytes slot;
  slot.reserve(kRecordSlotSize);
  Writer writer(slot);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.u32_le(static_cast<std::uint32_t>(fields.size()));
  writer.u64_le(record.gen);
  writer.bytes(fields);
  slot.resize(kRecordSlotSize - kChecksumSize);
  writer.u32_le(crc32c(slot));
  return slot;
}

Result<Record> decode_slot(ConstBytes slot) {
  if (slot.size() != kRecordSlotSize) return corrupt("a slot of " + std::to_string(slot.size()) + " bytes");
  Cursor in(slot);
  if (as_text(in.take(kMagic.size())) != kMagic) return corrupt(is_zero(slot) ? "an unused slot" : "bad magic");
  const ConstBytes checked = slot.first(kRecordSlotSize - kChecksumSize);
  if (Cursor(slot.last(kChecksumSize)).u32_le() != crc32c(checked)) return corrupt("bad checksum");
  if (const std::uint32_t version = in.u32_le(); version > kVersion)
    return fail(ErrorKind::unsupported, "ownership record of version " + std::to_string(version) + ", this program knows up to " +
                                            std::to_string(kVersion));
  else if (version == 0)
    return corrupt("version 0");
  const std::size_t length = in.u32_le();
  const std::uint64_t gen = in.u64_le();
  if (length > kFieldsSizeMax) return corrupt("fields that do not fit their slot");
  Result<Record> record = decode_fields(in.take(length));
  if (record) record->gen = gen;
  return record;
}

std::uint64_t slot_offset(std::uint64_t gen) {
  return (gen % 2) * kRecordSlotSize;
}

// The slot at `offset`; a record that stands where its generation does not belong would be overwritten by the next one.
static Result<Record> decode_slot_at(ConstBytes file, std::uint64_t offset) {
  Result<Record> record = decode_slot(file.subspan(offset, kRecordSlotSize));
  if (record && slot_offset(record->gen) != offset) return corrupt("a record in the other one's place");
  return record;
}

Result<Record> decode_record_file(ConstBytes file) {
  if (file.size() != kRecordFileSize)
    return corrupt("an ownership record has " + std::to_string(kRecordFileSize) + " bytes, not " + std::to_string(file.size()));
  Result<Record> even = decode_slot_at(file, 0);
  Result<Record> odd = decode_slot_at(file, kRecordSlotSize);
  if (!even && even.error().kind() == ErrorKind::unsupported) return even;
  if (!odd && odd.error().kind() == ErrorKind::unsupported) return odd;
  if (!even && !odd) return corrupt("no readable slot: first: " + even.error().message() + "; second: " + odd.error().message());
  if (!even) return odd;
  if (!odd) return even;
  return even->gen > odd->gen ? even : odd;
}

}  // namespace godwit::volume
