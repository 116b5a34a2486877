#include "chunks/driver/blob_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"

namespace godwit::chunks {
namespace {

class FileOutputTest : public ::testing::Test {
 protected:
  std::string text_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Names in the folder.
  std::size_t count() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }
  // Whether this file system has files without names.
  bool has_nameless() const {
    const int descriptor = ::open(folder_.path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor >= 0) ::close(descriptor);
    return descriptor >= 0;
  }

  TemporaryFolder folder_;
  const std::string path_ = folder_ / "out";
};

TEST_F(FileOutputTest, ANewFileIsThereWhenItIsWholeAndNothingBesideIt) {
  Result<std::unique_ptr<BlobOutput>> output = make_file_output(path_, 5, {});
  ASSERT_TRUE(output);
  ASSERT_TRUE((*output)->write(0, as_bytes("hello")));
  EXPECT_FALSE(std::filesystem::exists(path_));
  // Where it has no name yet, a process that is killed leaves nothing.
  EXPECT_EQ(count(), has_nameless() ? 0U : 1U);
  ASSERT_TRUE((*output)->finish());
  output->reset();
  EXPECT_EQ(text_of(path_), "hello");
  EXPECT_EQ(count(), 1U);
}

TEST_F(FileOutputTest, AnOldFileStaysUntilTheNewOneIsWholeAndItsModeWithIt) {
  std::ofstream(path_) << "old";
  std::filesystem::permissions(path_, std::filesystem::perms{0640});
  {
    Result<std::unique_ptr<BlobOutput>> given_up = make_file_output(path_, 5, {});
    ASSERT_TRUE(given_up);
    ASSERT_TRUE((*given_up)->write(0, as_bytes("hello")));
  }
  EXPECT_EQ(text_of(path_), "old");
  EXPECT_EQ(count(), 1U);
  Result<std::unique_ptr<BlobOutput>> output = make_file_output(path_, 5, {});
  ASSERT_TRUE(output);
  ASSERT_TRUE((*output)->write(0, as_bytes("hello")));
  ASSERT_TRUE((*output)->finish());
  EXPECT_EQ(text_of(path_), "hello");
  EXPECT_EQ(std::filesystem::status(path_).permissions(), std::filesystem::perms{0640});
  EXPECT_EQ(count(), 1U);
}

}  // namespace
}  // namespace godwit::chunks
