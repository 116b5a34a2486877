// The chunker in drawn worlds. GODWIT_SEEDS sets how many, GODWIT_SEEDS_FROM where to begin.
#include <gtest/gtest.h>

#include "chunks/core/chunker.h"
#include "chunks/core/cut_worlds_test.h"
#include "sim/world.h"

using namespace godwit;
using namespace godwit::chunks;
using worlds::Cuts;

namespace {

// One kind of split for a whole run: byte by byte, windows, or drawn ones; long streams in longer pieces.
std::function<std::size_t()> draw_split(Random& random, std::size_t size) {
  const std::uint64_t kind = random.below(5);
  if (kind == 0 && size < 20'000) return [] { return std::size_t{1}; };
  if (kind == 1) return [piece = 46 + random.below(5)] { return piece; };
  if (kind == 2) return [size] { return size + 1; };
  const unsigned bits = 1 + static_cast<unsigned>(random.below(20));
  return [random = random.fork(), bits]() mutable { return worlds::any_magnitude(random, bits); };
}

Cuts cuts_by_chunker(const CutRule& rule, ScanVariant variant, ConstBytes bytes, const std::function<std::size_t()>& split) {
  Chunker chunker(rule, variant);
  Cuts cuts;
  while (!bytes.empty()) {
    // A copy of exactly the piece, so that a sanitizer sees a byte too far.
    const Bytes piece = to_bytes(bytes.first(std::min(bytes.size(), split())));
    chunker.feed(piece, cuts);
    bytes = bytes.subspan(piece.size());
  }
  chunker.finish(cuts);
  return cuts;
}

// Blocks in any order, each with the window before it, then the walk.
Cuts cuts_by_walker(const CutRule& rule, ScanVariant variant, ConstBytes bytes, const std::function<std::size_t()>& split,
                    Random& random) {
  struct Block {
    std::size_t begin = 0;
    std::size_t end = 0;
    Cuts candidates;
  };
  std::vector<Block> blocks;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = std::min(bytes.size(), at + split());
    blocks.push_back({.begin = at, .end = end, .candidates = {}});
    at = end;
  }
  std::vector<std::size_t> order(blocks.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    std::swap(order[i], order[random.below(i + 1)]);
  }
  const CandidateScan scan(rule, variant);
  for (const std::size_t i : order) {
    Block& block = blocks[i];
    const std::size_t base = block.begin - std::min(block.begin, kWindowBytes - 1);
    const Bytes seen = to_bytes(bytes.subspan(base, block.end - base));
    std::vector<std::uint32_t> found;
    scan.find(seen, std::max(block.begin + 1 - base, kWindowBytes), found);
    for (const std::uint32_t offset : found) block.candidates.push_back(base + offset);
  }
  CutWalker walker(rule);
  Cuts cuts;
  for (const Block& block : blocks) walker.advance(block.end, block.candidates, cuts);
  walker.finish(cuts);
  return cuts;
}

TEST(ChunkerWorlds, AnySizesDataAndSplitsAreCutAsTheSpecificationSays) {
  for (const std::uint64_t seed : sim::scenario_seeds(120)) {
    Random random(seed);
    const worlds::World world = worlds::draw_world(random, 60'000, 14);
    SCOPED_TRACE(fmt::format("GODWIT_SEEDS_FROM={} GODWIT_SEEDS=1: {}", seed, world.description));
    const Result<CutRule> rule = CutRule::of(world.sizes);
    ASSERT_TRUE(rule) << rule.error().message();
    const Cuts expected = worlds::cuts_by_definition(world.sizes, world.content);
    for (const ScanVariant variant : scan_variants()) {
      SCOPED_TRACE(name_of(variant));
      for (int i = 0; i < 2; ++i) {
        ASSERT_EQ(cuts_by_chunker(*rule, variant, world.content, draw_split(random, world.content.size())), expected);
        ASSERT_EQ(cuts_by_walker(*rule, variant, world.content, draw_split(random, world.content.size()), random), expected);
      }
    }
  }
}

TEST(ChunkerWorlds, AnySizesDivideAsTheSpecificationSays) {
  Random random(31);
  for (int i = 0; i < 20'000; ++i) {
    std::uint64_t three[3];
    for (std::uint64_t& size : three) size = std::min(worlds::any_magnitude(random, 28), kChunkSizeBytesMax);
    std::ranges::sort(three);
    const ChunkSizes sizes{.min = three[0], .avg = three[1], .max = three[2]};
    ASSERT_EQ(discriminator_of(sizes), worlds::discriminator_by_definition(sizes)) << text_of(sizes);
  }
}

// What the tests above take for the truth, against the values that the specification gives.
TEST(ChunkerWorlds, TheReferenceHasTheSpecificationsOwnValues) {
  Bytes rising;
  for (int i = 0; i < 48; ++i) rising.push_back(static_cast<std::byte>(i));
  EXPECT_EQ(worlds::hash_by_definition(Bytes(48).data(), 48), 0x9e489e48u);
  EXPECT_EQ(worlds::hash_by_definition(rising.data(), 48), 0x6b67dec6u);
  EXPECT_EQ(worlds::hash_by_definition(Bytes(48, std::byte{'x'}).data(), 48), 0x43d343d3u);
  struct Row {
    std::uint64_t avg;
    std::uint64_t discriminator;
  };
  for (const auto& [avg, discriminator] :
       {Row{4096, 3075}, Row{16384, 12318}, Row{32768, 24680}, Row{65536, 49535}, Row{131072, 99777}, Row{262144, 202440},
        Row{1048576, 886711}, Row{4194304, 5721670}, Row{8388608, 33554432}, Row{12 << 20, 48 << 20}})
    EXPECT_EQ(worlds::discriminator_by_definition({.min = avg / 4, .avg = avg, .max = avg * 4}), discriminator) << avg;
  // The worlds of fixed seeds are what they are meant to be: the zeros of one kind of sizes are cut by their hash.
  const ChunkSizes zeros_hit{.min = 3943, .avg = 3943, .max = 5000};
  EXPECT_EQ(worlds::cuts_by_definition(zeros_hit, Bytes(8000)), (Cuts{3943, 7886, 8000}));
}

}  // namespace
