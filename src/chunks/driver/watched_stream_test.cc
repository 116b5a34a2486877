#include "chunks/driver/watched_stream.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

// Ten bytes, three at a time.
class Ten final : public ArchiveStream {
 public:
  Result<std::size_t> read(MutableBytes into) override {
    const std::size_t count = std::min({into.size(), std::size_t{3}, left_});
    left_ -= count;
    return count;
  }

 private:
  std::size_t left_ = 10;
};

TEST(WatchedStream, WhatIsReadIsSeenAsItIsRead) {
  const auto watch = std::make_shared<StreamWatch>();
  WatchedStream stream(std::make_unique<Ten>(), 10, watch);
  EXPECT_EQ(watch->bytes_total, 10U);
  EXPECT_EQ(watch->bytes_read, 0U);
  Bytes into(8);
  for (const std::uint64_t read : {3U, 6U, 9U, 10U, 10U}) {
    ASSERT_TRUE(stream.read(into).has_value());
    EXPECT_EQ(watch->bytes_read, read);
  }
}

TEST(WatchedStream, OneThatIsStoppedIsReadNoFurther) {
  const auto watch = std::make_shared<StreamWatch>();
  WatchedStream stream(std::make_unique<Ten>(), 10, watch);
  Bytes into(8);
  ASSERT_EQ(stream.read(into).value(), 3U);
  watch->is_stopped = true;
  EXPECT_EQ(stream.read(into).error().kind(), ErrorKind::cancelled);
  EXPECT_EQ(watch->bytes_read, 3U);
}

}  // namespace
}  // namespace godwit::chunks
