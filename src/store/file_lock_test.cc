#include "store/file_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/temporary_folder.h"

namespace godwit::store {
namespace {

TEST(FileLock, IsHeldByOneUntilItGoes) {
  const TemporaryFolder folder;
  const std::string path = folder / "host";
  {
    auto first = FileLock::take(path);
    ASSERT_TRUE(first) << first.error().message();
    auto second = FileLock::take(path);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::busy);
    FileLock moved = std::move(*first);
    EXPECT_FALSE(FileLock::take(path));
  }
  EXPECT_TRUE(FileLock::take(path));
}

TEST(FileLock, NamesThePathItCannotTake) {
  auto lock = FileLock::take("/nowhere/at/all");
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().kind(), ErrorKind::not_found);
  EXPECT_NE(lock.error().message().find("/nowhere/at/all"), std::string::npos);
}

TEST(CheckNotOpenElsewhere, TellsAFileThatIsOpenFromOneThatIsNot) {
  const TemporaryFolder folder;
  const std::string path = folder / "disk";
  for (int mode : {O_RDONLY, O_WRONLY, O_RDWR}) {
    const int other = ::open(path.c_str(), mode | O_CREAT, 0600);
    ASSERT_GE(other, 0);
    auto open = check_not_open_elsewhere(path);
    ASSERT_FALSE(open);
    EXPECT_EQ(open.error().kind(), ErrorKind::busy) << open.error().message();
    ::close(other);
    auto closed = check_not_open_elsewhere(path);
    EXPECT_TRUE(closed) << closed.error().message();
  }
  auto none = check_not_open_elsewhere(folder / "none");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace godwit::store
