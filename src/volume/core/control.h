// Control messages between two godwits, as values and as bytes. Source: ownership.md 3 and 15; docs/formats/control-frames.md.
// A message is the payload of a Custom/0x47 event on device 0 (RELAY-*: of an NBD option and its reply).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "volume/core/chain.h"
#include "volume/core/ids.h"

namespace godwit::volume {

enum class ControlType : std::uint8_t {
  hello = 1,
  state = 2,
  pull = 3,
  accept = 4,
  refuse = 5,
  prepare = 6,
  ready = 7,
  aborted = 8,
  grant = 9,
  owned = 10,
  owned_ack = 11,
  revoke = 12,
  declined = 13,
  cancel = 14,
  cancel_ok = 15,
  hash_ask = 16,
  hashes = 17,
  relay_open = 18,
  relay_ok = 19,
  relay_no = 20,
};
std::string name_of(ControlType type);  // "PULL"; "message 77" for what we do not know

enum class CopyState : std::uint8_t { none = 0, receiving = 1, ready = 2, owned = 3, relinquished = 4, split = 5, gone = 6 };
std::string name_of(CopyState state);  // "RECEIVING"

enum class PullMode : std::uint8_t { all = 1, compare = 2, continue_session = 3 };

enum class RefuseCode : std::uint8_t {
  busy = 1,
  not_owner = 2,
  split = 3,
  geometry = 4,
  gone = 5,
  cancelled = 6,
  paused = 7,
  policy = 8,
  not_higher = 9,  // RELAY-NO only
};
std::string name_of(RefuseCode code);

// Whom a record or message concerns; the address is a hint, never obeyed blindly.
struct Peer {
  HostId host;
  std::string name;     // <= 255 bytes, shown escaped
  std::string address;  // <= 255 bytes
  friend bool operator==(const Peer&, const Peer&) = default;
};

inline constexpr std::size_t kPeerTextSizeMax = 255;
// Tag 10 of ownership.md 15: 16 B host, u8 length, name, u8 length, address.
void encode_peer(const Peer& peer, Bytes& out);
Result<Peer> decode_peer(ConstBytes bytes);

inline constexpr std::uint64_t kFeatureAnswersHashAsk = 1;

using Cookie = std::uint64_t;

// One flat value for all messages: which fields a type needs or may have is ownership.md 15's table, checked by encode (assert)
// and decode (error). Absent optional fields are nullopt.
struct ControlMessage {
  ControlType type{};
  VolumeId volume;  // none in HELLO
  std::optional<HostId> host;
  std::optional<Boot> boot;
  std::optional<std::string> name;
  std::optional<std::uint64_t> features;
  std::optional<DeviceId> device;
  std::optional<CopyId> copy;
  std::optional<CopyState> state;
  std::optional<Chain> chain;
  std::optional<HandoverId> h;
  std::optional<Peer> peer;
  std::optional<SessionId> session;
  std::optional<SessionId> previous;
  std::optional<std::uint64_t> size;
  std::optional<std::uint32_t> block_size;
  std::optional<std::uint64_t> claims;
  std::optional<Sha256> base;
  std::optional<PullMode> mode;
  std::optional<RefuseCode> code;
  std::optional<std::string> text;  // <= 1 KiB UTF-8, shown escaped
  std::optional<std::uint64_t> epoch;
  std::optional<std::string> address;
  std::optional<std::uint64_t> first;
  std::optional<std::uint32_t> count;
  std::optional<Bytes> bitmap;
  std::optional<std::vector<Sha256>> hashes;
  std::optional<std::uint64_t> n;
  std::optional<HandoverId> tip;
  std::optional<std::uint64_t> word;
  std::optional<std::vector<Cookie>> open;
  std::optional<std::vector<Cookie>> done;

  friend bool operator==(const ControlMessage&, const ControlMessage&) = default;
};

inline constexpr std::size_t kControlPayloadMax = 256 * 1024;
inline constexpr std::uint32_t kHashAskBlocksMax = 4096;
inline constexpr std::size_t kControlNameSizeMax = 255;  // names and addresses
inline constexpr std::size_t kControlTextSizeMax = 1024;

// The payload: u8 message, 16 B uuid, fields.
void encode_control(const ControlMessage& message, Bytes& out);

// `skipped_fields` counts unknown tags. An unknown message type decodes to nullopt (skipped and counted by the caller).
// Errors (close, with a report): a length past the end, a needed field missing or of another size, a tag twice, over a limit.
struct DecodedControl {
  std::optional<ControlMessage> message;
  std::uint32_t skipped_fields = 0;
};
Result<DecodedControl> decode_control(ConstBytes payload);

// The mark in a schema and the reply to it (silo.md 13, ownership.md 15).
struct Nonce {
  std::string text;  // 32 lower-case hex digits
  friend bool operator==(const Nonce&, const Nonce&) = default;
};
struct Mark {
  std::uint32_t version = 1;  // the number after "godwit/"
  Nonce nonce;
  friend bool operator==(const Mark&, const Mark&) = default;
};
// `schema` with the mark as its last line.
std::string with_mark(std::string schema, const Mark& mark);
// The mark in a schema's last line, if it bears one that can be read.
std::optional<Mark> find_mark(std::string_view schema);

// "godwit/1 NONCE" 0x0A and the encoded HELLO: the destination's first frame.
void encode_reply(const Mark& mark, const ControlMessage& hello, Bytes& out);
struct Reply {
  Mark mark;
  ControlMessage hello;
};
// nullopt: not a reply at all (the payload does not begin like one); an error: begins like one and is malformed.
Result<std::optional<Reply>> decode_reply(ConstBytes payload);

}  // namespace godwit::volume
