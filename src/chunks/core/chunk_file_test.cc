#include "chunks/core/chunk_file.h"

#include <lzma.h>

#include <gtest/gtest.h>
#include <boost/json/parse.hpp>

#include "chunks/core/chunk_id.h"
#include "chunks/core/golden_inputs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

constexpr Compression kCompressions[] = {Compression::zstd, Compression::xz, Compression::gzip};

Bytes encoded(Compression compression, ConstBytes data, std::optional<int> level = std::nullopt) {
  Bytes out;
  EXPECT_TRUE(ChunkEncoder::of(compression, level)->encode(data, out));
  return out;
}

TEST(ChunkFile, OfTheOriginalProgramsIsRead) {
  ChunkDecoder decoder;
  for (const char* name : {"53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23.cacnk", "abc.casync.cacnk"}) {
    const Bytes file = golden::file(std::string(GODWIT_TESTDATA) + "/chunk_file/" + name);
    EXPECT_EQ(compression_of(file), Compression::zstd);
    const Result<Bytes> chunk = decoder.decode_up_to(file, 262144);
    ASSERT_TRUE(chunk) << chunk.error().message();
    EXPECT_EQ(as_text(*chunk), "abc");
  }
}

TEST(ChunkFile, NamesTheChunksOfAListing) {
  const Bytes text = golden::file(std::string(GODWIT_TESTDATA) + "/chunk_file/text200k.listing.json");
  const Bytes blob = golden::blob("text200k");
  std::size_t next = 0;
  const boost::json::value listing = boost::json::parse(as_text(text));
  for (const boost::json::value& row : listing.as_array()) {
    const auto offset = row.at("offset").to_number<std::size_t>();
    const auto size = row.at("size").to_number<std::size_t>();
    EXPECT_EQ(offset, next);
    EXPECT_EQ(chunk_id_of(ConstBytes(blob).subspan(offset, size), Digest::sha512_256).hex(), row.at("id").as_string());
    next = offset + size;
  }
  EXPECT_EQ(next, blob.size());
}

TEST(ChunkFile, ComesBackAsItWas) {
  ChunkDecoder decoder;
  for (const Compression compression : kCompressions) {
    for (const Bytes& data : {golden::text(31, 70'000), golden::random_bytes(32, 70'000), Bytes(300'000), Bytes(1)}) {
      const Bytes file = encoded(compression, data);
      EXPECT_EQ(compression_of(file), compression);
      Bytes into(data.size());
      const Result<std::size_t> size = decoder.decode(file, into);
      ASSERT_TRUE(size) << size.error().message();
      EXPECT_EQ(*size, data.size());
      EXPECT_EQ(into, data);
      EXPECT_EQ(decoder.decode_up_to(file, 1'000'000).value(), data);
    }
  }
}

TEST(ChunkFile, IsAppendedToWhatIsThere) {
  const Bytes data = golden::text(33, 5000);
  for (const Compression compression : {Compression::none, Compression::zstd, Compression::xz, Compression::gzip}) {
    Bytes out = to_bytes(as_bytes("head"));
    ASSERT_TRUE(ChunkEncoder::of(compression, {})->encode(data, out));
    EXPECT_EQ(as_text(out).substr(0, 4), "head");
    const ConstBytes file = ConstBytes(out).subspan(4);
    const Bytes back = compression == Compression::none ? to_bytes(file) : ChunkDecoder().decode_up_to(file, 5000).value();
    EXPECT_EQ(back, data);
  }
}

TEST(ChunkFile, LevelsAreThoseOfTheMethod) {
  struct Row {
    Compression compression;
    int level;
    bool possible;
  };
  const Row rows[] = {
      {Compression::zstd, 1, true}, {Compression::zstd, 19, true}, {Compression::zstd, -5, true}, {Compression::zstd, 23, false},
      {Compression::xz, 0, true},   {Compression::xz, 10, false},  {Compression::gzip, 9, true},  {Compression::gzip, -1, false},
      {Compression::none, 0, true}, {Compression::none, 1, false},
  };
  for (const Row& row : rows) {
    const auto encoder = ChunkEncoder::of(row.compression, row.level);
    EXPECT_EQ(encoder.has_value(), row.possible) << name_of(row.compression) << " " << row.level;
    if (!encoder) {
      EXPECT_EQ(encoder.error().kind(), ErrorKind::usage);
    }
  }
}

TEST(ChunkFile, ABombEndsAtTheBound) {
  ChunkDecoder decoder;
  for (const Compression compression : kCompressions) {
    const Bytes bomb = encoded(compression, Bytes(8'000'000));
    Bytes into(262'144);
    EXPECT_EQ(decoder.decode(bomb, into).error().kind(), ErrorKind::limit) << name_of(compression);
    EXPECT_EQ(decoder.decode_up_to(bomb, 1'000'000).error().kind(), ErrorKind::limit) << name_of(compression);
  }
}

TEST(ChunkFile, RefusesEveryCutAndEverythingBehind) {
  ChunkDecoder decoder;
  for (const Compression compression : kCompressions) {
    const Bytes good = encoded(compression, golden::text(34, 2000));
    for (std::size_t size = 0; size < good.size(); ++size)
      EXPECT_FALSE(decoder.decode_up_to(ConstBytes(good).first(size), 10'000)) << name_of(compression) << " " << size;
    Bytes longer = good;
    longer.push_back(std::byte{0});
    EXPECT_EQ(decoder.decode_up_to(longer, 10'000).error().kind(), ErrorKind::corrupt) << name_of(compression);
    Bytes twice = good;
    append(twice, good);
    EXPECT_EQ(decoder.decode_up_to(twice, 10'000).error().kind(), ErrorKind::corrupt) << name_of(compression);
  }
}

TEST(ChunkFile, RefusesWhatIsNoCompressedChunk) {
  ChunkDecoder decoder;
  EXPECT_EQ(decoder.decode_up_to({}, 100).error().kind(), ErrorKind::truncated);
  EXPECT_EQ(decoder.decode_up_to(as_bytes("plain"), 100).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(decoder.decode_up_to(as_bytes("<html>404</html>"), 100).error().kind(), ErrorKind::invalid);
  // A whole zstd frame of nothing.
  EXPECT_EQ(decoder.decode_up_to(*from_hex("28b52ffd 20 00 01 00 00"), 100).error().kind(), ErrorKind::invalid);
}

// A file of some bytes may ask for a dictionary of 4 GiB to be decompressed: xz file format 3.1 and 5.3.1, the byte behind the id
// and size of LZMA2's properties.
TEST(ChunkFile, AnXzFileThatWantsTooMuchMemoryIsRefused) {
  Bytes file;
  ASSERT_TRUE(ChunkEncoder::of(Compression::xz, std::nullopt)->encode(golden::text(9, 1000), file));
  constexpr std::size_t kHeader = 12;
  const std::size_t header_size = (std::to_integer<std::size_t>(file[kHeader]) + 1) * 4;
  // Behind the sizes: LZMA2 (0x21), whose properties are one byte.
  std::size_t filter = kHeader + 2;
  while (filter + 2 < kHeader + header_size && (file[filter] != std::byte{0x21} || file[filter + 1] != std::byte{1})) ++filter;
  ASSERT_LT(filter + 2, kHeader + header_size);
  file[filter + 2] = std::byte{40};
  const std::uint32_t sum = lzma_crc32(reinterpret_cast<const std::uint8_t*>(file.data()) + kHeader, header_size - 4, 0);
  for (std::size_t i = 0; i < 4; ++i) file[kHeader + header_size - 4 + i] = static_cast<std::byte>(sum >> (8 * i));
  Bytes out(1000);
  const Result<std::size_t> size = ChunkDecoder().decode(file, out);
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().kind(), ErrorKind::limit) << size.error().message();
  EXPECT_NE(size.error().message().find("memory"), std::string::npos) << size.error().message();
}

}  // namespace
