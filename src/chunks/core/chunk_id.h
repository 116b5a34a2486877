// The name of a chunk: the digest of its uncompressed bytes. Two digests are known; an index says by a flag which one it uses, a
// store does not say. Also the same digests over what does not lie in memory as a whole. Source: casync.md 3.5.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "chunks/core/feature_flags.h"

namespace godwit::chunks {

enum class Digest : std::uint8_t {
  sha512_256,  // FIPS 180-4, the default
  sha256,
};

// "sha512-256" and "sha256", the words of --digest.
std::string_view name_of(Digest digest);
Result<Digest> digest_of_name(std::string_view name);

constexpr Digest digest_of(FeatureFlags flags) {
  return (flags & feature::kSha512_256) != 0 ? Digest::sha512_256 : Digest::sha256;
}
// `flags` with the bit of this digest.
constexpr FeatureFlags with_digest(FeatureFlags flags, Digest digest) {
  return digest == Digest::sha512_256 ? flags | feature::kSha512_256 : flags & ~feature::kSha512_256;
}
// The digest that is not this one: to be tried where it is not known which was used.
constexpr Digest other_than(Digest digest) {
  return digest == Digest::sha256 ? Digest::sha512_256 : Digest::sha256;
}

struct ChunkId {
  std::array<std::byte, 32> bytes{};

  friend bool operator==(const ChunkId&, const ChunkId&) = default;
  friend auto operator<=>(const ChunkId& a, const ChunkId& b) { return a.bytes <=> b.bytes; }
  // 64 lower-case digits.
  std::string hex() const { return to_hex(bytes); }
  // Only what hex() gives: 64 lower-case digits.
  static Result<ChunkId> from_hex(std::string_view text);
};

// Thread-safe: a call owns all of its state.
ChunkId chunk_id_of(ConstBytes data, Digest digest);

// For what does not lie in memory as a whole: the digest of a stream, which `make` prints.
class DigestStream {
 public:
  explicit DigestStream(Digest digest);
  ~DigestStream();
  DigestStream(DigestStream&&) noexcept;
  DigestStream& operator=(DigestStream&&) noexcept;
  void update(ConstBytes bytes);
  // As many zero bytes, without a buffer of that size.
  void update_zeros(std::uint64_t count);
  // Gives the digest once; the stream is then spent.
  ChunkId finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace godwit::chunks

template <>
struct std::hash<godwit::chunks::ChunkId> {
  // A digest is random already. Its first bytes name folders of a store, so the last ones are taken.
  std::size_t operator()(const godwit::chunks::ChunkId& id) const noexcept {
    std::size_t value;
    std::memcpy(&value, id.bytes.data() + 24, sizeof(value));
    return value;
  }
};
