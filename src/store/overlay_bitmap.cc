#include "store/overlay_bitmap.h"

#include <limits>

#include <fmt/format.h>

#include "base/cursor.h"
#include "base/hash.h"

namespace godwit::store {

namespace {

constexpr std::string_view kMagic("GDWTCOW\0", 8);
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kChecksumBytes = 4;

}  // namespace

Bytes encode_overlay_bitmap(const OverlayGeometry& geometry, const Bitset& blocks) {
  Bytes file;
  Writer writer(file);
  writer.text(kMagic);
  writer.u32_le(kVersion);
  writer.u32_le(geometry.block_size);
  writer.u64_le(geometry.device_size);
  for (std::uint64_t word : blocks.words()) writer.u64_le(word);
  writer.u32_le(crc32c(file));
  return file;
}

Result<Bitset> decode_overlay_bitmap(const OverlayGeometry& geometry, ConstBytes file) {
  Cursor cursor(file);
  const ConstBytes magic = cursor.take(kMagic.size());
  if (!cursor.ok()) return fail(ErrorKind::truncated, "an overlay bitmap without a header");
  if (as_text(magic) != kMagic) return fail(ErrorKind::corrupt, "not an overlay bitmap: bad magic");
  const std::uint32_t version = cursor.u32_le();
  if (cursor.ok() && version != kVersion)
    return fail(ErrorKind::unsupported, fmt::format("overlay bitmap of version {}; this program knows {}", version, kVersion));
  const std::uint32_t block_size = cursor.u32_le();
  const std::uint64_t device_size = cursor.u64_le();
  if (!cursor.ok() || cursor.remaining() < kChecksumBytes) return fail(ErrorKind::truncated, "the overlay bitmap ends too early");
  if (crc32c(file.first(file.size() - kChecksumBytes)) != Cursor(file.last(kChecksumBytes)).u32_le())
    return fail(ErrorKind::corrupt, "the overlay bitmap's checksum does not match");
  if (block_size != geometry.block_size || device_size != geometry.device_size)
    return fail(ErrorKind::invalid,
                fmt::format("the overlay bitmap is of {} bytes in blocks of {}, the volume of {} bytes in blocks of {}",
                            device_size, block_size, geometry.device_size, geometry.block_size));
  Bitset blocks(geometry.block_count());
  if (cursor.remaining() - kChecksumBytes != blocks.words().size() * sizeof(std::uint64_t))
    return fail(ErrorKind::corrupt, "the overlay bitmap's length does not fit its header");
  for (std::uint64_t& word : blocks.words()) word = cursor.u64_le();
  const std::uint64_t in_last_word = blocks.size() % 64;
  if (in_last_word != 0 && (blocks.words().back() >> in_last_word) != 0)
    return fail(ErrorKind::corrupt, "the overlay bitmap names blocks past the end");
  return blocks;
}

Result<Bytes> encode_block_list(const Bitset& blocks) {
  if (blocks.size() > std::uint64_t{1} << 32)
    return fail(ErrorKind::unsupported, fmt::format("{} blocks are too many for a list of 32-bit numbers", blocks.size()));
  Bytes file;
  Writer writer(file);
  for (std::uint64_t block = blocks.next_set(0); block < blocks.size(); block = blocks.next_set(block + 1))
    writer.u32_le(static_cast<std::uint32_t>(block));
  return file;
}

Result<Bitset> decode_block_list(const OverlayGeometry& geometry, ConstBytes file) {
  if (file.size() % sizeof(std::uint32_t) != 0)
    return fail(ErrorKind::truncated, fmt::format("a block list of {} bytes: no multiple of 4", file.size()));
  Bitset blocks(geometry.block_count());
  Cursor cursor(file);
  while (cursor.remaining() > 0) {
    const std::uint32_t block = cursor.u32_le();
    if (block >= blocks.size())
      return fail(ErrorKind::invalid, fmt::format("the block list names block {} of {}", block, blocks.size()));
    blocks.set(block);
  }
  return blocks;
}

}  // namespace godwit::store
