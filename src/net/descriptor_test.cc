#include "net/descriptor.h"

#include <fcntl.h>

#include <cerrno>
#include <type_traits>

#include <gtest/gtest.h>

namespace godwit::net {
namespace {

int open_something() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}
bool is_open(int number) {
  return ::fcntl(number, F_GETFD) >= 0;
}

static_assert(!std::is_copy_constructible_v<Descriptor> && !std::is_copy_assignable_v<Descriptor>);

TEST(Descriptor, IsClosedByItsOwnersEnd) {
  int number = -1;
  {
    const Descriptor owner(open_something());
    number = owner.get();
    ASSERT_TRUE(owner.is_open());
    EXPECT_TRUE(is_open(number));
  }
  EXPECT_FALSE(is_open(number));
}

TEST(Descriptor, OfAFailedCallIsNotOpen) {
  EXPECT_FALSE(Descriptor().is_open());
  EXPECT_FALSE(Descriptor(-1).is_open());
}

TEST(Descriptor, MovesToOneOwnerAndClosesWhatThatOneHad) {
  Descriptor first(open_something()), second(open_something());
  const int kept = first.get(), closed = second.get();
  second = std::move(first);
  EXPECT_EQ(second.get(), kept);
  EXPECT_FALSE(first.is_open());  // NOLINT(bugprone-use-after-move): this is what is promised
  EXPECT_FALSE(is_open(closed));
  const Descriptor third(std::move(second));
  EXPECT_EQ(third.get(), kept);
  EXPECT_TRUE(is_open(kept));
}

TEST(Descriptor, SurvivesAMoveToItself) {
  Descriptor owner(open_something());
  Descriptor& same = owner;
  owner = std::move(same);
  EXPECT_TRUE(is_open(owner.get()));
}

TEST(Descriptor, IsGivenAwayOpen) {
  Descriptor owner(open_something());
  const int number = owner.release();
  EXPECT_FALSE(owner.is_open());
  EXPECT_TRUE(is_open(number));
  owner.reset(number);
  owner.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(Descriptor, ClosesWithoutTouchingErrno) {
  Descriptor closed_already(open_something());
  ASSERT_EQ(::close(closed_already.get()), 0);
  errno = ENOSPC;
  closed_already.reset();
  EXPECT_EQ(errno, ENOSPC);
}

}  // namespace
}  // namespace godwit::net
