// Homa's packets as values, and their bytes: one datagram is one packet. Big-endian, fields that are not listed are sent as zero
// and ignored. This is the codec only: what a packet means to an RPC is decided by the endpoint. Source: homa.md 3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "homa/core/ids.h"

namespace godwit::homa {

inline constexpr std::size_t kCommonHeaderSize = 28;
inline constexpr std::size_t kDataHeaderSize = 60;
// The longest header of all types (ACK): so much of a datagram is all that the core needs to see.
inline constexpr std::size_t kHeaderSizeMax = 90;
inline constexpr std::size_t kAcksPerPacket = 5;
inline constexpr std::size_t kPriorityCount = 8;

enum class PacketType : std::uint8_t {
  data = 20,
  grant = 21,
  resend = 22,
  unknown = 23,
  busy = 24,
  cutoffs = 25,
  freeze = 26,
  need_ack = 27,
  ack = 28,
};
inline constexpr std::size_t kPacketTypeCount = 9;
// 0 for data … 8 for ack.
constexpr std::size_t index_of(PacketType type) {
  return static_cast<std::size_t>(type) - static_cast<std::size_t>(PacketType::data);
}
// "DATA", "NEED_ACK"…
std::string_view name_of(PacketType type);

// Tells a server that its client has the response. client_id is even; 0: no record.
struct AckRecord {
  RpcId client_id;
  Port client_port;
  Port server_port;

  friend bool operator==(const AckRecord&, const AckRecord&) = default;
};

struct Data {
  std::uint32_t message_length = 0;
  // The receiver may count on everything below this offset without further grants.
  std::uint32_t incoming = 0;
  std::uint16_t cutoff_version = 0;  // of the CUTOFFS that the sender last got from this receiver; 0: none
  bool retransmit = false;
  std::uint32_t offset = 0;
  std::uint32_t segment_length = 0;  // as many bytes follow the header
  AckRecord ack;

  friend bool operator==(const Data&, const Data&) = default;
};
// Send everything below `offset`.
struct Grant {
  std::uint32_t offset = 0;
  std::uint8_t priority = 0;

  friend bool operator==(const Grant&, const Grant&) = default;
};
// Length 0: "is the client still interested?" The range may run past the message's end.
struct Resend {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  std::uint8_t priority = 0;

  friend bool operator==(const Resend&, const Resend&) = default;
};
struct Unknown {
  friend bool operator==(const Unknown&, const Unknown&) = default;
};
struct Busy {
  friend bool operator==(const Busy&, const Busy&) = default;
};
struct CutoffsUpdate {
  std::array<std::uint32_t, kPriorityCount> longest{};  // by priority: the longest message that may use it
  std::uint16_t version = 0;

  friend bool operator==(const CutoffsUpdate&, const CutoffsUpdate&) = default;
};
struct Freeze {
  friend bool operator==(const Freeze&, const Freeze&) = default;
};
struct NeedAck {
  friend bool operator==(const NeedAck&, const NeedAck&) = default;
};
// Acknowledges the header's own RPC and `count` more.
struct Ack {
  std::uint16_t count = 0;  // at most kAcksPerPacket
  std::array<AckRecord, kAcksPerPacket> more{};

  friend bool operator==(const Ack&, const Ack&) = default;
};

// In the order of PacketType.
using PacketBody = std::variant<Data, Grant, Resend, Unknown, Busy, CutoffsUpdate, Freeze, NeedAck, Ack>;

struct Packet {
  Port source;
  Port destination;
  RpcId sender_id;  // as the sender of the packet knows the RPC
  PacketBody body;

  PacketType type() const { return static_cast<PacketType>(static_cast<std::size_t>(PacketType::data) + body.index()); }
  friend bool operator==(const Packet&, const Packet&) = default;
};

// Why a datagram is no packet. It is dropped and counted, and nothing in it is honoured.
enum class Malformed : std::uint8_t {
  too_short,  // for the common header, or for its type
  unknown_type,
  empty_segment,   // DATA without bytes
  segment_length,  // DATA whose segment_length is not what follows the header
  message_length,  // 0, or above the limit
  beyond_message,  // the segment ends behind the message
  ack_count,       // ACK with more records than it has room for
};
inline constexpr std::size_t kMalformedCount = 7;
std::string_view name_of(Malformed reason);

// `head` is the datagram's first bytes: all of them, or at least kHeaderSizeMax. Extra bytes behind a control packet are ignored.
std::expected<Packet, Malformed> decode_packet(ConstBytes head, std::size_t datagram_size, std::uint32_t message_length_max);

// Writes the header (of DATA: all but its data) and returns its size.
std::size_t encode_packet(const Packet& packet, std::span<std::byte, kHeaderSizeMax> out);

// "DATA 32768>99 id 2 offset 0 5 of 5 …": for traces.
std::string describe(const Packet& packet);

}  // namespace godwit::homa
