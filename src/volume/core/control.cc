#include "volume/core/control.h"

#include <array>
#include <bit>

#include "base/check.h"
#include "base/cursor.h"
#include "volume/core/tagged_fields.h"

namespace godwit::volume {
namespace {

enum Tag : std::uint16_t {
  kHost = 1,
  kBoot = 2,
  kName = 3,
  kFeatures = 4,
  kDevice = 5,
  kCopy = 6,
  kState = 7,
  kChain = 8,
  kHandover = 9,
  kPeer = 10,
  kSession = 11,
  kPrevious = 12,
  kSize = 13,
  kBlockSize = 14,
  kClaims = 15,
  kBase = 16,
  kMode = 17,
  kCode = 18,
  kText = 19,
  kEpoch = 20,
  kAddress = 21,
  kFirst = 22,
  kCount = 23,
  kBitmap = 24,
  kHashes = 25,
  kN = 26,
  kTip = 27,
  kWord = 28,
  kOpen = 29,
  kDone = 30,
  kTagEnd = 31,
};

// The fields a message has, as sets of tags.
struct Shape {
  std::uint32_t needed = 0;
  std::uint32_t optional = 0;
};
template <class... Tags>
constexpr std::uint32_t set_of(Tags... tags) {
  return (0U | ... | (1U << tags));
}
constexpr bool has(std::uint32_t set, std::uint16_t tag) {
  return tag < kTagEnd && ((set >> tag) & 1) != 0;
}

std::optional<Shape> shape_of(ControlType type) {
  switch (type) {
    case ControlType::hello: return Shape{set_of(kHost, kBoot, kName, kFeatures), set_of(kAddress)};
    case ControlType::state:
      return Shape{set_of(kCopy, kState, kSize, kBlockSize, kChain), set_of(kDevice, kHandover, kPeer, kBase, kAddress)};
    case ControlType::pull:
      return Shape{set_of(kSession, kCopy, kState, kChain, kSize, kBlockSize, kClaims, kWord),
                   set_of(kPrevious, kHandover, kBase)};
    case ControlType::accept: return Shape{set_of(kSession, kChain, kMode), 0};
    case ControlType::refuse: return Shape{set_of(kSession, kCode), set_of(kPeer, kText)};
    case ControlType::prepare: return Shape{set_of(kSession, kHandover, kEpoch), 0};
    case ControlType::ready: return Shape{set_of(kHandover, kCopy), 0};
    case ControlType::aborted: return Shape{set_of(kHandover), 0};
    case ControlType::grant: return Shape{set_of(kHandover, kCopy, kChain), set_of(kDone)};
    case ControlType::owned: return Shape{set_of(kHandover, kChain), set_of(kAddress)};
    case ControlType::owned_ack:
    case ControlType::revoke:
    case ControlType::declined: return Shape{set_of(kHandover), 0};
    case ControlType::cancel:
    case ControlType::cancel_ok: return Shape{set_of(kCopy), 0};
    case ControlType::hash_ask: return Shape{set_of(kSession, kFirst, kCount), 0};
    case ControlType::hashes: return Shape{set_of(kSession, kFirst, kCount, kBitmap, kHashes), 0};
    case ControlType::relay_open: return Shape{set_of(kHost, kBoot, kN, kTip), set_of(kOpen)};
    case ControlType::relay_ok: return Shape{set_of(kHost, kBoot, kName), set_of(kDone)};
    case ControlType::relay_no: return Shape{set_of(kCode, kHost, kBoot), set_of(kTip, kPeer, kDone, kText)};
  }
  return std::nullopt;
}

// Calls f(tag, field) for every field, in the order of the tags.
template <class Message, class F>
void for_each_field(Message& message, F f) {
  f(kHost, message.host);
  f(kBoot, message.boot);
  f(kName, message.name);
  f(kFeatures, message.features);
  f(kDevice, message.device);
  f(kCopy, message.copy);
  f(kState, message.state);
  f(kChain, message.chain);
  f(kHandover, message.h);
  f(kPeer, message.peer);
  f(kSession, message.session);
  f(kPrevious, message.previous);
  f(kSize, message.size);
  f(kBlockSize, message.block_size);
  f(kClaims, message.claims);
  f(kBase, message.base);
  f(kMode, message.mode);
  f(kCode, message.code);
  f(kText, message.text);
  f(kEpoch, message.epoch);
  f(kAddress, message.address);
  f(kFirst, message.first);
  f(kCount, message.count);
  f(kBitmap, message.bitmap);
  f(kHashes, message.hashes);
  f(kN, message.n);
  f(kTip, message.tip);
  f(kWord, message.word);
  f(kOpen, message.open);
  f(kDone, message.done);
}

std::size_t text_size_max(Tag tag) {
  return tag == kText ? kControlTextSizeMax : kControlNameSizeMax;
}

// Rules that tie fields together; null when they are kept.
const char* why_impossible(const ControlMessage& message) {
  if (message.type == ControlType::hello && !message.volume.is_none()) return "a volume in HELLO";
  if (message.code == RefuseCode::not_higher && message.type != ControlType::relay_no) return "a code of another message";
  if (message.count && *message.count > kHashAskBlocksMax) return "too many blocks in one question";
  if (message.type != ControlType::hashes) return nullptr;
  const std::uint32_t count = *message.count;
  const Bytes& bitmap = *message.bitmap;
  if (bitmap.size() != (count + 7) / 8) return "a bitmap of another size than its blocks";
  if (count % 8 != 0 && (std::to_integer<unsigned>(bitmap.back()) >> (count % 8)) != 0) return "bits past the last block";
  std::size_t claimed = 0;
  for (const std::byte b : bitmap) claimed += static_cast<std::size_t>(std::popcount(std::to_integer<unsigned>(b)));
  if (claimed != message.hashes->size()) return "another number of hashes than of blocks claimed";
  return nullptr;
}

// --- values to bytes

template <class T>
void put(Writer& out, Tag, const Id128<T>& id) {
  out.bytes(id.view());
}
template <class T>
void put(Writer& out, Tag tag, const Strong<T, std::uint32_t>& number) {
  put(out, tag, number.value);
}
template <class T>
void put(Writer& out, Tag tag, const Strong<T, std::uint64_t>& number) {
  put(out, tag, number.value);
}
void put(Writer& out, Tag, const std::uint32_t& number) {
  out.u32_le(number);
}
void put(Writer& out, Tag, const std::uint64_t& number) {
  out.u64_le(number);
}
void put(Writer& out, Tag, const CopyState& state) {
  out.u8(static_cast<std::uint8_t>(state));
}
void put(Writer& out, Tag, const PullMode& mode) {
  out.u8(static_cast<std::uint8_t>(mode));
}
void put(Writer& out, Tag, const RefuseCode& code) {
  out.u8(static_cast<std::uint8_t>(code));
}
void put(Writer& out, Tag, const Sha256& hash) {
  out.bytes(hash);
}
void put(Writer& out, Tag, const Bytes& bytes) {
  out.bytes(bytes);
}
void put(Writer& out, Tag tag, const std::string& text) {
  GODWIT_CHECK(text.size() <= text_size_max(tag));
  out.text(text);
}
void put(Writer& out, Tag, const std::vector<Sha256>& hashes) {
  for (const Sha256& hash : hashes) out.bytes(hash);
}
void put(Writer& out, Tag, const std::vector<Cookie>& cookies) {
  for (const Cookie cookie : cookies) out.u64_le(cookie);
}

// --- bytes to values: a value that is not there, or has no name, fails the cursor

template <class T>
void take(Cursor& in, Id128<T>& id) {
  const ConstBytes sixteen = in.take(16);
  if (in.ok()) id = Id128<T>::from(sixteen);
}
template <class T>
void take(Cursor& in, Strong<T, std::uint32_t>& number) {
  number.value = in.u32_le();
}
template <class T>
void take(Cursor& in, Strong<T, std::uint64_t>& number) {
  number.value = in.u64_le();
}
void take(Cursor& in, std::uint32_t& number) {
  number = in.u32_le();
}
void take(Cursor& in, std::uint64_t& number) {
  number = in.u64_le();
}
template <class Enum>
void take_enum(Cursor& in, Enum& value, Enum first, Enum last) {
  const std::uint8_t number = in.u8();
  if (number < static_cast<std::uint8_t>(first) || number > static_cast<std::uint8_t>(last)) in.fail();
  value = static_cast<Enum>(number);
}
void take(Cursor& in, CopyState& state) {
  take_enum(in, state, CopyState::none, CopyState::gone);
}
void take(Cursor& in, PullMode& mode) {
  take_enum(in, mode, PullMode::all, PullMode::continue_session);
}
void take(Cursor& in, RefuseCode& code) {
  take_enum(in, code, RefuseCode::busy, RefuseCode::not_higher);
}
void take(Cursor& in, Sha256& hash) {
  const ConstBytes bytes = in.take(hash.size());
  if (in.ok()) std::copy(bytes.begin(), bytes.end(), hash.begin());
}
void take(Cursor& in, Bytes& bytes) {
  bytes = to_bytes(in.rest());
}
void take(Cursor& in, std::vector<Sha256>& hashes) {
  hashes.reserve(in.remaining() / sizeof(Sha256));
  while (in.ok() && in.remaining() > 0) take(in, hashes.emplace_back());
}
void take(Cursor& in, std::vector<Cookie>& cookies) {
  cookies.reserve(in.remaining() / sizeof(Cookie));
  while (in.ok() && in.remaining() > 0) take(in, cookies.emplace_back());
}

std::string field_name(std::uint16_t tag) {
  return "field " + std::to_string(tag);
}

template <class T>
Result<T> decode_field(Tag tag, ConstBytes value) {
  if constexpr (std::is_same_v<T, Chain>) {
    return decode_chain(value);
  } else if constexpr (std::is_same_v<T, Peer>) {
    return decode_peer(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.size() > text_size_max(tag)) return fail(ErrorKind::limit, std::to_string(value.size()) + " bytes of text");
    return std::string(as_text(value));
  } else {
    Cursor in(value);
    T decoded{};
    take(in, decoded);
    if (!in.at_end()) return fail(ErrorKind::invalid, "has another size or value than it can have");
    return decoded;
  }
}

Result<ControlMessage> decode_known(ControlType type, const Shape& shape, Cursor& in, std::uint32_t& skipped) {
  ControlMessage message;
  message.type = type;
  take(in, message.volume);
  if (!in.ok()) return fail(ErrorKind::truncated, "ends within the volume's name");
  const Result<std::vector<TaggedField>> fields = read_fields(in.rest());
  if (!fields) return fail(fields.error());

  std::array<const TaggedField*, kTagEnd> found{};
  for (const TaggedField& field : *fields) {
    if (has(shape.needed | shape.optional, field.tag))
      found[field.tag] = &field;
    else
      ++skipped;
  }
  std::optional<Error> error;
  for_each_field(message, [&]<class T>(Tag tag, std::optional<T>& slot) {
    if (error) return;
    if (found[tag] == nullptr) {
      if (has(shape.needed, tag)) error.emplace(ErrorKind::invalid, field_name(tag) + " is missing");
      return;
    }
    Result<T> value = decode_field<T>(tag, found[tag]->value);
    if (value)
      slot = std::move(*value);
    else
      error = std::move(value).error().within(field_name(tag));
  });
  if (error) return fail(std::move(*error));
  if (const char* why = why_impossible(message)) return fail(ErrorKind::invalid, why);
  return message;
}

}  // namespace

void encode_peer(const Peer& peer, Bytes& out) {
  GODWIT_CHECK(peer.name.size() <= kPeerTextSizeMax && peer.address.size() <= kPeerTextSizeMax);
  Writer writer(out);
  writer.bytes(peer.host.view());
  writer.u8(static_cast<std::uint8_t>(peer.name.size()));
  writer.text(peer.name);
  writer.u8(static_cast<std::uint8_t>(peer.address.size()));
  writer.text(peer.address);
}

Result<Peer> decode_peer(ConstBytes bytes) {
  Cursor in(bytes);
  Peer peer;
  take(in, peer.host);
  peer.name = as_text(in.take(in.u8()));
  peer.address = as_text(in.take(in.u8()));
  if (!in.ok()) return fail(ErrorKind::truncated, "a peer that ends too early");
  if (!in.at_end()) return fail(ErrorKind::invalid, "bytes behind a peer");
  return peer;
}

void encode_control(const ControlMessage& message, Bytes& out) {
  const std::optional<Shape> shape = shape_of(message.type);
  GODWIT_CHECK(shape.has_value());
  const std::size_t start = out.size();
  Writer writer(out);
  writer.u8(static_cast<std::uint8_t>(message.type));
  writer.bytes(message.volume.view());
  FieldWriter fields(out);
  for_each_field(message, [&]<class T>(Tag tag, const std::optional<T>& slot) {
    GODWIT_CHECK(slot ? has(shape->needed | shape->optional, tag) : !has(shape->needed, tag));
    if (!slot) return;
    fields.begin(tag);
    if constexpr (std::is_same_v<T, Chain>)
      encode_chain(*slot, out);
    else if constexpr (std::is_same_v<T, Peer>)
      encode_peer(*slot, out);
    else
      put(writer, tag, *slot);
    fields.end();
  });
  GODWIT_CHECK(why_impossible(message) == nullptr);
  GODWIT_CHECK(out.size() - start <= kControlPayloadMax);
}

Result<DecodedControl> decode_control(ConstBytes payload) {
  if (payload.empty()) return fail(ErrorKind::truncated, "an empty control frame");
  if (payload.size() > kControlPayloadMax)
    return fail(ErrorKind::limit, "a control frame of " + std::to_string(payload.size()) + " bytes");
  Cursor in(payload);
  const auto type = static_cast<ControlType>(in.u8());
  DecodedControl decoded;
  const std::optional<Shape> shape = shape_of(type);
  if (!shape) return decoded;
  Result<ControlMessage> message = decode_known(type, *shape, in, decoded.skipped_fields);
  if (!message) return fail(std::move(message).error().within(name_of(type)));
  decoded.message = std::move(*message);
  return decoded;
}

}  // namespace godwit::volume
