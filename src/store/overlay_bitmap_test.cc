#include "store/overlay_bitmap.h"

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/hash.h"

namespace godwit::store {
namespace {

constexpr OverlayGeometry kGeometry{200'000, 65536};
// The example of docs/formats/overlay-bitmap.md.
constexpr std::string_view kExample = "47445754434f5700 01000000 00000100 400d030000000000 | 0900000000000000 | 45eb41e8";

Bitset example_blocks() {
  Bitset blocks(4);
  blocks.set(0);
  blocks.set(3);
  return blocks;
}

TEST(OverlayBitmap, HasTheDocumentedBytes) {
  const Bytes file = from_hex(kExample).value();
  EXPECT_EQ(to_hex(encode_overlay_bitmap(kGeometry, example_blocks())), to_hex(file));
  EXPECT_EQ(decode_overlay_bitmap(kGeometry, file).value(), example_blocks());
}

TEST(OverlayBitmap, RefusesWhatBreaksARule) {
  const Bytes good = from_hex(kExample).value();
  auto with = [&](std::size_t at, int value) {
    Bytes file(good.begin(), good.end() - 4);
    file.at(at) = static_cast<std::byte>(value);
    Writer(file).u32_le(crc32c(file));
    return file;
  };
  auto cut = [&](std::size_t size) { return Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)); };
  Bytes flipped = good;
  flipped[24] ^= std::byte{1};
  Bytes longer = cut(good.size() - 4);
  longer.resize(longer.size() + 8);
  Writer(longer).u32_le(crc32c(longer));
  const struct {
    const char* name;
    Bytes file;
    ErrorKind kind;
  } rows[] = {
      {"empty", {}, ErrorKind::truncated},
      {"within the header", cut(20), ErrorKind::truncated},
      {"without its checksum", cut(good.size() - 4), ErrorKind::corrupt},
      {"one byte short", cut(good.size() - 1), ErrorKind::corrupt},
      {"another magic", with(0, 'g'), ErrorKind::corrupt},
      {"another version", with(8, 2), ErrorKind::unsupported},
      {"a flipped bit", flipped, ErrorKind::corrupt},
      {"another block size", with(13, 1), ErrorKind::invalid},
      {"another device size", with(16, 0x41), ErrorKind::invalid},
      {"a block past the end", with(24, 0x19), ErrorKind::corrupt},
      {"a word too many", longer, ErrorKind::corrupt},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    auto blocks = decode_overlay_bitmap(kGeometry, row.file);
    ASSERT_FALSE(blocks);
    EXPECT_EQ(blocks.error().kind(), row.kind) << blocks.error().message();
  }
}

TEST(OverlayBitmap, EveryGeometryComesBack) {
  for (std::uint64_t size : {0, 1, 65535, 65536, 65537, 64 * 65536, 64 * 65536 + 1, 10'000'000}) {
    SCOPED_TRACE(size);
    const OverlayGeometry geometry{size, 65536};
    Bitset blocks(geometry.block_count());
    for (std::uint64_t i = 0; i < blocks.size(); i += 3) blocks.set(i);
    EXPECT_EQ(decode_overlay_bitmap(geometry, encode_overlay_bitmap(geometry, blocks)).value(), blocks);
    EXPECT_EQ(decode_block_list(geometry, encode_block_list(blocks).value()).value(), blocks);
  }
}

TEST(BlockList, IsTheOriginalsSequenceOfNumbers) {
  EXPECT_EQ(to_hex(encode_block_list(example_blocks()).value()), "0000000003000000");
  EXPECT_EQ(decode_block_list(kGeometry, from_hex("03000000 00000000 03000000").value()).value(), example_blocks());
  EXPECT_EQ(decode_block_list(kGeometry, from_hex("030000").value()).error().kind(), ErrorKind::truncated);
  EXPECT_EQ(decode_block_list(kGeometry, from_hex("04000000").value()).error().kind(), ErrorKind::invalid);
}

}  // namespace
}  // namespace godwit::store
