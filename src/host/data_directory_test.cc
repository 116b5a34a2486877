#include "host/data_directory.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"

namespace godwit::host {
namespace {

TEST(DataDirectory, EachStartIsCountedAndTheIdentityStays) {
  TemporaryFolder folder;
  std::optional<HostFile> before;
  for (std::uint64_t boot = 1; boot <= 5; ++boot) {
    const Result<DataDirectory> data = DataDirectory::open(folder / "state/host");
    ASSERT_TRUE(data) << data.error().message();
    EXPECT_EQ(data->host().boot, volume::Boot{boot});
    if (before) {
      EXPECT_EQ(data->host().id, before->id);
    }
    EXPECT_FALSE(data->host().id.is_none());
    before = data->host();
  }
}

TEST(DataDirectory, TwoDirectoriesAreTwoHosts) {
  TemporaryFolder folder;
  EXPECT_NE(DataDirectory::open(folder / "a")->host().id, DataDirectory::open(folder / "b")->host().id);
}

TEST(DataDirectory, IsForItsUserAlone) {
  TemporaryFolder folder;
  ASSERT_TRUE(DataDirectory::open(folder / "a"));
  struct stat status{};
  ASSERT_EQ(::stat((folder / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
  ASSERT_EQ(::stat((folder / "a/host").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST(DataDirectory, AFolderOpenToOthersIsClosedWhenEmptyAndRefusedElse) {
  TemporaryFolder folder;
  for (const std::string_view name : {"empty", "used"}) {
    std::filesystem::create_directory(folder / name);
    std::filesystem::permissions(folder / name, std::filesystem::perms(0755));
  }
  std::ofstream(folder / "used/something") << "x";
  EXPECT_TRUE(DataDirectory::open(folder / "empty"));
  const Result<DataDirectory> used = DataDirectory::open(folder / "used");
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().kind(), ErrorKind::refused);
  EXPECT_NE(used.error().message().find("chmod 700"), std::string::npos);
}

TEST(DataDirectory, ASecondProcessIsRefusedUntilTheFirstEnds) {
  TemporaryFolder folder;
  std::optional<DataDirectory> first = DataDirectory::open(folder / "a").value();
  const Result<DataDirectory> second = DataDirectory::open(folder / "a");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::busy);
  EXPECT_NE(second.error().message().find("--data"), std::string::npos);
  first.reset();
  EXPECT_EQ(DataDirectory::open(folder / "a")->host().boot, volume::Boot{2});
}

TEST(DataDirectory, ADamagedIdentityIsRefusedByName) {
  TemporaryFolder folder;
  ASSERT_TRUE(DataDirectory::open(folder / "a"));
  std::ofstream(folder / "a/host", std::ios::binary) << "something else";
  const Result<DataDirectory> again = DataDirectory::open(folder / "a");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::corrupt);
  EXPECT_NE(again.error().message().find("a/host"), std::string::npos);
}

TEST(DataDirectory, APathThatIsNoFolderIsRefused) {
  TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  EXPECT_FALSE(DataDirectory::open(folder / "file"));
  EXPECT_FALSE(DataDirectory::open(folder / "file/below"));
}

}  // namespace
}  // namespace godwit::host
