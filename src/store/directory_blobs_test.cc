#include "store/directory_blobs.h"

#include <sys/stat.h>

#include <fstream>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/blob_store_conformance.h"

namespace godwit::store {
namespace {

class DirectoryBlobsTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::unique_ptr<BlobStore> store_ = make_directory_blobs(folder_ / "store", true, *workers_, loop_).value();
  conformance::BlockingBlobs blobs_{*store_, [this] { loop_.run(); }};
};

TEST_F(DirectoryBlobsTest, AreABlobStore) {
  const auto open = [&] { return std::move(*make_directory_blobs(folder_ / "store", true, *workers_, loop_)); };
  conformance::check_blob_store({open, [&] { loop_.run(); }, nullptr});
}

TEST_F(DirectoryBlobsTest, AFolderThatIsNotThereIsMadeOnlyWhenAskedFor) {
  EXPECT_EQ(make_directory_blobs(folder_ / "none", false, *workers_, loop_).error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(make_directory_blobs(folder_ / "store", true, *workers_, loop_)) << "one that is there stays";
}

TEST_F(DirectoryBlobsTest, BlobsAreReadableByAllAndWritableByNobody) {
  const mode_t before = ::umask(022);
  ASSERT_TRUE(blobs_.put("ab12/one", "x"));
  ::umask(before);
  struct stat status{};
  ASSERT_EQ(::stat((folder_ / "store/ab12/one").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0444u);
  ASSERT_EQ(::stat((folder_ / "store/ab12").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0755u);
}

TEST_F(DirectoryBlobsTest, NothingTemporaryStaysAndLeftOversAreNotListed) {
  ASSERT_TRUE(blobs_.put("ab12/one", "x"));
  ASSERT_TRUE(blobs_.put("ab12/one", "y"));
  std::ofstream(folder_ / "store/ab12/two.0123.tmp") << "half";
  std::filesystem::create_directory(folder_ / "store/ab12/folder");
  std::filesystem::create_symlink("/dev/null", folder_ / "store/ab12/link");
  EXPECT_EQ(blobs_.list("ab12").value(), std::vector<std::string>{"ab12/one:1"});
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "store/ab12")) files += entry.is_regular_file() ? 1 : 0;
  EXPECT_EQ(files, 2u) << "the blob and the left-over";
}

TEST_F(DirectoryBlobsTest, ErrorsNameTheFile) {
  std::filesystem::create_directories(folder_ / "store/ab12/folder");
  const Result<Bytes> folder = blobs_.get("ab12/folder");
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().message().find("store/ab12/folder"), std::string::npos) << folder.error().message();
  std::ofstream(folder_ / "store/file") << "x";
  EXPECT_FALSE(blobs_.put("file/inside", "x"));
  EXPECT_EQ(blobs_.has({"file/inside"}).value(), std::vector<bool>{false});
}

}  // namespace
}  // namespace godwit::store
