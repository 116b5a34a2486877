#include "chunks/core/chunk_file.h"

#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::chunks {

namespace {

// What a decoder of xz may take: preset 9 needs 65 MiB.
constexpr std::uint64_t kXzMemoryBytesMax = 80 * 1024 * 1024;
constexpr std::size_t kFirstGuessBytes = 256 * 1024;

struct Magic {
  Compression compression;
  std::string_view bytes;
};
constexpr Magic kMagics[] = {
    {Compression::zstd, {"\x28\xb5\x2f\xfd", 4}},
    {Compression::xz, {"\xfd\x37zXZ\x00", 6}},
    {Compression::gzip, {"\x1f\x8b", 2}},
};

std::unexpected<Error> fail_too_large(std::size_t bound) {
  return fail(ErrorKind::limit, fmt::format("chunk file decompresses to more than {} bytes", bound));
}
std::unexpected<Error> fail_damaged(Compression compression, std::string_view why) {
  return fail(ErrorKind::corrupt, fmt::format("chunk file ({}) is damaged: {}", name_of(compression), why));
}
std::unexpected<Error> fail_trailing(Compression compression, std::size_t used, std::size_t size) {
  return fail(ErrorKind::corrupt,
              fmt::format("chunk file ({}) ends at byte {}, but {} follow", name_of(compression), used, size - used));
}
std::unexpected<Error> fail_encode(Compression compression, std::string_view why) {
  return fail(ErrorKind::io, fmt::format("compressing a chunk by {}: {}", name_of(compression), why));
}

const unsigned char* raw(ConstBytes bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw_out(MutableBytes bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

Result<std::size_t> decode_zstd(ZSTD_DCtx* context, ConstBytes file, MutableBytes into) {
  const std::size_t frame = ZSTD_findFrameCompressedSize(file.data(), file.size());
  if (ZSTD_isError(frame) != 0)
    return fail_damaged(Compression::zstd,
                        ZSTD_getErrorCode(frame) == ZSTD_error_srcSize_wrong ? "it is cut off" : ZSTD_getErrorName(frame));
  if (frame != file.size()) return fail_trailing(Compression::zstd, frame, file.size());
  // In one call, so that no window is allocated, whatever size the frame asks for.
  const std::size_t size = ZSTD_decompressDCtx(context, into.data(), into.size(), file.data(), file.size());
  if (ZSTD_isError(size) == 0) return size;
  if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) return fail_too_large(into.size());
  return fail_damaged(Compression::zstd, ZSTD_getErrorName(size));
}

Result<std::size_t> decode_xz(ConstBytes file, MutableBytes into) {
  std::uint64_t memory = kXzMemoryBytesMax;
  std::size_t in = 0;
  std::size_t out = 0;
  const lzma_ret code =
      lzma_stream_buffer_decode(&memory, 0, nullptr, raw(file), &in, file.size(), raw_out(into), &out, into.size());
  if (code == LZMA_BUF_ERROR) return fail_too_large(into.size());
  if (code == LZMA_MEMLIMIT_ERROR)
    return fail(ErrorKind::limit, fmt::format("chunk file (xz) wants {} bytes of memory to be decompressed", memory));
  if (code != LZMA_OK) return fail_damaged(Compression::xz, fmt::format("error {}", static_cast<int>(code)));
  if (in != file.size()) return fail_trailing(Compression::xz, in, file.size());
  return out;
}

Result<std::size_t> decode_gzip(ConstBytes file, MutableBytes into) {
  z_stream stream{};
  GODWIT_CHECK(inflateInit2(&stream, 15 + 16) == Z_OK);
  stream.next_in = const_cast<unsigned char*>(raw(file));  // zlib reads only
  stream.avail_in = static_cast<unsigned>(file.size());
  stream.next_out = raw_out(into);
  stream.avail_out = static_cast<unsigned>(into.size());
  const int code = inflate(&stream, Z_FINISH);
  const std::size_t size = into.size() - stream.avail_out;
  const std::size_t used = file.size() - stream.avail_in;
  const bool full = stream.avail_out == 0;
  inflateEnd(&stream);
  if (code == Z_STREAM_END && used != file.size()) return fail_trailing(Compression::gzip, used, file.size());
  if (code == Z_STREAM_END) return size;
  if ((code == Z_BUF_ERROR || code == Z_OK) && full) return fail_too_large(into.size());
  return fail_damaged(Compression::gzip, code == Z_BUF_ERROR ? "it is cut off" : fmt::format("error {}", code));
}

Result<void> encode_zstd(ZSTD_CCtx* context, ConstBytes data, Bytes& out) {
  const std::size_t before = out.size();
  out.resize(before + ZSTD_compressBound(data.size()));
  const std::size_t size = ZSTD_compress2(context, out.data() + before, out.size() - before, data.data(), data.size());
  out.resize(before + (ZSTD_isError(size) != 0 ? 0 : size));
  if (ZSTD_isError(size) != 0) return fail_encode(Compression::zstd, ZSTD_getErrorName(size));
  return {};
}

Result<void> encode_xz(int level, ConstBytes data, Bytes& out) {
  std::size_t end = out.size();
  out.resize(end + lzma_stream_buffer_bound(data.size()));
  const lzma_ret code = lzma_easy_buffer_encode(static_cast<std::uint32_t>(level), LZMA_CHECK_CRC64, nullptr, raw(data),
                                                data.size(), raw_out(out), &end, out.size());
  out.resize(end);
  if (code != LZMA_OK) return fail_encode(Compression::xz, fmt::format("error {}", static_cast<int>(code)));
  return {};
}

Result<void> encode_gzip(int level, ConstBytes data, Bytes& out) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    return fail_encode(Compression::gzip, "no memory");
  const std::size_t before = out.size();
  out.resize(before + deflateBound(&stream, data.size()));
  stream.next_in = const_cast<unsigned char*>(raw(data));  // zlib reads only
  stream.avail_in = static_cast<unsigned>(data.size());
  stream.next_out = raw_out(out) + before;
  stream.avail_out = static_cast<unsigned>(out.size() - before);
  const int code = deflate(&stream, Z_FINISH);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  if (code != Z_STREAM_END) return fail_encode(Compression::gzip, fmt::format("error {}", code));
  return {};
}

}  // namespace

std::string_view name_of(Compression compression) {
  switch (compression) {
    case Compression::none: return "none";
    case Compression::zstd: return "zstd";
    case Compression::xz: return "xz";
    case Compression::gzip: return "gzip";
  }
  return "unknown";
}

Result<Compression> compression_of_name(std::string_view name) {
  for (const Compression c : {Compression::none, Compression::zstd, Compression::xz, Compression::gzip})
    if (name == name_of(c)) return c;
  return fail(ErrorKind::usage, fmt::format("no compression is called \"{}\" (there are zstd, xz, gzip and none)", name));
}

std::optional<Compression> compression_of(ConstBytes file) {
  for (const Magic& magic : kMagics)
    if (as_text(file).starts_with(magic.bytes)) return magic.compression;
  return std::nullopt;
}

int default_level(Compression compression) {
  switch (compression) {
    case Compression::none: return 0;
    case Compression::zstd: return 3;
    case Compression::xz:
    case Compression::gzip: return 6;
  }
  return 0;
}

struct ChunkEncoder::State {
  Compression compression = Compression::none;
  int level = 0;
  ZSTD_CCtx* zstd = nullptr;
  ~State() { ZSTD_freeCCtx(zstd); }
};

ChunkEncoder::ChunkEncoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChunkEncoder::~ChunkEncoder() = default;
ChunkEncoder::ChunkEncoder(ChunkEncoder&&) noexcept = default;
ChunkEncoder& ChunkEncoder::operator=(ChunkEncoder&&) noexcept = default;

Result<ChunkEncoder> ChunkEncoder::of(Compression compression, std::optional<int> level) {
  const int chosen = level.value_or(default_level(compression));
  int lowest = 0;
  int highest = 9;
  if (compression == Compression::zstd) lowest = -7, highest = ZSTD_maxCLevel();
  if (compression == Compression::none) highest = 0;
  if (chosen < lowest || chosen > highest)
    return fail(ErrorKind::usage,
                fmt::format("{} has no level {}: {} to {} are possible", name_of(compression), chosen, lowest, highest));
  auto state = std::make_unique<State>();
  state->compression = compression;
  state->level = chosen;
  if (compression == Compression::zstd) {
    state->zstd = ZSTD_createCCtx();
    GODWIT_CHECK(state->zstd != nullptr);
    GODWIT_CHECK(ZSTD_isError(ZSTD_CCtx_setParameter(state->zstd, ZSTD_c_compressionLevel, chosen)) == 0);
  }
  return ChunkEncoder(std::move(state));
}

Compression ChunkEncoder::compression() const {
  return state_->compression;
}

Result<void> ChunkEncoder::encode(ConstBytes data, Bytes& out) {
  GODWIT_CHECK(!data.empty() && data.size() <= kChunkBytesMax);
  switch (state_->compression) {
    case Compression::none: append(out, data); return {};
    case Compression::zstd: return encode_zstd(state_->zstd, data, out);
    case Compression::xz: return encode_xz(state_->level, data, out);
    case Compression::gzip: return encode_gzip(state_->level, data, out);
  }
  return {};
}

struct ChunkDecoder::State {
  ZSTD_DCtx* zstd = ZSTD_createDCtx();
  ~State() { ZSTD_freeDCtx(zstd); }
};

ChunkDecoder::ChunkDecoder() : state_(std::make_unique<State>()) {
  GODWIT_CHECK(state_->zstd != nullptr);
}
ChunkDecoder::~ChunkDecoder() = default;
ChunkDecoder::ChunkDecoder(ChunkDecoder&&) noexcept = default;
ChunkDecoder& ChunkDecoder::operator=(ChunkDecoder&&) noexcept = default;

Result<std::size_t> ChunkDecoder::decode(ConstBytes file, MutableBytes into) {
  if (file.empty()) return fail(ErrorKind::truncated, "chunk file is empty");
  if (file.size() > kChunkBytesMax)
    return fail(ErrorKind::limit, fmt::format("chunk file has {} bytes, at most {} are possible", file.size(), kChunkBytesMax));
  const std::optional<Compression> compression = compression_of(file);
  if (!compression)
    return fail(ErrorKind::invalid, fmt::format("chunk file is neither zstd, xz nor gzip: it begins with {}",
                                                to_hex(file.first(std::min<std::size_t>(file.size(), 6)))));
  Result<std::size_t> size = 0;
  if (*compression == Compression::zstd) size = decode_zstd(state_->zstd, file, into);
  if (*compression == Compression::xz) size = decode_xz(file, into);
  if (*compression == Compression::gzip) size = decode_gzip(file, into);
  if (size && *size == 0) return fail(ErrorKind::invalid, "chunk file decompresses to nothing");
  return size;
}

Result<Bytes> ChunkDecoder::decode_up_to(ConstBytes file, std::uint64_t bound) {
  for (std::uint64_t guess = std::max(kFirstGuessBytes, file.size());; guess *= 4) {
    Bytes out(std::min(guess, bound));
    const Result<std::size_t> size = decode(file, out);
    if (!size && size.error().kind() == ErrorKind::limit && out.size() < bound) continue;
    if (!size) return fail(size.error());
    out.resize(*size);
    return out;
  }
}

}  // namespace godwit::chunks
