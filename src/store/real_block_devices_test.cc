// What can be shown without a block device; with loop devices tests/end_to_end/device_test.sh shows the rest.
#include "store/real_block_devices.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"

namespace godwit::store {
namespace {

TEST(RealBlockDevices, WhatIsNoBlockDeviceIsNeitherOpenedNorIdentified) {
  TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  net::EventLoop loop;
  const std::unique_ptr<net::Workers> workers = net::make_workers(loop, 1);
  const std::unique_ptr<BlockDevices> devices = make_block_devices(loop, *workers);
  const struct {
    std::string path;
    ErrorKind kind;
  } rows[] = {
      {folder / "none", ErrorKind::not_found},
      {folder / "file", ErrorKind::invalid},
      {folder / "", ErrorKind::invalid},
      {"/dev/null", ErrorKind::invalid},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(devices->identify(row.path), std::nullopt) << row.path;
    Result<std::unique_ptr<BlockDevice>> opened = fail(ErrorKind::cancelled, "not called");
    devices->open(row.path, 0, [&](Result<std::unique_ptr<BlockDevice>> device) {
      opened = std::move(device);
      loop.stop();
    });
    loop.run();
    ASSERT_FALSE(opened) << row.path;
    EXPECT_EQ(opened.error().kind(), row.kind) << opened.error().message();
    EXPECT_NE(opened.error().message().find(row.path), std::string::npos) << opened.error().message();
  }
}

}  // namespace
}  // namespace godwit::store
