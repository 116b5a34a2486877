#include "sim/block_devices.h"

#include <gtest/gtest.h>

#include "store/block_device_conformance.h"

namespace godwit::sim {
namespace {

class SimBlockDevicesTest : public testing::Test {
 protected:
  void add(const std::string& name, std::uint64_t size) {
    ASSERT_TRUE(wait_for<std::unique_ptr<store::BlockDevice>>(world, [&](net::Done<std::unique_ptr<store::BlockDevice>> done) {
      machine.directory("dev").create_device(name, size, std::move(done));
    }));
  }
  Result<std::unique_ptr<store::BlockDevice>> open(const std::string& path, std::uint64_t size = 0) {
    return wait_for<std::unique_ptr<store::BlockDevice>>(
        world, [&](net::Done<std::unique_ptr<store::BlockDevice>> done) { devices.open(path, size, std::move(done)); });
  }

  World world{1, {}};
  Fabric fabric{world};
  Host machine{fabric, "a"};
  SimBlockDevices devices{machine};
};

TEST_F(SimBlockDevicesTest, OpensItsFirstBytesForOneHolderAtATime) {
  add("sda", 10000);
  Result<std::unique_ptr<store::BlockDevice>> device = open("/dev/sda", 5000);
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ((*device)->size(), 5000u);
  EXPECT_EQ(open("/dev/sda").error().kind(), ErrorKind::busy);
  device->reset();
  EXPECT_EQ(open("/dev/sda", 10001).error().kind(), ErrorKind::no_space);
  EXPECT_EQ((*open("/dev/sda"))->size(), 10000u) << "what was refused does not hold it";
  EXPECT_EQ(open("/dev/sdb").error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(devices.identify("/dev/sda"));
  EXPECT_FALSE(devices.identify("/dev/sdb"));
}

TEST_F(SimBlockDevicesTest, AnOpenedOneIsABlockDevice) {
  int made = 0;
  store::conformance::check_block_device(
      [&](std::uint64_t size) {
        const std::string name = "sd" + std::to_string(++made);
        add(name, size + 4096);
        return std::move(*open("/dev/" + name, size));
      },
      [&] { world.step(); });
}

}  // namespace
}  // namespace godwit::sim
