#include "store/real_directory.h"

#include <sys/stat.h>

#include <fstream>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/directory_conformance.h"

namespace godwit::store {
namespace {

using conformance::BlockingDirectory;
using conformance::kind_of;

class RealDirectoryTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::unique_ptr<Directory> directory_ = make_directory(folder_.path(), *workers_, loop_).value();
  BlockingDirectory blocking_{*directory_, [this] { loop_.run(); }};
};

TEST_F(RealDirectoryTest, IsADirectory) {
  conformance::check_directory(*directory_, [&] { loop_.run(); });
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "something stayed behind";
}

TEST_F(RealDirectoryTest, NamesThatLeaveTheFolderAreRefused) {
  for (const char* name : {"", ".", "..", "a/b", "/etc/passwd", "x.tmp"}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(kind_of(blocking_.read_file(name)), ErrorKind::invalid);
    EXPECT_EQ(kind_of(blocking_.replace_file(name, "x")), ErrorKind::invalid);
    EXPECT_EQ(kind_of(blocking_.rename("a", name)), ErrorKind::invalid);
    EXPECT_EQ(kind_of(blocking_.create_device(name, 1)), ErrorKind::invalid);
  }
}

TEST_F(RealDirectoryTest, FilesAreForTheirOwnerOnly) {
  ASSERT_TRUE(blocking_.replace_file("record", "x"));
  ASSERT_TRUE(blocking_.create_device("disk", 10).has_value());
  for (const char* name : {"record", "disk"}) {
    struct stat status{};
    ASSERT_EQ(::stat((folder_ / name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u) << name;
  }
}

TEST_F(RealDirectoryTest, LeftOversOfACrashAreNotListedAndHarmNothing) {
  std::ofstream(folder_ / "record.0.tmp") << "half of something much longer than what comes";
  std::filesystem::create_directory(folder_ / "sub");
  EXPECT_TRUE(blocking_.list().value().empty());
  ASSERT_TRUE(blocking_.replace_file("record", "whole"));
  EXPECT_EQ(conformance::text_of(blocking_.read_file("record")), "whole");
}

TEST_F(RealDirectoryTest, AFileTooLargeForMemoryIsRefusedByTheLimit) {
  ASSERT_TRUE(blocking_.create_device("large", 64 * 1024 * 1024 + 1));
  EXPECT_EQ(kind_of(blocking_.read_file("large")), ErrorKind::limit);
}

TEST_F(RealDirectoryTest, ReplacementsUnderWayTogetherLeaveOneOfThemWhole) {
  int done = 0;
  const std::string long_text(100'000, 'a');
  for (int i = 0; i < 20; ++i) {
    std::string text = long_text;
    text[0] = static_cast<char>('a' + i);
    directory_->replace_file("record", to_bytes(as_bytes(text)), [&](Result<void> result) { done += result.has_value(); });
  }
  loop_.run();
  EXPECT_EQ(done, 20);
  const Bytes content = blocking_.read_file("record").value();
  EXPECT_EQ(as_text(content).substr(1), long_text.substr(1));
}

TEST_F(RealDirectoryTest, AFolderThatIsNotThereIsNotFound) {
  auto none = make_directory(folder_ / "none", *workers_, loop_);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::not_found);
}

}  // namespace
}  // namespace godwit::store
