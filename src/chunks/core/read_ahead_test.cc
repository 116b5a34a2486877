#include "chunks/core/read_ahead.h"

#include <gtest/gtest.h>

using namespace godwit::chunks;

namespace {

constexpr ReadAheadLimits kLimits{.window_bytes_min = 100, .window_bytes_max = 400, .readers_max = 2};

TEST(ReadAhead, WhoGoesOnGetsAWindowThatDoublesUpToItsLimit) {
  ReadAhead ahead(kLimits);
  EXPECT_EQ(ahead.handle_read(1000, 1010), ByteRange());  // where it came from nobody knows
  EXPECT_EQ(ahead.handle_read(1010, 1020), (ByteRange{1020, 1120}));
  EXPECT_EQ(ahead.handle_read(1020, 1030), (ByteRange{1120, 1230}));
  EXPECT_EQ(ahead.handle_read(1030, 1040), (ByteRange{1230, 1440}));
  EXPECT_EQ(ahead.handle_read(1040, 1050), (ByteRange{1440, 1450}));
}

TEST(ReadAhead, WhoBeginsAtTheFrontIsTakenToGoOn) {
  ReadAhead ahead(kLimits);
  EXPECT_EQ(ahead.handle_read(0, 10), (ByteRange{10, 110}));
}

TEST(ReadAhead, WhoJumpsGetsNothing) {
  ReadAhead ahead(kLimits);
  for (const std::uint64_t at : {5000u, 90000u, 1000u, 700000u, 30000u})
    EXPECT_TRUE(ahead.handle_read(at, at + 10).empty()) << at;
}

TEST(ReadAhead, ReadsOutOfOrderBelongToTheirReader) {
  ReadAhead ahead(kLimits);
  EXPECT_EQ(ahead.handle_read(0, 10), (ByteRange{10, 110}));
  EXPECT_EQ(ahead.handle_read(20, 30), (ByteRange{110, 230}));
  EXPECT_EQ(ahead.handle_read(10, 20), ByteRange());  // the late one names nothing again
  EXPECT_EQ(ahead.handle_read(30, 40), (ByteRange{230, 440}));
}

TEST(ReadAhead, ReadersAreToldApartAndTheOneThatReadLongestAgoIsForgotten) {
  ReadAhead ahead(kLimits);
  EXPECT_TRUE(ahead.handle_read(10000, 10010).empty());
  EXPECT_TRUE(ahead.handle_read(50000, 50010).empty());
  EXPECT_EQ(ahead.handle_read(10010, 10020), (ByteRange{10020, 10120}));
  EXPECT_EQ(ahead.handle_read(50010, 50020), (ByteRange{50020, 50120}));
  EXPECT_TRUE(ahead.handle_read(90000, 90010).empty());  // takes the first one's place
  EXPECT_TRUE(ahead.handle_read(10020, 10030).empty());  // forgotten
}

TEST(ReadAhead, NothingWrapsAtTheEndOfAllOffsets) {
  ReadAhead ahead(kLimits);
  EXPECT_TRUE(ahead.handle_read(UINT64_MAX - 20, UINT64_MAX - 10).empty());
  EXPECT_EQ(ahead.handle_read(UINT64_MAX - 10, UINT64_MAX - 5), (ByteRange{UINT64_MAX - 5, UINT64_MAX}));
}

TEST(ReadAhead, AWindowOfNothingIsNone) {
  ReadAhead ahead({.window_bytes_max = 0});
  EXPECT_TRUE(ahead.handle_read(0, 10).empty());
  EXPECT_TRUE(ahead.handle_read(10, 20).empty());
}

}  // namespace
