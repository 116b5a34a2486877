#include "chunks/core/cache_format.h"

#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/hash.h"

namespace godwit::chunks {

namespace {

constexpr std::uint32_t kSha512_256 = 1;
constexpr std::uint32_t kSha256 = 2;
constexpr std::size_t kChecksumBytes = 4;

}  // namespace

CacheWriter::CacheWriter(const CacheFormat& format, Digest digest, std::size_t entry_count)
    : entry_count_(entry_count), writer_(file_) {
  GODWIT_CHECK(entry_count <= format.entries_max);
  file_.reserve(format.head_bytes + entry_count * format.entry_bytes + kChecksumBytes);
  writer_.text(format.magic);
  writer_.u32_le(format.version);
  writer_.u32_le(digest == Digest::sha256 ? kSha256 : kSha512_256);
}

void CacheWriter::begin_entries(const ChunkSizes& sizes) {
  writer_.u64_le(sizes.min);
  writer_.u64_le(sizes.avg);
  writer_.u64_le(sizes.max);
  writer_.u64_le(entry_count_);
}

Bytes CacheWriter::finish() && {
  writer_.u32_le(crc32c(file_));
  return std::move(file_);
}

Result<void> CacheReader::begin() {
  const ConstBytes magic = cursor_.take(format_.magic.size());
  if (!cursor_.ok() || as_text(magic) != format_.magic) return fail_corrupt("it does not begin as one");
  const std::uint32_t version = cursor_.u32_le();
  if (cursor_.ok() && version != format_.version)
    return fail(ErrorKind::unsupported,
                fmt::format("{}: version {}; this program knows {}", format_.name, version, format_.version));
  digest_word_ = cursor_.u32_le();
  digest_ = digest_word_ == kSha256 ? Digest::sha256 : Digest::sha512_256;
  return {};
}

Result<std::size_t> CacheReader::read_entries() {
  sizes_.min = cursor_.u64_le();
  sizes_.avg = cursor_.u64_le();
  sizes_.max = cursor_.u64_le();
  const std::uint64_t count = cursor_.u64_le();
  if (!cursor_.ok()) return fail_corrupt("it is cut off");
  if (count > format_.entries_max || cursor_.remaining() != count * format_.entry_bytes + kChecksumBytes)
    return fail_corrupt(fmt::format("{} chunks do not fit its {} bytes", count, file_.size()));
  Cursor tail(file_.last(kChecksumBytes));
  if (tail.u32_le() != crc32c(file_.first(file_.size() - kChecksumBytes))) return fail_corrupt("wrong checksum");
  if (digest_word_ != kSha512_256 && digest_word_ != kSha256) return fail_corrupt("unknown digest");
  if (!check_chunk_sizes(sizes_)) return fail_corrupt("impossible chunk sizes");
  return count;
}

std::unexpected<Error> CacheReader::fail_corrupt(std::string_view what) const {
  return fail(ErrorKind::corrupt, fmt::format("{}: {}", format_.name, what));
}

}  // namespace godwit::chunks
