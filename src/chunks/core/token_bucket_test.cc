#include "chunks/core/token_bucket.h"

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

constexpr Instant kStart{5'000'000'000};

// Bytes that a sender with endless data gets through in `time`, in pieces of at most `piece`.
std::uint64_t passed(TokenBucket& bucket, Duration time, std::size_t piece) {
  std::uint64_t bytes = 0;
  for (Instant now = kStart; now < kStart + time;) {
    const std::size_t size = std::min(piece, bucket.available(now));
    if (size == 0) {
      const Instant next = bucket.next(now);
      EXPECT_GT(next, now);
      now = next;
      continue;
    }
    bucket.take(size, now);
    bytes += size;
    now = now + Duration{1};
  }
  return bytes;
}

TEST(TokenBucket, LetsTheRatePassAndNoMoreThanABurstBeyondIt) {
  for (const std::uint64_t rate : {1ULL, 100ULL, 16'384ULL, 1'000'000ULL, 250'000'000ULL}) {
    for (const std::size_t piece : {std::size_t{1000}, std::size_t{1} << 20}) {
      TokenBucket bucket(rate, kStart);
      const std::uint64_t allowed = bucket.piece_bytes() + 20 * rate;
      const std::uint64_t bytes = passed(bucket, Duration::seconds(20), piece);
      EXPECT_LE(bytes, allowed) << rate;
      EXPECT_GE(bytes, allowed - bucket.piece_bytes() - rate / 10) << rate;
    }
  }
}

TEST(TokenBucket, AnOverdraftIsPaidBackBeforeAnythingPasses) {
  TokenBucket bucket(1000, kStart);
  bucket.take(bucket.piece_bytes() + 5000, kStart);
  EXPECT_EQ(bucket.available(kStart + Duration::seconds(5)), 0u);
  EXPECT_EQ(bucket.available(kStart + Duration::seconds(6)), 1000u);
}

TEST(TokenBucket, IdleTimeIsNotSavedUp) {
  TokenBucket bucket(1'000'000, kStart);
  EXPECT_EQ(bucket.available(kStart + Duration::seconds(3600)), bucket.piece_bytes());
  EXPECT_EQ(bucket.piece_bytes(), 100'000u);
}

TEST(TokenBucket, WaitsForAPieceWorthSending) {
  TokenBucket bucket(1'000'000, kStart);
  EXPECT_EQ(bucket.next(kStart), kStart);
  bucket.take(100'000, kStart);
  EXPECT_EQ(bucket.next(kStart), kStart + Duration::milliseconds(25));
  EXPECT_EQ(bucket.available(bucket.next(kStart)), 25'000u);
}

TEST(TokenBucket, FractionsOfABytesAreNotLost) {
  TokenBucket bucket(3, kStart);
  bucket.take(bucket.piece_bytes(), kStart);
  // Asked every millisecond, where a thousandth of three bytes comes in each time.
  for (int i = 1; i <= 10'000; ++i) (void)bucket.available(kStart + Duration::milliseconds(i));
  EXPECT_EQ(bucket.available(kStart + Duration::seconds(10)), 30u);
}

TEST(TokenBucket, SharersGetTheRateTogether) {
  TokenBucket bucket(10'000, kStart);
  std::uint64_t bytes[2] = {};
  for (int i = 0; i < 10'000; ++i) {
    const Instant now = kStart + Duration::milliseconds(i);
    std::uint64_t& mine = bytes[i % 2];
    const std::size_t size = bucket.available(now);
    bucket.take(size, now);
    mine += size;
  }
  EXPECT_NEAR(static_cast<double>(bytes[0] + bytes[1]), 100'000.0 + 16'384.0, 20.0);
}

TEST(TokenBucket, ARateBeyondAnyWireIsAsGoodAsNone) {
  TokenBucket bucket(~std::uint64_t{0}, kStart);
  bucket.take(std::size_t{1} << 40, kStart);
  EXPECT_LE(bucket.next(kStart), kStart + Duration::seconds(2));
  EXPECT_GT(bucket.available(kStart + Duration::seconds(1e6)), 0u);
}

}  // namespace
}  // namespace godwit::chunks
