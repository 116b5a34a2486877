// The bytes of a compressed chunk, as stores and the remote protocol hold them: one frame of zstd, one stream of xz or of gzip,
// and nothing behind it. Which of the three it is shows in its first bytes; a raw chunk is known by its name alone. Neither side
// trusts a size that the bytes announce. Source: casync.md 5.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace godwit::chunks {

// A chunk, raw or compressed, has 1 byte to 128 MiB.
inline constexpr std::uint64_t kChunkBytesMax = 128 * 1024 * 1024;

enum class Compression : std::uint8_t { none, zstd, xz, gzip };

// "none", "zstd", "xz", "gzip": the words of --compression.
std::string_view name_of(Compression compression);
Result<Compression> compression_of_name(std::string_view name);
// By its first bytes; nothing when it is none of them.
std::optional<Compression> compression_of(ConstBytes file);

// What casync uses: zstd 3, xz 6, gzip 6.
int default_level(Compression compression);

// Keeps the tables of its method, which cost more than a chunk. One thread.
class ChunkEncoder {
 public:
  // ErrorKind::usage for a level that the method does not have.
  static Result<ChunkEncoder> of(Compression compression, std::optional<int> level);
  ~ChunkEncoder();
  ChunkEncoder(ChunkEncoder&&) noexcept;
  ChunkEncoder& operator=(ChunkEncoder&&) noexcept;

  Compression compression() const;
  // Appends the compressed form of `data`; for Compression::none, `data` itself.
  Result<void> encode(ConstBytes data, Bytes& out);

 private:
  struct State;
  explicit ChunkEncoder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// One thread.
class ChunkDecoder {
 public:
  ChunkDecoder();
  ~ChunkDecoder();
  ChunkDecoder(ChunkDecoder&&) noexcept;
  ChunkDecoder& operator=(ChunkDecoder&&) noexcept;

  // Decompresses a whole chunk file into the beginning of `into`, and says how many bytes it was: at least one. More than fit is
  // an error (ErrorKind::limit), as are a cut-off file, damage, and bytes behind the frame. After an error `into` may hold
  // anything.
  Result<std::size_t> decode(ConstBytes file, MutableBytes into);
  // Where the size is not known: takes memory as it is needed, up to `bound`.
  Result<Bytes> decode_up_to(ConstBytes file, std::uint64_t bound);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace godwit::chunks
