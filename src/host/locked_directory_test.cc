#include "host/locked_directory.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "net/worker_pool.h"
#include "store/real_directory.h"

namespace godwit::host {
namespace {

TEST(LockedDirectory, WhatIsUnderWayWhenItGoesHappensAndTellsNobody) {
  const TemporaryFolder folder;
  const std::string path = folder.path();
  std::ofstream(folder / "disk.own") << "record";
  net::EventLoop loop;
  const std::unique_ptr<net::Workers> workers = net::make_workers(loop, 1);
  auto directory = store::make_directory(path, *workers, loop);
  ASSERT_TRUE(directory) << directory.error().message();
  auto locked = std::make_unique<LockedDirectory>(path, std::move(*directory));
  ASSERT_TRUE(locked->lock("disk.own"));
  int told = 0;
  locked->remove("disk.own", [&](Result<void>) { ++told; });
  locked->replace_file("other.own", Bytes(10), [&](Result<void>) { ++told; });
  locked->list([&](Result<std::vector<std::string>>) { ++told; });
  locked.reset();
  workers->run([] {}, [&] { loop.stop(); });  // the one worker has done all the others before
  loop.run();
  EXPECT_EQ(told, 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "disk.own"));
  EXPECT_TRUE(std::filesystem::exists(folder / "other.own"));
}

}  // namespace
}  // namespace godwit::host
