#include "chunks/core/cut_rule.h"

#include <bit>

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "chunks/core/buzhash_table.h"
#include "chunks/core/chunk_id.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

std::uint32_t hash_of(const Bytes& bytes) {
  return window_hash(ConstBytes(bytes).first<kWindowBytes>());
}

// casync.md 3.1.
TEST(CutRule, TheTableIsTheOneThatBothProgramsPublish) {
  Bytes packed;
  Writer writer(packed);
  for (const std::uint32_t word : kBuzhashTable) writer.u32_le(word);
  EXPECT_EQ(chunk_id_of(packed, Digest::sha256).hex(), "5b52080d38287da9d2e278466e3e0db7ec98e5e8b226f50612a56fa012b1f660");
}

TEST(CutRule, TheWindowsHashIsTheSpecifications) {
  EXPECT_EQ(hash_of(Bytes(48)), 0x9e489e48u);
  EXPECT_EQ(hash_of(Bytes(48, std::byte{'x'})), 0x43d343d3u);
  Bytes rising;
  for (int i = 0; i < 48; ++i) rising.push_back(static_cast<std::byte>(i));
  EXPECT_EQ(hash_of(rising), 0x6b67dec6u);
}

TEST(CutRule, IsTestedFirstAtTheMinimumOrAtTheWindow) {
  EXPECT_EQ(CutRule::of({.min = 16384, .avg = 65536, .max = 262144})->first_tested(), 16384u);
  EXPECT_EQ(CutRule::of({.min = 1, .avg = 64, .max = 100})->first_tested(), 48u);
  EXPECT_EQ(CutRule::of({.min = 100, .avg = 100, .max = 100})->first_tested(), 100u);
}

TEST(CutRule, RefusesSizesThatHoldNoWindowUnlessAllAreOne) {
  EXPECT_EQ(CutRule::of({.min = 1, .avg = 10, .max = 47}).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(CutRule::of({.min = 2, .avg = 1, .max = 100}).error().kind(), ErrorKind::invalid);
  EXPECT_TRUE(CutRule::of({.min = 47, .avg = 47, .max = 47}));
  EXPECT_TRUE(CutRule::of({.min = 1, .avg = 10, .max = 48}));
}

TEST(CutRule, ZerosAreCutAtTheMaximumUnlessTheirHashHits) {
  EXPECT_EQ(CutRule::of({})->zero_chunk_size(), 262144u);
  EXPECT_EQ(CutRule::of({.min = 64, .avg = 64, .max = 64})->zero_chunk_size(), 64u);
  // 0x9e489e48 + 1 is divisible by 101 (no default; found by trial): then zeros are cut as early as may be.
  std::uint32_t divisor = 49;
  while ((0x9e489e48u + 1) % divisor != 0) ++divisor;
  const Result<CutRule> rule = CutRule::of({.min = divisor, .avg = divisor, .max = divisor + 1});
  ASSERT_EQ(rule->discriminator(), divisor);
  EXPECT_EQ(rule->zero_chunk_size(), divisor);
}

}  // namespace
