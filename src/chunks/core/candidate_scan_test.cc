#include "chunks/core/candidate_scan.h"

#include <algorithm>
#include <bit>

#include <gtest/gtest.h>

#include "chunks/core/golden_inputs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

std::vector<std::uint32_t> found_by_definition(const CutRule& rule, ConstBytes bytes, std::size_t first) {
  std::vector<std::uint32_t> found;
  for (std::size_t p = first; p <= bytes.size(); ++p)
    if (rule.is_hit(window_hash(bytes.subspan(p - kWindowBytes).first<kWindowBytes>())))
      found.push_back(static_cast<std::uint32_t>(p));
  return found;
}

std::vector<std::uint32_t> found_by(ScanVariant variant, const CutRule& rule, ConstBytes bytes, std::size_t first) {
  std::vector<std::uint32_t> found;
  CandidateScan(rule, variant).find(bytes, first, found);
  return found;
}

TEST(CandidateScan, EveryVariantFindsWhatTheDefinitionSays) {
  const Bytes random = golden::random_bytes(7, 40'000);
  const Bytes text = golden::text(8, 40'000);
  const Bytes zeros(40'000);
  const ChunkSizes table[] = {
      {1, 64, 100}, {48, 64, 100}, {64, 64, 128}, {16, 100, 1000}, {1024, 4096, 16384}, {}, {1, 48, 48}, {4096, 4096, 5000},
  };
  for (const ChunkSizes& sizes : table) {
    const CutRule rule = *CutRule::of(sizes);
    for (const Bytes* bytes : {&random, &text, &zeros}) {
      const auto expected = found_by_definition(rule, *bytes, 48);
      for (const ScanVariant variant : scan_variants())
        EXPECT_EQ(found_by(variant, rule, *bytes, 48), expected) << name_of(variant) << " " << text_of(sizes);
    }
  }
}

TEST(CandidateScan, EveryVariantAgreesForAnyLengthAndBeginning) {
  const CutRule rule = *CutRule::of({.min = 1, .avg = 64, .max = 100});
  Random random(11);
  const Bytes bytes = golden::random_bytes(12, 6000);
  for (int i = 0; i < 400; ++i) {
    const std::size_t size = 48 + random.below(bytes.size() - 48);
    const std::size_t first = 48 + random.below(size - 47);
    // A copy of exactly this size, so that a sanitizer sees a byte too far.
    const Bytes exact = to_bytes(ConstBytes(bytes).first(size));
    const auto expected = found_by_definition(rule, exact, first);
    for (const ScanVariant variant : scan_variants())
      EXPECT_EQ(found_by(variant, rule, exact, first), expected) << size << " " << first;
  }
}

TEST(CandidateScan, AnyDiscriminatorDividesAsDivisionDoes) {
  const Bytes bytes = golden::random_bytes(13, 12'000);
  Random random(14);
  for (int i = 0; i < 60; ++i) {
    // min = avg = d makes the discriminator d: it is clamped to the minimum.
    const std::uint64_t d = 48 + random.below(i % 2 == 0 ? 100 : 5000);
    const CutRule rule = *CutRule::of({.min = d, .avg = d, .max = d + 1});
    ASSERT_EQ(rule.discriminator(), d);
    const auto expected = found_by_definition(rule, bytes, 48);
    for (const ScanVariant variant : scan_variants()) EXPECT_EQ(found_by(variant, rule, bytes, 48), expected) << d;
  }
}

// The one hash that the test without a division takes for a hit where it is none: all ones, unless d is a power of two.
TEST(CandidateScan, AHashOfAllOnesIsAHitOnlyForPowersOfTwo) {
  constexpr std::string_view kWindow = "bbbbbababbaabababbbbbababbaababaaaaaaaaaaaaaaaaa";
  Bytes bytes = golden::random_bytes(15, 3000);
  std::ranges::copy(as_bytes(kWindow), bytes.begin() + 1500);
  ASSERT_EQ(window_hash(ConstBytes(bytes).subspan(1500).first<kWindowBytes>()), 0xffffffffu);
  for (const std::uint64_t d : {1000u, 1001u, 1024u, 3943u, 4096u}) {
    const CutRule rule = *CutRule::of({.min = d, .avg = d, .max = d + 1});
    for (const ScanVariant variant : scan_variants())
      EXPECT_EQ((std::ranges::count(found_by(variant, rule, bytes, 48), 1548u) == 1), std::has_single_bit(d))
          << d << " " << name_of(variant);
  }
}

TEST(CandidateScan, NothingIsFoundWhereNoWindowFits) {
  const CutRule rule = *CutRule::of({.min = 1, .avg = 48, .max = 48});
  for (const ScanVariant variant : scan_variants()) {
    EXPECT_TRUE(found_by(variant, rule, {}, 48).empty());
    EXPECT_TRUE(found_by(variant, rule, Bytes(47), 48).empty());
  }
}

}  // namespace
