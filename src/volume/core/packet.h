// The packets of the Silo protocol as values, and their bytes. Source: silo.md 2–5; what we refuse: silo.md 9; limits:
// silo.md 12. Decoded payloads borrow the body they were decoded from. Counts are checked against the bytes that are there before
// memory is asked for. Nothing here knows a session: whether a block index or an offset fits a device is the session's to say.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "volume/core/ids.h"

namespace godwit::volume {

inline constexpr std::size_t kFrameHeaderSize = 12;

// Limits of a device's description (silo.md 12).
inline constexpr std::size_t kDeviceNameSizeMax = 255;
inline constexpr std::size_t kSchemaSizeMax = 1024 * 1024;
inline constexpr std::size_t kGroupDevicesMax = 4096;

struct FrameHeader {
  DeviceId device;
  TxId tx;
  std::uint32_t body_length = 0;  // >= 1 in every legal frame; decode does not judge it
  friend bool operator==(const FrameHeader&, const FrameHeader&) = default;
};

FrameHeader decode_frame_header(ConstBytes twelve);

enum class PacketType : std::uint8_t {
  read_at = 0x01,
  write_at = 0x02,
  need_at = 0x03,
  dont_need_at = 0x04,
  dirty_list = 0x05,
  dev_info = 0x06,
  event = 0x07,
  hashes = 0x08,
  write_at_with_map = 0x09,
  remove_dev = 0x0A,
  remove_from_map = 0x0B,
  alternate_sources = 0x0C,
  device_group_info = 0x0D,
  read_by_hash = 0x0E,
  read_at_response = 0x81,
  read_at_response_err = 0x82,
  write_at_response = 0x83,
  write_at_response_err = 0x84,
  event_response = 0x85,
  hashes_response = 0x86,
  dirty_list_response = 0x87,
  read_by_hash_response = 0x88,
  read_by_hash_response_err = 0x89,
};

inline bool is_response(PacketType type) {
  return (static_cast<std::uint8_t>(type) & 0x80) != 0;
}
std::string name_of(PacketType type);  // "WriteAt"; "packet 0x7f" for what we do not know

enum class WriteForm : std::uint8_t { raw = 0, by_hash = 1, rle = 2, already_have = 3, gzip = 4, zeroes = 5 };
enum class HashLocation : std::uint8_t { s3 = 1, base_image = 2 };  // a hint only (silo.md 11.10)

struct ReadAt {
  std::int64_t offset = 0;
  std::int32_t length = 0;
  friend bool operator==(const ReadAt&, const ReadAt&) = default;
};
struct NeedAt {
  std::int64_t offset = 0;
  std::int32_t length = 0;
  friend bool operator==(const NeedAt&, const NeedAt&) = default;
};
struct DontNeedAt {
  std::int64_t offset = 0;
  std::int32_t length = 0;
  friend bool operator==(const DontNeedAt&, const DontNeedAt&) = default;
};

// WriteAt, forms raw, rle, gzip and zeroes: bytes at an offset. `payload` is as on the wire after the offset (for zeroes after
// the decoded length): see block_form.h for what it decodes to.
struct WriteData {
  WriteForm form = WriteForm::raw;
  std::int64_t offset = 0;
  std::uint64_t zeroes_length = 0;  // form zeroes only: decoded length
  ConstBytes payload;
};
struct WriteByHash {
  HashLocation location = HashLocation::s3;
  std::int64_t offset = 0;
  std::int64_t length = 0;
  Sha256 hash{};
  friend bool operator==(const WriteByHash&, const WriteByHash&) = default;
};
struct AlreadyHave {
  std::uint64_t block_size = 0;
  std::vector<std::uint32_t> blocks;
  friend bool operator==(const AlreadyHave&, const AlreadyHave&) = default;
};
struct DirtyList {
  std::uint32_t block_size = 0;
  std::vector<std::uint32_t> blocks;
  friend bool operator==(const DirtyList&, const DirtyList&) = default;
};
struct DevInfo {
  std::uint64_t size = 0;
  std::uint32_t block_size = 0;
  std::string name;    // bytes of the peer: never obeyed, shown escaped
  std::string schema;  // likewise
  friend bool operator==(const DevInfo&, const DevInfo&) = default;
};
struct DeviceGroupInfo {
  struct Entry {
    DeviceId device;
    DevInfo info;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> devices;  // in the order of the packet
  friend bool operator==(const DeviceGroupInfo&, const DeviceGroupInfo&) = default;
};
enum class EventType : std::uint8_t { pre_lock = 0, post_lock = 1, pre_unlock = 2, post_unlock = 3, completed = 4, custom = 5 };
inline constexpr std::uint8_t kCustomResume = 0x00;  // on device 0: "transfer authority, resume the VM"
inline constexpr std::uint8_t kCustomGodwit = 0x47;  // control frames between two godwits (ownership.md 15)
struct Event {
  EventType type{};              // may hold a value that has no name
  std::uint8_t custom_type = 0;  // type custom only
  ConstBytes payload;            // type custom only
};
struct Hashes {
  struct Entry {
    std::uint32_t block = 0;
    Sha256 hash{};
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> blocks;
  friend bool operator==(const Hashes&, const Hashes&) = default;
};
struct WriteAtWithMap {
  struct Entry {
    std::uint64_t id = 0;
    std::uint64_t location = 0;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::int64_t offset = 0;
  std::vector<Entry> map;
  ConstBytes payload;
};
struct RemoveFromMap {
  std::vector<std::uint64_t> ids;
  friend bool operator==(const RemoveFromMap&, const RemoveFromMap&) = default;
};
struct RemoveDev {
  friend bool operator==(const RemoveDev&, const RemoveDev&) = default;
};
struct AlternateSources {
  struct Entry {
    std::int64_t offset = 0;
    std::int64_t length = 0;
    Sha256 hash{};
    std::string location;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> sources;
  friend bool operator==(const AlternateSources&, const AlternateSources&) = default;
};
struct ReadByHash {
  Sha256 hash{};
  friend bool operator==(const ReadByHash&, const ReadByHash&) = default;
};

struct ReadAtResponse {
  std::uint32_t length = 0;  // as said; `payload` may be longer (silo.md 5.1) and is cut to min(length, what is there)
  ConstBytes payload;
};
struct ReadAtResponseErr {};
struct WriteAtResponse {
  std::uint32_t length = 0;
};
struct WriteAtResponseErr {};
struct EventResponse {};
struct HashesResponse {};
struct DirtyListResponse {};
struct ReadByHashResponse {
  ConstBytes payload;
};
struct ReadByHashResponseErr {
  std::string message;  // the peer's, shown escaped
};

// A type byte (or WriteAt sub-type) that has no meaning here.
struct UnknownPacket {
  std::uint8_t type = 0;
};
struct UnknownWriteForm {
  std::uint8_t form = 0;
};

using Packet = std::variant<ReadAt, WriteData, WriteByHash, AlreadyHave, UnknownWriteForm, NeedAt, DontNeedAt, DirtyList, DevInfo,
                            Event, Hashes, WriteAtWithMap, RemoveDev, RemoveFromMap, AlternateSources, DeviceGroupInfo,
                            ReadByHash, ReadAtResponse, ReadAtResponseErr, WriteAtResponse, WriteAtResponseErr, EventResponse,
                            HashesResponse, DirtyListResponse, ReadByHashResponse, ReadByHashResponseErr, UnknownPacket>;

// Decodes one body (its first byte is the type). Errors: truncated, invalid (a rule of silo.md 9 is broken), limit. Which packet
// it would have been is body[0]; silo.md 9's table says what each failure does to the session (see malformed_action).
Result<Packet> decode_packet(ConstBytes body);

// Encodes header and body up to the payload into `out` (appended); the payload (raw data, or already encoded form) is sent
// behind it by the caller, who keeps it alive: its size is already counted in the header's length.
void encode_frame(DeviceId device, TxId tx, const Packet& packet, Bytes& out);       // payload included
void encode_frame_head(DeviceId device, TxId tx, const Packet& packet, Bytes& out);  // payload left out, but counted
// The bytes that encode_frame_head leaves out; empty for packets without a payload. Borrowed from where the packet borrows them.
ConstBytes payload_of(const Packet& packet);

// What a body that does not decode means for the connection (silo.md 9).
enum class MalformedAction : std::uint8_t { close, answer_write_error, answer_read_error, answer_hash_error, ignore };
MalformedAction malformed_action(ConstBytes body);

// The head of a raw WriteAt that can be told from a frame's first bytes, so that its payload may be received straight into place.
struct RawWriteHead {
  std::int64_t offset = 0;
  std::uint32_t payload_length = 0;
};
inline constexpr std::size_t kRawWriteHeadSize = 10;  // type, sub-type, offset
std::optional<RawWriteHead> peek_raw_write(const FrameHeader& header, ConstBytes body_start);

}  // namespace godwit::volume
