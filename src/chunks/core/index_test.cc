#include "chunks/core/index.h"

#include <gtest/gtest.h>

#include "chunks/core/chunker.h"
#include "chunks/core/golden_inputs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

Index index_of(ConstBytes blob, const IndexHeader& header) {
  Chunker chunker(*CutRule::of(header.sizes));
  std::vector<std::uint64_t> cuts;
  chunker.feed(blob, cuts);
  chunker.finish(cuts);
  Index index{.header = header, .entries = {}};
  for (const std::uint64_t cut : cuts) {
    const std::uint64_t start = index.blob_size();
    index.entries.push_back({.end = cut, .id = chunk_id_of(blob.subspan(start, cut - start), header.digest())});
  }
  return index;
}

struct Golden {
  const char* input;
  const char* variant;
  ChunkSizes sizes;
  Digest digest = Digest::sha512_256;
  bool desync_cuts_alike = true;
};
constexpr ChunkSizes kKiB(std::uint64_t min, std::uint64_t avg, std::uint64_t max) {
  return {.min = min * 1024, .avg = avg * 1024, .max = max * 1024};
}
const Golden kGolden[] = {
    {"abc", "", {}},
    {"empty", "", {}},
    {"blob4m", "", {}},
    {"blob4m", ".sha256", {}, Digest::sha256},
    {"blob4m", ".8-32-128", kKiB(8, 32, 128)},
    {"blob4m", ".64-64-64", kKiB(64, 64, 64)},
    {"blob4m", ".64-64-256", kKiB(64, 64, 256), Digest::sha512_256, false},
    {"minimum-cut", "", {}, Digest::sha512_256, false},
    {"text200k", "", {}},
    {"text4m", "", {}},
    {"zeros5m", "", {}},
};

Bytes golden_index(const Golden& row, const char* program) {
  return golden::file(std::string(GODWIT_TESTDATA) + "/index/" + row.input + row.variant + "." + program + ".caibx");
}

TEST(Index, OfABlobIsByteForByteTheOriginals) {
  for (const Golden& row : kGolden) {
    SCOPED_TRACE(std::string(row.input) + row.variant);
    const Index index =
        index_of(golden::blob(row.input), {.flags = with_digest(kDefaultBlobFlags, row.digest), .sizes = row.sizes});
    EXPECT_EQ(encode_index(index), golden_index(row, "casync"));
    const Result<Index> decoded = decode_index(golden_index(row, "casync"));
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(*decoded, index);
  }
}

TEST(Index, OfDesyncIsReadAndDiffersInOneFlag) {
  for (const Golden& row : kGolden) {
    SCOPED_TRACE(std::string(row.input) + row.variant);
    const Result<Index> theirs = decode_index(golden_index(row, "desync"));
    ASSERT_TRUE(theirs) << theirs.error().message();
    EXPECT_EQ(theirs->header.flags, with_digest(kDefaultBlobFlags, row.digest) & ~feature::kExcludeFile);
    const Result<Index> casyncs = decode_index(golden_index(row, "casync"));
    EXPECT_EQ(theirs->entries == casyncs->entries, row.desync_cuts_alike);
    EXPECT_EQ(theirs->blob_size(), casyncs->blob_size());
  }
}

Bytes golden_archive(const char* name) {
  return golden::file(std::string(GODWIT_TESTDATA) + "/archive/" + name);
}

TEST(Index, OfAnArchiveIsByteForByteThatOfItsProgram) {
  struct Row {
    const char* program;
    FeatureFlags flags;
  };
  for (const Row& row : {Row{"casync", 0xb0000001ffeffe26}, Row{"desync", 0xb000000010001f22}}) {
    SCOPED_TRACE(row.program);
    const std::string name = std::string("tree.") + row.program;
    const Index index = index_of(golden_archive((name + ".catar").c_str()), {.flags = row.flags, .sizes = kKiB(1, 4, 16)});
    EXPECT_EQ(encode_index(index), golden_archive((name + ".caidx").c_str()));
    const Result<Index> decoded = decode_index(golden_archive((name + ".caidx").c_str()));
    ASSERT_TRUE(decoded) << decoded.error().message();
    EXPECT_EQ(*decoded, index);
  }
}

TEST(Index, NamesAChunkAsOftenAsItIsThere) {
  const Result<Index> index = decode_index(golden_archive("tree-repeat.casync.caidx"));
  ASSERT_TRUE(index) << index.error().message();
  EXPECT_EQ(index->blob_size(), 1'500'230U);
  const Bytes zeros(kKiB(16, 64, 256).max);
  ASSERT_EQ(index->entries.size(), 6U);
  for (std::size_t i = 1; i < 5; ++i) EXPECT_EQ(index->entries[i].id, chunk_id_of(zeros, Digest::sha512_256)) << i;
  EXPECT_EQ(encode_index(*index), golden_archive("tree-repeat.casync.caidx"));
}

// casync.md 8.1: the flags lie, the ids are SHA-256's.
TEST(Index, OfDesyncMaySayAnotherDigestThanItsChunksHave) {
  const Result<Index> index = decode_index(golden_archive("tree-one.sha256.desync.caidx"));
  ASSERT_TRUE(index) << index.error().message();
  EXPECT_EQ(index->header.digest(), Digest::sha512_256);
  const Bytes archive = golden_archive("tree-one.casync.catar");
  ASSERT_EQ(index->entries.size(), 1U);
  EXPECT_EQ(index->entries[0].end, archive.size());
  EXPECT_EQ(index->entries[0].id, chunk_id_of(archive, Digest::sha256));
}

TEST(Index, InAnyPiecesGivesTheSameEntries) {
  const Bytes file = golden_index(kGolden[2], "casync");
  const Result<Index> whole = decode_index(file);
  for (const std::size_t piece :
       {std::size_t{1}, std::size_t{39}, std::size_t{40}, std::size_t{41}, std::size_t{63}, std::size_t{64}, std::size_t{1000}}) {
    IndexDecoder decoder;
    std::vector<IndexEntry> entries;
    for (ConstBytes rest = file; !rest.empty();) {
      const std::size_t count = std::min(piece, rest.size());
      ASSERT_TRUE(decoder.feed(rest.first(count), entries));
      rest = rest.subspan(count);
    }
    ASSERT_TRUE(decoder.finish());
    EXPECT_EQ(entries, whole->entries) << piece;
    EXPECT_EQ(decoder.blob_size(), whole->blob_size());
  }
}

TEST(Index, TheLastItemIsNotAnEntryUntilMoreComes) {
  const Bytes file = golden_index(kGolden[0], "casync");  // one entry
  IndexDecoder decoder;
  std::vector<IndexEntry> entries;
  ASSERT_TRUE(decoder.feed(ConstBytes(file).first(104), entries));
  EXPECT_TRUE(entries.empty());
  ASSERT_TRUE(decoder.feed(ConstBytes(file).subspan(104, 1), entries));
  EXPECT_EQ(entries.size(), 1u);
}

TEST(Index, FindsTheChunkOfAnOffset) {
  const Index index{.header = {}, .entries = {{10, {}}, {11, {}}, {30, {}}}};
  EXPECT_EQ(index.chunk_at(0), 0u);
  EXPECT_EQ(index.chunk_at(9), 0u);
  EXPECT_EQ(index.chunk_at(10), 1u);
  EXPECT_EQ(index.chunk_at(11), 2u);
  EXPECT_EQ(index.chunk_at(29), 2u);
  EXPECT_EQ(index.start_of(2), 11u);
  EXPECT_EQ(index.length_of(2), 19u);
}

TEST(Index, RefusesWhatBreaksARule) {
  const Bytes good = encode_index({.header = {}, .entries = {{1000, {}}, {3000, {}}}});
  ASSERT_TRUE(decode_index(good));
  struct Row {
    const char* name;
    std::size_t offset;
    std::uint64_t value;
    ErrorKind kind;
  };
  const Row rows[] = {
      {"size of the head", 0, 49, ErrorKind::invalid},
      {"magic", 8, 0x96824d9c7b129ff8, ErrorKind::invalid},
      {"unknown flag", 16, 0xb000000200000000, ErrorKind::unsupported},
      {"flags not normalized", 16, 0xb000000000000003, ErrorKind::invalid},
      {"minimum of 0", 24, 0, ErrorKind::invalid},
      {"minimum above the average", 24, 65537, ErrorKind::invalid},
      {"maximum below the average", 40, 65535, ErrorKind::invalid},
      {"maximum too large", 40, 128 * 1024 * 1024 + 1, ErrorKind::invalid},
      {"a size of the table", 48, 184, ErrorKind::invalid},
      {"magic of the table", 56, 1, ErrorKind::invalid},
      {"an empty chunk", 104, 1000, ErrorKind::invalid},
      {"a chunk that ends before it begins", 104, 999, ErrorKind::invalid},
      {"a chunk that is too large", 104, 1000 + 262145, ErrorKind::invalid},
      {"an end of zero", 64, 0, ErrorKind::invalid},
      {"first word of the tail", 144, 1, ErrorKind::truncated},
      {"second word of the tail", 152, 1, ErrorKind::truncated},
      {"offset in the tail", 160, 47, ErrorKind::invalid},
      {"size in the tail", 168, 135, ErrorKind::invalid},
      {"magic of the tail", 176, 0, ErrorKind::invalid},
  };
  for (const Row& row : rows) {
    Bytes bad = good;
    std::memcpy(bad.data() + row.offset, &row.value, 8);
    const Result<Index> decoded = decode_index(bad);
    ASSERT_FALSE(decoded) << row.name;
    EXPECT_EQ(decoded.error().kind(), row.kind) << row.name << ": " << decoded.error().message();
  }
}

TEST(Index, RefusesAFileThatIsTooShortOrTooLong) {
  const Bytes good = encode_index({.header = {}, .entries = {{1000, {}}, {3000, {}}}});
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(decode_index(ConstBytes(good).first(size))) << size;
  Bytes longer = good;
  for (int i = 0; i < 100; ++i) {
    longer.push_back(std::byte{0});
    EXPECT_FALSE(decode_index(longer)) << longer.size();
  }
}

}  // namespace
