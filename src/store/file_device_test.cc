#include "store/file_device.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"

namespace godwit::store {
namespace {

using conformance::Blocking;

class FileDeviceTest : public ::testing::Test {
 protected:
  std::string make_file(std::uint64_t size) {
    const std::string path = folder_ / "disk" + std::to_string(++files_);
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    EXPECT_EQ(::ftruncate(file, static_cast<off_t>(size)), 0);
    ::close(file);
    return path;
  }
  std::unique_ptr<BlockDevice> open(const std::string& path, bool read_only = false) {
    auto device = open_file_device(path, read_only, loop_, *workers_);
    EXPECT_TRUE(device) << device.error().message();
    return std::move(*device);
  }
  void pump() { loop_.run(); }

  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 3);
  int files_ = 0;
};

TEST_F(FileDeviceTest, IsABlockDevice) {
  conformance::check_block_device([&](std::uint64_t size) { return open(make_file(size)); }, [&] { pump(); });
}

TEST_F(FileDeviceTest, SeesHolesAndDataOfASparseFile) {
  constexpr std::uint64_t kSize = 10 * 1024 * 1024;
  auto device = open(make_file(kSize));
  Blocking blocking(*device, [&] { pump(); });
  Random random(1);
  ASSERT_TRUE(blocking.write(4 * 1024 * 1024, conformance::patterned(1024 * 1024, random)));
  const Extent hole_before{0, 4 * 1024 * 1024, true, true};
  const Extent data{4 * 1024 * 1024, 1024 * 1024, false, false};
  const Extent hole_after{5 * 1024 * 1024, 5 * 1024 * 1024, true, true};
  EXPECT_EQ(blocking.extents(0, kSize).value(), (std::vector{hole_before, data, hole_after}));
  EXPECT_EQ(blocking.extents(data.offset + 1, 10).value(), (std::vector<Extent>{{data.offset + 1, 10, false, false}}));
  ASSERT_TRUE(blocking.zero(data.offset, data.length, ZeroMode::may_punch));
  EXPECT_EQ(blocking.extents(0, kSize).value(), (std::vector<Extent>{{0, kSize, true, true}}));
}

TEST_F(FileDeviceTest, WhatIsPastTheEndOfAShortenedFileReadsAsZeros) {
  const std::string path = make_file(100'000);
  auto device = open(path);
  Blocking blocking(*device, [&] { pump(); });
  ASSERT_TRUE(blocking.write(0, Bytes(100'000, std::byte{1})));
  ASSERT_EQ(::truncate(path.c_str(), 50'001), 0);
  const Bytes all = blocking.read(0, 100'000).value();
  EXPECT_EQ(all[50'000], std::byte{1});
  EXPECT_TRUE(is_zero(ConstBytes(all).subspan(50'001)));
}

TEST_F(FileDeviceTest, WhatAnotherOpenedDeviceWroteIsThereForIt) {
  const std::string path = make_file(1'000'000);
  auto first = open(path);
  Blocking writer(*first, [&] { pump(); });
  ASSERT_TRUE(writer.write(123, as_bytes("hello"), Durability::durable));
  ASSERT_TRUE(writer.flush());
  auto second = open(path, true);
  Blocking reader(*second, [&] { pump(); });
  EXPECT_EQ(as_text(reader.read(123, 5).value()), "hello");
  EXPECT_TRUE(reader.flush()) << "nothing to flush is no error";
}

TEST_F(FileDeviceTest, AWriteOfAWholePageIsThereAtOnceAndItsEndComesInALaterTurn) {
  const std::string path = make_file(64 * 1024);
  auto device = open(path);
  const Bytes page(4096, std::byte{7});
  bool ended = false;
  device->write(8192, page, Durability::written, [&](Result<void> result) { ended = result.has_value(); });
  EXPECT_FALSE(ended);
  std::ifstream file(path, std::ios::binary);
  Bytes found(page.size());
  file.seekg(8192).read(reinterpret_cast<char*>(found.data()), static_cast<std::streamsize>(found.size()));
  EXPECT_EQ(found, page);
  pump();
  EXPECT_TRUE(ended);
}

TEST_F(FileDeviceTest, FlushesUnderWayTogetherAllEnd) {
  auto device = open(make_file(1'000'000));
  int flushed = 0;
  for (int i = 0; i < 20; ++i)
    device->flush([&](Result<void> result) {
      flushed += result.has_value();
      if (flushed == 3) device->flush([&](Result<void> again) { flushed += again.has_value(); });
    });
  pump();
  EXPECT_EQ(flushed, 21);
}

TEST_F(FileDeviceTest, DestroyingItWaitsForWhatRunsAndCallsNobody) {
  for (int round = 0; round < 20; ++round) {
    auto device = open(make_file(10'000'000));
    bool called = false;
    {
      Bytes buffer(5'000'000, std::byte{1}), room(10);
      for (int i = 0; i < 10; ++i) device->write(0, buffer, Durability::written, [&](Result<void>) { called = true; });
      device->read(0, room, [&](Result<void>) { called = true; });
      device.reset();
    }  // the buffers are gone: nobody may use them any more
    pump();
    EXPECT_FALSE(called);
  }
}

TEST_F(FileDeviceTest, ACallbackMayDestroyTheDevice) {
  auto device = open(make_file(1'000'000));
  Bytes room(100);
  int called = 0;
  for (int i = 0; i < 5; ++i)
    device->read(0, room, [&](Result<void>) {
      ++called;
      device.reset();
    });
  pump();
  EXPECT_EQ(called, 1);
}

TEST_F(FileDeviceTest, ErrorsOfOpeningNameThePath) {
  const struct {
    const char* name;
    std::string path;
    ErrorKind kind;
  } rows[] = {
      {"no file", folder_ / "none", ErrorKind::not_found},
      {"a folder", folder_.path(), ErrorKind::io},
      {"a character device", "/dev/null", ErrorKind::unsupported},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    auto device = open_file_device(row.path, false, loop_, *workers_);
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().kind(), row.kind) << device.error().message();
    EXPECT_NE(device.error().message().find(row.path), std::string::npos) << device.error().message();
  }
}

TEST_F(FileDeviceTest, NoRoomToGrowIsNoSpaceAndNamesFileAndOffset) {
  const std::string path = make_file(0);
  ASSERT_EQ(::truncate(path.c_str(), 1'000'000), 0);
  auto device = open(path);
  ASSERT_EQ(::truncate(path.c_str(), 0), 0);  // so that a write within the device must make the file grow
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{8192, before.rlim_max};
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  Blocking blocking(*device, [&] { pump(); });
  Result<void> refused = blocking.write(8192, as_bytes("too much"));
  Result<void> refused_durable = blocking.write(8192, as_bytes("too much"), Durability::durable);
  const Result<void> refused_inline = blocking.write(8192, Bytes(4096));  // a whole page
  Result<void> fits = blocking.write(4096, as_bytes("fits"));
  Result<void> flushed = blocking.flush();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, old_handler);
  for (const auto& result : {refused, refused_durable, refused_inline}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::no_space);
    EXPECT_EQ(result.error().message(), "write " + path + " at offset 8192: File too large");
  }
  EXPECT_TRUE(fits);
  EXPECT_TRUE(flushed) << "a write that was refused is no lost write";
}

}  // namespace
}  // namespace godwit::store
