#include "export/nbd_devices.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/temporary_folder.h"

namespace godwit::exports {
namespace {

// A folder like /sys with what its rows name.
class NbdDevicesTest : public testing::Test {
 protected:
  void add(const std::string& name, const std::string& file = {}, const std::string& content = {}) {
    const std::filesystem::path folder = std::filesystem::path(sysfs) / "block" / name;
    std::filesystem::create_directories(folder);
    if (!file.empty()) std::ofstream(folder / file) << content;
  }

  TemporaryFolder folder;
  const std::string sysfs = folder.path();
};

TEST_F(NbdDevicesTest, ADevicesNameIsNbdAndANumber) {
  const std::pair<const char*, std::optional<unsigned>> rows[] = {{"nbd0", 0U},
                                                                  {"nbd7", 7U},
                                                                  {"nbd4294967295", 4294967295U},
                                                                  {"nbd4294967296", std::nullopt},
                                                                  {"nbd", std::nullopt},
                                                                  {"nbd00", std::nullopt},
                                                                  {"nbd01", std::nullopt},
                                                                  {"nbd1p1", std::nullopt},
                                                                  {"nbd-1", std::nullopt},
                                                                  {"nbd+1", std::nullopt},
                                                                  {"nbd 1", std::nullopt},
                                                                  {"sda", std::nullopt},
                                                                  {"", std::nullopt},
                                                                  {"xnbd1", std::nullopt}};
  for (const auto& [name, number] : rows) EXPECT_EQ(nbd_number_of(name), number) << name;
  EXPECT_EQ(nbd_node_of(12), "/dev/nbd12");
}

TEST_F(NbdDevicesTest, DevicesComeByNumberWithTheirUsers) {
  add("nbd10", "pid", "4711\n");
  add("nbd2", "size", "0\n");
  add("nbd0", "pid", "");
  add("sda", "pid", "1\n");
  const Result<std::vector<NbdDevice>> found = nbd_devices(sysfs);
  ASSERT_TRUE(found);
  EXPECT_EQ(*found, (std::vector<NbdDevice>{{0, 0}, {2, std::nullopt}, {10, 4711}}));
}

TEST_F(NbdDevicesTest, AKernelWithoutThemIsToldHowToGetThem) {
  add("sda");
  const Result<std::vector<NbdDevice>> found = nbd_devices(sysfs);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().kind(), ErrorKind::not_found);
  EXPECT_NE(found.error().message().find("modprobe nbd"), std::string::npos) << found.error().message();
}

TEST_F(NbdDevicesTest, WithoutSysfsItIsSaidWhereWasLooked) {
  const Result<std::vector<NbdDevice>> found = nbd_devices(sysfs + "/none");
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message().find("/none/block: No such file"), std::string::npos) << found.error().message();
}

TEST_F(NbdDevicesTest, FreeAreThoseWithoutAUser) {
  const Result<std::vector<unsigned>> some = free_nbd_devices({{0, 12}, {1, std::nullopt}, {2, 0}, {3, std::nullopt}});
  ASSERT_TRUE(some);
  EXPECT_EQ(*some, (std::vector<unsigned>{1, 3}));
  const Result<std::vector<unsigned>> none = free_nbd_devices({{0, 12}, {1, 0}});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::busy);
  EXPECT_NE(none.error().message().find("2 of them"), std::string::npos) << none.error().message();
}

TEST_F(NbdDevicesTest, ANodeIsKnownByItsDeviceNumber) {
  const std::filesystem::path links = std::filesystem::path(sysfs) / "dev" / "block";
  std::filesystem::create_directories(links);
  std::filesystem::create_symlink("../../devices/virtual/block/nbd3", links / "43:96");
  std::filesystem::create_symlink("../../devices/virtual/block/nbd3/nbd3p1", links / "43:97");
  std::filesystem::create_symlink("../../devices/virtual/block/loop0", links / "7:0");
  EXPECT_EQ(nbd_number_of_device(sysfs, 43, 96).value(), 3U);
  const std::pair<unsigned, unsigned> others[] = {{43, 97}, {7, 0}, {8, 1}};
  const char* words[] = {"it is nbd3p1", "it is loop0", "no NBD device"};
  for (int i = 0; i < 3; ++i) {
    const Result<unsigned> number = nbd_number_of_device(sysfs, others[i].first, others[i].second);
    ASSERT_FALSE(number);
    EXPECT_EQ(number.error().kind(), ErrorKind::invalid);
    EXPECT_NE(number.error().message().find(words[i]), std::string::npos) << number.error().message();
  }
}

TEST_F(NbdDevicesTest, ADeviceIsReadyWithItsUserAndItsSize) {
  EXPECT_FALSE(is_nbd_device_ready(sysfs, 1, 8));
  add("nbd1", "size", "8\n");
  EXPECT_FALSE(is_nbd_device_ready(sysfs, 1, 8));
  add("nbd1", "pid", "12\n");
  EXPECT_TRUE(is_nbd_device_ready(sysfs, 1, 8));
  EXPECT_FALSE(is_nbd_device_ready(sysfs, 1, 9));
  EXPECT_FALSE(is_nbd_device_ready(sysfs, 2, 8));
}

}  // namespace
}  // namespace godwit::exports
