#include "chunks/core/chunker.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "chunks/core/golden_inputs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

using Cuts = std::vector<std::uint64_t>;

// The rule as the specification words it, byte by byte.
Cuts cuts_by_definition(const CutRule& rule, ConstBytes bytes) {
  Cuts cuts;
  std::uint64_t start = 0;
  for (std::uint64_t end = 1; end <= bytes.size(); ++end) {
    const std::uint64_t length = end - start;
    const bool tested = !rule.sizes().is_fixed() && length >= std::max<std::uint64_t>(rule.sizes().min, kWindowBytes);
    const bool hit = tested && rule.is_hit(window_hash(bytes.subspan(end - kWindowBytes).first<kWindowBytes>()));
    if (length == rule.sizes().max || hit || end == bytes.size()) cuts.push_back(start = end);
  }
  return cuts;
}

Cuts cuts_by_chunker(const CutRule& rule, ScanVariant variant, ConstBytes bytes, auto&& piece_size) {
  Chunker chunker(rule, variant);
  Cuts cuts;
  while (!bytes.empty()) {
    const std::size_t count = std::min<std::size_t>(bytes.size(), piece_size());
    chunker.feed(bytes.first(count), cuts);
    bytes = bytes.subspan(count);
  }
  chunker.finish(cuts);
  return cuts;
}

// Candidates are looked for block by block, each block knowing only the window before it, then walked over.
Cuts cuts_by_walker(const CutRule& rule, ConstBytes bytes, std::size_t block) {
  CutWalker walker(rule);
  const CandidateScan scan(rule);
  Cuts cuts;
  for (std::size_t at = 0; at < bytes.size(); at += block) {
    const std::size_t end = std::min(bytes.size(), at + block);
    const std::size_t base = at < kWindowBytes ? 0 : at - kWindowBytes;
    std::vector<std::uint32_t> found;
    scan.find(bytes.subspan(base, end - base), std::max(at + 1 - base, kWindowBytes), found);
    Cuts candidates;
    for (const std::uint32_t offset : found) candidates.push_back(base + offset);
    walker.advance(end, candidates, cuts);
  }
  walker.finish(cuts);
  return cuts;
}

constexpr ChunkSizes kSmallSizes[] = {
    {1, 64, 100}, {48, 64, 100}, {16, 100, 1000}, {64, 64, 64},   {1, 1, 1},
    {7, 7, 7},    {1, 48, 48},   {100, 200, 400}, {47, 300, 500},
};

TEST(Chunker, AnySplitOfTheInputIsCutAsTheSpecificationWordsIt) {
  Random random(21);
  Bytes mixed = golden::random_bytes(22, 9000);
  mixed.resize(12'000);  // zeros
  append(mixed, golden::text(23, 5000));
  for (const ChunkSizes& sizes : kSmallSizes) {
    const CutRule rule = *CutRule::of(sizes);
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{47}, std::size_t{48}, std::size_t{49}, std::size_t{100}, mixed.size()}) {
      const ConstBytes bytes = ConstBytes(mixed).first(size);
      const Cuts expected = cuts_by_definition(rule, bytes);
      for (const ScanVariant variant : scan_variants()) {
        SCOPED_TRACE(text_of(sizes) + " " + std::string(name_of(variant)) + " " + std::to_string(size));
        EXPECT_EQ(cuts_by_chunker(rule, variant, bytes, [] { return std::size_t{1}; }), expected);
        EXPECT_EQ(cuts_by_chunker(rule, variant, bytes, [] { return std::size_t{48}; }), expected);
        EXPECT_EQ(cuts_by_chunker(rule, variant, bytes, [&] { return 1 + random.below(300); }), expected);
        EXPECT_EQ(cuts_by_chunker(rule, variant, bytes, [&] { return bytes.size(); }), expected);
      }
      for (const std::size_t block : {1u, 47u, 48u, 49u, 1000u, 100'000u})
        EXPECT_EQ(cuts_by_walker(rule, bytes, block), expected) << text_of(sizes) << " " << size << " " << block;
    }
  }
}

TEST(Chunker, DefaultSizesAreCutAlikeByEveryVariantAndByTheWalker) {
  const Bytes bytes = golden::random_bytes(24, 3'000'000);
  const CutRule rule = *CutRule::of({});
  const Cuts expected = cuts_by_definition(rule, bytes);
  Random random(25);
  for (const ScanVariant variant : scan_variants())
    EXPECT_EQ(cuts_by_chunker(rule, variant, bytes, [&] { return 1 + random.below(200'000); }), expected);
  for (const std::size_t block : {65'536u, 100'001u, 5'000'000u}) EXPECT_EQ(cuts_by_walker(rule, bytes, block), expected);
}

// casync.md 3.4, golden: one of the places where desync cuts otherwise.
TEST(Chunker, AChunkMayEndAtExactlyTheMinimum) {
  const Cuts cuts = cuts_by_definition(*CutRule::of({}), golden::minimum_cut());
  EXPECT_EQ(cuts.front(), 16384u);
}

// Why a reader may leave whole zero chunks out of a long hole: the cuts behind are where they were, only later.
TEST(CutWalker, ZeroChunksMoreInALongRunOfZerosMoveTheCutsBehindThem) {
  for (const ChunkSizes& sizes : {ChunkSizes{100, 200, 400}, ChunkSizes{64, 64, 64}, ChunkSizes{1, 64, 100}}) {
    const CutRule rule = *CutRule::of(sizes);
    const auto cuts_with = [&](std::uint64_t zeros) {
      Bytes bytes = golden::random_bytes(26, 1234);
      bytes.resize(bytes.size() + zeros);
      append(bytes, golden::random_bytes(27, 1000));
      return cuts_by_definition(rule, bytes);
    };
    const std::uint64_t zero_chunk = rule.zero_chunk_size();
    const std::uint64_t fewer = sizes.max + kWindowBytes + 7;
    const std::uint64_t skipped = 30 * zero_chunk;
    Cuts expected;
    bool told = false;
    for (const std::uint64_t cut : cuts_with(fewer)) {
      // The zero chunks go behind the last cut at which the whole window is zeros.
      if (!told && cut > 1234 + fewer) {
        const std::uint64_t start = expected.back();
        for (std::uint64_t done = zero_chunk; done <= skipped; done += zero_chunk) expected.push_back(start + done);
        told = true;
      }
      expected.push_back(told ? cut + skipped : cut);
    }
    EXPECT_EQ(cuts_with(fewer + skipped), expected) << text_of(sizes);
  }
}

}  // namespace
