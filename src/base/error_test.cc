#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace godwit {
namespace {

TEST(Error, GainsContextOnItsWayUpAndKeepsItsKind) {
  const Error error = Error(ErrorKind::corrupt, "bad magic").within("slot 1").within("volume disk");
  EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  EXPECT_EQ(error.message(), "volume disk: slot 1: bad magic");
}

TEST(Error, ContextOnACopyLeavesTheOriginal) {
  const Error error(ErrorKind::io, "x");
  EXPECT_EQ(error.within("y").message(), "y: x");
  EXPECT_EQ(error.message(), "x");
}

TEST(Error, OfTheSystemSaysWhatWasTriedAndHasAKindToActOn) {
  const std::pair<int, ErrorKind> rows[] = {
      {ENOENT, ErrorKind::not_found},
      {EEXIST, ErrorKind::exists},
      {ENOSPC, ErrorKind::no_space},
      {EDQUOT, ErrorKind::no_space},
      {EROFS, ErrorKind::read_only},
      {EACCES, ErrorKind::refused},
      {EPERM, ErrorKind::refused},
      {EBUSY, ErrorKind::busy},
      {EAGAIN, ErrorKind::busy},
      {EINVAL, ErrorKind::invalid},
      {EOPNOTSUPP, ErrorKind::unsupported},
      {EPIPE, ErrorKind::connection_lost},
      {ECONNRESET, ErrorKind::connection_lost},
      {ECONNREFUSED, ErrorKind::connection_lost},
      {ETIMEDOUT, ErrorKind::timed_out},
      {ESHUTDOWN, ErrorKind::shut_down},
      {ECANCELED, ErrorKind::cancelled},
      {EIO, ErrorKind::io},
  };
  for (const auto& [number, kind] : rows) EXPECT_EQ(Error::from_errno(number, "open").kind(), kind) << number;
  EXPECT_EQ(Error::from_errno(ENOENT, "open a.img").message(), "open a.img: No such file or directory");
}

TEST(Error, EveryKindHasAName) {
  for (int kind = 0; kind <= static_cast<int>(ErrorKind::usage); ++kind) {
    const std::string_view name = name_of(static_cast<ErrorKind>(kind));
    EXPECT_FALSE(name.empty());
    EXPECT_NE(name, "unknown") << kind;
  }
}

TEST(Result, CarriesAValueOrAnError) {
  const Result<int> good = 3;
  const Result<int> bad = fail(ErrorKind::limit, "too many");
  EXPECT_EQ(good.value_or(0), 3);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "too many");
  EXPECT_EQ(Result<int>(fail(bad.error())).error().kind(), ErrorKind::limit);
}

}  // namespace
}  // namespace godwit
