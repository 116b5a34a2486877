#include "store/disk_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"
#include "store/file_device.h"

namespace godwit::store {
namespace {

// A file of the memory file system, which punches holes but knows no zeroing that keeps space.
std::unique_ptr<DiskFile> memory_file(std::uint64_t size) {
  const int descriptor = ::memfd_create("godwit_test", MFD_CLOEXEC);
  EXPECT_EQ(::ftruncate(descriptor, static_cast<off_t>(size)), 0);
  return DiskFile::adopt(descriptor, "memory file", false).value();
}

TEST(DiskFile, ZeroingThatTheFileSystemDoesNotKnowIsWritten) {
  auto file = memory_file(300'000);
  ASSERT_TRUE(file->write(0, Bytes(300'000, std::byte{7}), Durability::written));
  ASSERT_TRUE(file->zero(10, 200'000, ZeroMode::keep_allocated, Durability::durable));
  Bytes all(300'000);
  ASSERT_TRUE(file->read(0, all));
  EXPECT_TRUE(is_zero(ConstBytes(all).subspan(10, 200'000)));
  EXPECT_EQ(all[9], std::byte{7});
  EXPECT_EQ(all[200'010], std::byte{7});
  EXPECT_EQ(file->extents(0, 200'000).value(), (std::vector<Extent>{{0, 200'000, false, false}})) << "the space is kept";
}

TEST(DiskFile, IsABlockDeviceOnTheMemoryFileSystemToo) {
  net::EventLoop loop;
  auto workers = net::make_workers(loop, 2);
  conformance::check_block_device([&](std::uint64_t size) { return make_file_device(memory_file(size), loop, *workers); },
                                  [&] { loop.run(); });
}

TEST(DiskFile, AfterAFailedSyncNoLaterOneSucceeds) {
  const TemporaryFolder folder;
  const std::string path = folder / "disk";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::ftruncate(descriptor, 10'000), 0);
  auto file = DiskFile::adopt(descriptor, path, false).value();
  ASSERT_TRUE(file->sync());

  // The sync fails because the descriptor is gone; then it is there again, and a sync by itself would succeed.
  const int kept = ::dup(descriptor);
  ::close(descriptor);
  Result<void> first = file->sync();
  ASSERT_EQ(::dup2(kept, descriptor), descriptor);
  ::close(kept);
  ASSERT_EQ(::fdatasync(descriptor), 0);

  ASSERT_FALSE(first);
  EXPECT_NE(first.error().message().find("sync " + path), std::string::npos) << first.error().message();
  const Bytes bytes(10);
  EXPECT_TRUE(file->write(0, bytes, Durability::written));
  for (const auto& [name, later] :
       {std::pair{"sync", file->sync()}, std::pair{"durable write", file->write(0, bytes, Durability::durable)},
        std::pair{"durable zero", file->zero(0, 10, ZeroMode::may_punch, Durability::durable)}}) {
    SCOPED_TRACE(name);
    ASSERT_FALSE(later);
    EXPECT_EQ(later.error().kind(), first.error().kind());
    EXPECT_NE(later.error().message().find("an earlier write was lost"), std::string::npos) << later.error().message();
  }
}

TEST(DiskFile, TellsCachedBytesFromThoseItWouldHaveToWaitFor) {
  const TemporaryFolder folder;
  const int descriptor = ::open((folder / "disk").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::ftruncate(descriptor, 100'000), 0);
  auto file = DiskFile::adopt(descriptor, "disk", false).value();
  ASSERT_TRUE(file->write(0, Bytes(50'000, std::byte{5}), Durability::written));
  Bytes into(50'000);
  if (file->read_cached(0, into)) {  // not every file system can tell; then it is simply never cached
    EXPECT_EQ(into.front(), std::byte{5});
    EXPECT_EQ(into.back(), std::byte{5});
  }
  Bytes past(10);
  EXPECT_FALSE(file->read_cached(99'995, past)) << "short: the caller must fill the rest";
}

}  // namespace
}  // namespace godwit::store
