#include "net/buffer_pool.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/random.h"

namespace godwit::net {
namespace {

TEST(BufferPool, ABufferThatCameBackIsUsedAgain) {
  BufferPool pool(1 << 20);
  const std::byte* first;
  {
    Lease lease = pool.lease(100'000);
    ASSERT_TRUE(lease);
    EXPECT_EQ(lease.bytes().size(), 100'000u);
    first = lease.bytes().data();
  }
  EXPECT_EQ(pool.leased_bytes(), 0u);
  EXPECT_EQ(pool.lease(99'000).bytes().data(), first) << "a size near it is of the same class";
}

TEST(BufferPool, CopiesShareTheBufferUntilTheLastIsGone) {
  BufferPool pool(1 << 20);
  Lease whole = pool.lease(5000);
  Lease part = whole.first(10);
  EXPECT_EQ(part.bytes().data(), whole.bytes().data());
  EXPECT_EQ(part.size(), 10u);
  whole = Lease();
  EXPECT_FALSE(whole);
  EXPECT_GE(pool.leased_bytes(), 5000u);
  part = Lease();
  EXPECT_EQ(pool.leased_bytes(), 0u);
}

TEST(BufferPool, OverItsBudgetItGivesButSaysThatThereIsNoRoom) {
  BufferPool pool(64 * 1024);
  EXPECT_TRUE(pool.has_room(64 * 1024));
  EXPECT_FALSE(pool.has_room(64 * 1024 + 1));
  Lease first = pool.lease(64 * 1024);
  EXPECT_FALSE(pool.has_room(1));
  Lease second = pool.lease(64 * 1024);
  ASSERT_TRUE(second);
  EXPECT_EQ(pool.leased_bytes(), 128u * 1024);
  EXPECT_EQ(pool.budget_bytes(), 64u * 1024);
  second = Lease();
  EXPECT_FALSE(pool.has_room(1));
  first = Lease();
  EXPECT_TRUE(pool.has_room(64 * 1024));
}

TEST(BufferPool, NoMoreThanAQuarterOfABufferIsWaste) {
  BufferPool pool(1 << 30);
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    const std::size_t size = 16 * 1024 + random.below(4'000'000);
    const Lease lease = pool.lease(size);
    EXPECT_GE(pool.leased_bytes(), size);
    EXPECT_LE(pool.leased_bytes(), size + size / 4 + 4096) << size;
  }
}

TEST(BufferPool, BuffersKeptForOneSizeMakeRoomForAnother) {
  BufferPool pool(1 << 20);
  {
    Lease kept = pool.lease(1 << 20);
  }
  Lease many[200];
  for (Lease& lease : many) lease = pool.lease(4096);
  EXPECT_EQ(pool.leased_bytes(), 200u * 4096);
  EXPECT_TRUE(pool.has_room(4096));
}

TEST(BufferPool, LeasesMayOutliveThePoolAndEndOnOtherThreads) {
  Lease late;
  std::vector<std::thread> threads;
  {
    BufferPool pool(1 << 20);
    late = pool.lease(10);
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([lease = late, t]() mutable {
        lease.bytes()[static_cast<std::size_t>(t)] = std::byte{1};
        lease = Lease();
      });
    for (int i = 0; i < 1000; ++i) pool.lease(10);
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(late.bytes()[3], std::byte{1});
}

}  // namespace
}  // namespace godwit::net
