#include "store/memory_device.h"

#include "net/event_loop.h"
#include "store/block_device_conformance.h"

namespace godwit::store {
namespace {

using conformance::Blocking;

TEST(MemoryDevice, IsABlockDevice) {
  net::EventLoop loop;
  conformance::check_block_device([&](std::uint64_t size) { return make_memory_device(size, loop).value(); },
                                  [&] { loop.run(); });
}

TEST(MemoryDevice, WhatIsWrittenThroughItsMemoryIsNoHole) {
  net::EventLoop loop;
  constexpr std::uint64_t kSize = 64 * 1024 * 1024 + 5;
  auto device = make_memory_device(kSize, loop).value();
  Blocking blocking(*device, [&] { loop.run(); });
  EXPECT_EQ(blocking.extents(0, kSize).value(), (std::vector<Extent>{{0, kSize, true, true}}));
  device->memory()[1'000'000] = std::byte{7};
  device->memory()[kSize - 1] = std::byte{8};
  const std::uint64_t last = kSize / 65536 * 65536;
  EXPECT_EQ(blocking.extents(0, kSize).value(), (std::vector<Extent>{{0, 983'040, true, true},
                                                                     {983'040, 65536, false, false},
                                                                     {1'048'576, last - 1'048'576, true, true},
                                                                     {last, 5, false, false}}));
  EXPECT_EQ(blocking.read(1'000'000, 1).value()[0], std::byte{7});
  ASSERT_TRUE(blocking.discard(0, kSize));
  EXPECT_EQ(blocking.extents(0, kSize).value(), (std::vector<Extent>{{0, kSize, true, true}}));
  EXPECT_EQ(device->memory()[kSize - 1], std::byte{0});
}

TEST(MemoryDevice, PagesTouchedAheadKeepTheirContentAndAreNoDataYet) {
  net::EventLoop loop;
  constexpr std::uint64_t kSize = 1024 * 1024 + 5;
  auto device = make_memory_device(kSize, loop).value();
  Blocking blocking(*device, [&] { loop.run(); });
  device->memory()[65536 + 7] = std::byte{7};
  touch_ahead(device->memory().subspan(65536 + 3));
  touch_ahead({});
  EXPECT_EQ(device->memory()[65536 + 7], std::byte{7});
  EXPECT_EQ(blocking.extents(0, kSize).value(),
            (std::vector<Extent>{{0, 65536, true, true}, {65536, 65536, false, false}, {131072, kSize - 131072, true, true}}));
}

TEST(MemoryDevice, ASizeBeyondTheAddressSpaceIsNoSpace) {
  net::EventLoop loop;
  auto device = make_memory_device(std::uint64_t{1} << 62, loop);
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().kind(), ErrorKind::no_space);
}

TEST(MemoryDevice, MayBeEmpty) {
  net::EventLoop loop;
  auto device = make_memory_device(0, loop).value();
  Blocking blocking(*device, [&] { loop.run(); });
  EXPECT_TRUE(blocking.read(0, 0));
  EXPECT_FALSE(blocking.read(0, 1));
}

}  // namespace
}  // namespace godwit::store
