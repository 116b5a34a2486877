#include "chunks/core/feature_flags.h"

#include <bit>

#include <gtest/gtest.h>

using namespace godwit;
using namespace godwit::chunks;

namespace {

// Values seen in archives of the original program, casync.md 6.2.
TEST(FeatureFlags, GroupsBecomeTheWordsThatTheOriginalWrites) {
  struct Row {
    const char* name;
    FeatureFlags flags;
  };
  const Row rows[] = {
      {"best", 0x1ffeffe26},       {"all", 0x1ffeffe26},  {"unix", 0x1f09},    {"fat", 0xe0c0},
      {"fuse", 0x13efff22},        {"chattr", 0x3ef0000}, {"16bit-uids", 1},   {"sec-time", 8},
      {"privileged", 0x1ec414406}, {"usec-time", 0x10},   {"2sec-time", 0x40}, {"read-only", 0x80},
      {"permissions", 0x100},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    const Result<FeatureFlags> flags = feature_flags_of_name(row.name);
    ASSERT_TRUE(flags);
    EXPECT_EQ(normalized(*flags | kDefaultModes), row.flags | 0xb000000000000000);
  }
  EXPECT_EQ(kDefaultArchiveFlags, 0xb0000001ffeffe26);
  EXPECT_EQ(kDefaultBlobFlags, 0xb000000000000000);
}

TEST(FeatureFlags, NormalizingTwiceIsNormalizingOnce) {
  for (const FeatureName& a : feature_names())
    for (const FeatureName& b : feature_names())
      for (const FeatureFlags modes : {FeatureFlags{0}, feature::kModes}) {
        const FeatureFlags once = normalized(a.flags | b.flags | modes);
        EXPECT_EQ(normalized(once), once) << a.name << " " << b.name;
        EXPECT_TRUE(check_feature_flags(once));
      }
}

TEST(FeatureFlags, AnAclWithoutIdsBringsThem) {
  EXPECT_EQ(normalized(feature::kAcl), feature::kAcl | feature::k32BitUids | feature::kUserNames);
  EXPECT_EQ(normalized(feature::kAcl | feature::k16BitUids), feature::kAcl | feature::k16BitUids);
}

TEST(FeatureFlags, AReaderRefusesUnknownBitsAndContradictions) {
  EXPECT_EQ(check_feature_flags(0x2'0000'0000).error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(check_feature_flags(0x0100'0000'0000'0000).error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(check_feature_flags(feature::k16BitUids | feature::k32BitUids).error().kind(), ErrorKind::invalid);
  EXPECT_EQ(check_feature_flags(feature::kSubvolumeReadOnly).error().kind(), ErrorKind::invalid);
}

TEST(FeatureFlags, EveryBitHasOneName) {
  FeatureFlags seen = 0;
  for (const FeatureName& row : feature_names().first(33)) {
    EXPECT_EQ(std::popcount(row.flags), 1) << row.name;
    EXPECT_EQ(seen & row.flags, 0u) << row.name;
    seen |= row.flags;
  }
  EXPECT_EQ(seen, feature::kWithAll);
  EXPECT_EQ(feature_flags_of_name("directory").error().kind(), ErrorKind::usage);
}

}  // namespace
