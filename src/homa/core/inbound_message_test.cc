#include "homa/core/inbound_message.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.h"

namespace godwit::homa {
namespace {

constexpr std::uint32_t kGapsMax = 1024;

TEST(HomaInbound, PacketsInOrderCountOnce) {
  InboundMessage message;
  message.start(3000);
  EXPECT_EQ(message.merge(0, 1412, kGapsMax).covering, (ByteRange{0, 1412}));
  EXPECT_EQ(message.merge(1412, 2824, kGapsMax).new_bytes, 1412u);
  EXPECT_FALSE(message.is_complete());
  EXPECT_EQ(message.merge(2824, 3000, kGapsMax).covering, (ByteRange{2824, 3000}));
  EXPECT_TRUE(message.is_complete());
  EXPECT_EQ(message.remaining(), 0u);
}

TEST(HomaInbound, DuplicatesAndOverlapsAreTrimmed) {
  InboundMessage message;
  message.start(1000);
  message.merge(200, 400, kGapsMax);
  EXPECT_EQ(message.merge(200, 400, kGapsMax).new_bytes, 0u);
  EXPECT_EQ(message.merge(250, 300, kGapsMax).new_bytes, 0u);
  EXPECT_EQ(message.merge(100, 300, kGapsMax).covering, (ByteRange{100, 200}));
  EXPECT_EQ(message.merge(350, 500, kGapsMax).covering, (ByteRange{400, 500}));
  EXPECT_EQ(message.received(), 400u);
  const InboundMessage::Merged all = message.merge(0, 1000, kGapsMax);
  EXPECT_EQ(all.new_bytes, 600u);
  EXPECT_EQ(all.covering, (ByteRange{0, 1000}));
  EXPECT_TRUE(message.is_complete());
}

TEST(HomaInbound, TheFirstGapBelowIncomingIsNamed) {
  InboundMessage message;
  message.start(10'000);
  EXPECT_FALSE(message.first_gap());
  message.raise_incoming(5000);
  EXPECT_EQ(message.first_gap(), (ByteRange{0, 5000}));
  message.merge(0, 1000, kGapsMax);
  message.merge(2000, 3000, kGapsMax);
  message.merge(4000, 4500, kGapsMax);
  EXPECT_EQ(message.first_gap(), (ByteRange{1000, 2000}));
  message.merge(1000, 2000, kGapsMax);
  EXPECT_EQ(message.first_gap(), (ByteRange{3000, 4000}));
  message.merge(3000, 5000, kGapsMax);
  EXPECT_FALSE(message.first_gap());
}

TEST(HomaInbound, IncomingNeverFallsNorPassesTheEnd) {
  InboundMessage message;
  message.start(1000);
  message.raise_incoming(500);
  message.raise_incoming(300);
  EXPECT_EQ(message.incoming(), 500u);
  message.raise_incoming(0xffff'ffff);
  EXPECT_EQ(message.incoming(), 1000u);
  EXPECT_EQ(message.on_the_way(), 1000u);
}

TEST(HomaInbound, OneHoleTooManyIsRefusedAndTheMessageStillCompletes) {
  InboundMessage message;
  message.start(1000);
  for (std::uint32_t i = 1; i <= 4; ++i) EXPECT_FALSE(message.merge(10 * i, 10 * i + 1, 4).refused);
  const InboundMessage::Merged fifth = message.merge(50, 51, 4);
  EXPECT_TRUE(fifth.refused);
  EXPECT_EQ(fifth.new_bytes, 0u);
  EXPECT_EQ(message.received(), 4u);
  EXPECT_FALSE(message.merge(0, 1000, 4).refused);
  EXPECT_TRUE(message.is_complete());
}

TEST(HomaInbound, AnyOrderOfAnySegmentsGivesTheSameAsABitPerByte) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const auto length = static_cast<std::uint32_t>(1 + random.below(400));
    InboundMessage message;
    message.start(length);
    message.raise_incoming(length);
    std::vector<bool> have(length, false);
    for (int step = 0; step < 200 && !message.is_complete(); ++step) {
      const auto begin = static_cast<std::uint32_t>(random.below(length));
      const auto end = begin + 1 + static_cast<std::uint32_t>(random.below(std::min(length - begin, 30u)));
      std::uint32_t fresh = 0, first = length, last = 0;
      for (std::uint32_t i = begin; i < end; ++i) {
        if (have[i]) continue;
        have[i] = true;
        ++fresh;
        first = std::min(first, i);
        last = i + 1;
      }
      const InboundMessage::Merged merged = message.merge(begin, end, kGapsMax);
      ASSERT_EQ(merged.new_bytes, fresh) << "seed " << seed << " step " << step;
      ASSERT_TRUE(fresh == 0 || merged.covering == (ByteRange{first, last})) << "seed " << seed << " step " << step;
      const auto gap = std::find(have.begin(), have.end(), false);
      const auto gap_end = std::find(gap, have.end(), true);
      const std::optional<ByteRange> named = message.first_gap();
      ASSERT_EQ(named.has_value(), gap != have.end());
      if (!named) continue;
      ASSERT_EQ(*named,
                (ByteRange{static_cast<std::uint32_t>(gap - have.begin()), static_cast<std::uint32_t>(gap_end - have.begin())}));
    }
  }
}

}  // namespace
}  // namespace godwit::homa
