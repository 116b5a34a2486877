#include "export/nbd_name.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/temporary_folder.h"

namespace godwit::exports {
namespace {

TEST(NbdName, ANameIsOneStepBelowDev) {
  const std::pair<std::string, std::optional<std::string>> rows[] = {
      {"/dev/disk", "disk"},
      {"/dev/my-disk.1", "my-disk.1"},
      {"/dev/nbd0p1", "nbd0p1"},
      {"/dev/" + std::string(255, 'x'), std::string(255, 'x')},
      {"/dev/" + std::string(256, 'x'), std::nullopt},
      {"/dev/nbd0", std::nullopt},
      {"/dev/nbd77", std::nullopt},
      {"/dev/", std::nullopt},
      {"/dev/.", std::nullopt},
      {"/dev/..", std::nullopt},
      {"/dev/a/b", std::nullopt},
      {"/dev/a b", std::nullopt},
      {"/dev/a\nCASYNC_NAME=b", std::nullopt},
      {"/dev/a\"b", std::nullopt},
      {"/run/disk", std::nullopt},
      {"disk", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& [node, name] : rows) EXPECT_EQ(nbd_name_in(node), name) << node;
}

TEST(NbdName, StandsForAsLongAsItsOwnerLives) {
  const TemporaryFolder parent;
  const std::string folder = parent / "casync";
  EXPECT_EQ(nbd_name_of(folder, 3), std::nullopt);
  {
    const Result<NbdName> name = NbdName::set(folder, 3, "disk");
    ASSERT_TRUE(name);
    std::ifstream file(folder + "/nbd3");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "disk\n");
    EXPECT_EQ(nbd_name_of(folder, 3), "disk");
    EXPECT_EQ(nbd_name_of(folder, 0), std::nullopt);
    const Result<NbdName> again = NbdName::set(folder, 3, "other");
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind(), ErrorKind::busy);
    EXPECT_EQ(nbd_name_of(folder, 3), "disk") << "who failed has taken nothing away";
    const Result<NbdName> beside = NbdName::set(folder, 4, "beside");
    ASSERT_TRUE(beside);
  }
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST(NbdName, WhatAKilledProcessLeftCountsForNothingAndIsReplaced) {
  const TemporaryFolder folder;
  std::ofstream(folder / "nbd0") << "a name of before, and long\n";
  EXPECT_EQ(nbd_name_of(folder.path(), 0), std::nullopt);
  std::ofstream(folder / "nbd0") << "before\n";
  EXPECT_EQ(nbd_name_of(folder.path(), 0), std::nullopt);
  const Result<NbdName> name = NbdName::set(folder.path(), 0, "now");
  ASSERT_TRUE(name);
  EXPECT_EQ(nbd_name_of(folder.path(), 0), "now");
}

TEST(NbdName, AFolderThatCanNotBeMadeIsTold) {
  const TemporaryFolder folder;
  const Result<NbdName> name = NbdName::set(folder / "not/there", 0, "disk");
  ASSERT_FALSE(name);
  EXPECT_NE(name.error().message().find("not/there: No such file"), std::string::npos) << name.error().message();
}

}  // namespace
}  // namespace godwit::exports
