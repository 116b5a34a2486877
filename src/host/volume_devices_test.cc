// Volumes on block devices: their records in the data directory, their bytes on devices of this machine (simulated ones), which
// are opened by one process at a time and never wiped.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "host/host_bench_test.h"
#include "host/simulated_devices_test.h"
#include "volume/core/record.h"

namespace godwit::host {
namespace {

class VolumeDevicesTest : public testing::Test {
 protected:
  static std::string create(std::string_view name, const std::string& device, std::string_view more = "") {
    return R"({"verb":"create","name":")" + std::string(name) + R"(","device":")" + device + "\"" + std::string(more) + "}";
  }
  static std::string remove(std::string_view name) {
    return R"({"verb":"remove","yes":true,"name":")" + std::string(name) + "\"}";
  }
  static bool has_record(const Host& host, const std::string& name) {
    return std::filesystem::exists(host.volumes() + "/" + name + ".own");
  }
  volume::Record read_record(const Host& host, const std::string& name) {
    std::ifstream file(host.volumes() + "/" + name + ".own", std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    return volume::decode_record_file(as_bytes(bytes)).value();
  }
  static void write_record(const Host& host, const std::string& name, volume::Record record) {
    ++record.gen;
    const Bytes slot = volume::encode_slot(record);
    std::fstream file(host.volumes() + "/" + name + ".own", std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(volume::slot_offset(record.gen)));
    file << as_text(slot);
  }

  TemporaryFolder folder;
  net::EventLoop loop;
  std::unique_ptr<net::Workers> workers = net::make_workers(loop, 2);
  SimulatedDevices devices{loop, *workers, folder / "dev"};
};

TEST_F(VolumeDevicesTest, ADeviceBecomesAVolumeWithWhatIsOnItAndIsThereAfterARestart) {
  const std::string device = devices.add("sda", 100000);
  Host host(loop, folder / "a", &devices);
  const Result<json::object> made = host.perform(create("db", device));
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->at("state"), "OWNED");
  EXPECT_EQ(made->at("kind"), "device");
  EXPECT_EQ(made->at("size"), 100000);
  EXPECT_EQ(made->at("path"), json::string_view(device));
  EXPECT_EQ(host.read("db", 99990, 10), "gggggggggg");
  ASSERT_TRUE(host.write("db", 50000, "written"));
  host.again();
  EXPECT_EQ(host.state_of("db"), "OWNED");
  EXPECT_EQ(host.read("db", 49999, 9), "gwritteng");
  EXPECT_EQ(devices.content("sda").substr(49999, 9), "gwritteng");
  EXPECT_FALSE(std::filesystem::exists(host.volumes() + "/db")) << "nothing but the record lies there";
  EXPECT_FALSE(std::filesystem::exists(device + ".own"));
}

TEST_F(VolumeDevicesTest, AVolumeMayBeSmallerThanItsDeviceAndNotLarger) {
  const std::string device = devices.add("sda", 100000);
  Host host(loop, folder / "a", &devices);
  EXPECT_EQ(host.refusal(create("db", device, R"(,"size":100001)")), ErrorKind::no_space);
  EXPECT_FALSE(has_record(host, "db"));
  ASSERT_TRUE(host.perform(create("db", device, R"(,"size":5000)")));
  EXPECT_FALSE(host.write("db", 4999, "xx")) << "past the volume's end";
  ASSERT_TRUE(host.write("db", 4999, "x"));
  host.again();
  EXPECT_EQ(host.read("db", 4998, 2), "gx");
  EXPECT_EQ(devices.content("sda").substr(4998, 4), "gxgg");
  host.stop();
  std::filesystem::resize_file(device, 4999);
  host.start();
  EXPECT_EQ(host.refusal(R"({"verb":"serve","volumes":[{"name":"db"}]})"), ErrorKind::no_space) << "it has shrunk";
}

TEST_F(VolumeDevicesTest, ADeviceIsOneVolumesAndOneProcesss) {
  const std::string device = devices.add("sda", 100000);
  std::filesystem::create_directory_symlink(folder / "dev", folder / "by-id");
  Host a(loop, folder / "a", &devices);
  Host b(loop, folder / "b", &devices);
  ASSERT_TRUE(a.perform(create("db", device)));
  EXPECT_EQ(a.refusal(create("other", device)), ErrorKind::exists);
  EXPECT_NE(a.complaint(create("other", folder / "by-id/sda")).find("is volume db's"), std::string::npos) << "the same device";
  EXPECT_EQ(b.refusal(create("db", device)), ErrorKind::busy) << "another data directory";
  EXPECT_FALSE(has_record(b, "db"));
  a.stop();
  a.start();  // it has the record, but has not opened the volume
  EXPECT_EQ(a.refusal(create("other", device)), ErrorKind::exists);
  ASSERT_TRUE(b.perform(create("db", device)));
  EXPECT_EQ(a.refusal(R"({"verb":"serve","volumes":[{"name":"db"}]})"), ErrorKind::busy);
}

TEST_F(VolumeDevicesTest, RemovingForgetsTheVolumeAndKeepsTheBytes) {
  const std::string device = devices.add("sda", 100000);
  Host host(loop, folder / "a", &devices);
  ASSERT_TRUE(host.perform(create("db", device)));
  ASSERT_TRUE(host.write("db", 0, "kept"));
  EXPECT_NE(host.complaint(R"({"verb":"remove","name":"db"})").find("what is on " + device + " stays"), std::string::npos);
  const Result<json::object> removed = host.perform(remove("db"));
  ASSERT_TRUE(removed) << removed.error().message();
  EXPECT_EQ(removed->at("device"), json::string_view(device));
  EXPECT_FALSE(has_record(host, "db"));
  EXPECT_EQ(devices.content("sda"), "kept" + std::string(99996, 'g'));
  ASSERT_TRUE(host.perform(create("again", device))) << "it is closed, and free";
  EXPECT_EQ(host.read("again", 0, 5), "keptg");
}

TEST_F(VolumeDevicesTest, WhatIsServedByThePathOfADeviceHasItsRecordInTheDataDirectory) {
  const std::string device = devices.add("sda", 100000);
  Host host(loop, folder / "a", &devices);
  const std::string serve = R"({"verb":"serve","volumes":[{"kind":"file","path":")" + device + "\"}]}";
  const Result<json::object> served = host.perform(serve);
  ASSERT_TRUE(served) << served.error().message();
  EXPECT_EQ(served->at("volumes").at(0).at("how"), "adopted");
  EXPECT_EQ(served->at("volumes").at(0).at("kind"), "device");
  EXPECT_TRUE(has_record(host, "sda"));
  EXPECT_FALSE(std::filesystem::exists(device + ".own"));
  host.stop();
  host.start();
  const Result<json::object> again = host.perform(serve);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->at("volumes").at(0).at("how"), "opened");
  EXPECT_EQ(host.refusal(R"({"verb":"serve","volumes":[{"name":"two","device":")" + device + "\"}]}"), ErrorKind::exists);
}

TEST_F(VolumeDevicesTest, RequestsThatAreWrongAreRefusedAndNothingIsMade) {
  const std::string device = devices.add("sda", 100000);
  std::ofstream(folder / "file") << "no device";
  Host host(loop, folder / "a", &devices);
  const struct {
    std::string name;
    std::string request;
    ErrorKind kind;
  } rows[] = {
      {"kind device without one", R"({"verb":"create","name":"a","kind":"device"})", ErrorKind::usage},
      {"a device for another kind", create("a", device, R"(,"kind":"sparse")"), ErrorKind::usage},
      {"a device and a folder", create("a", device, R"(,"folder":"/tmp")"), ErrorKind::usage},
      {"a device and content", create("a", device, R"(,"content":"/etc/hostname")"), ErrorKind::usage},
      {"a name that is none", create("a/b", device), ErrorKind::invalid},
      {"a relative path", create("a", "dev/sda"), ErrorKind::invalid},
      {"a path that no record can hold", create("a", "/" + std::string(255, 'x')), ErrorKind::invalid},
      {"a device that is not there", create("a", devices.path("sdz")), ErrorKind::not_found},
      {"a file that is no device", create("a", folder / "file"), ErrorKind::not_found},
      {"a pull over a device, of all", R"({"verb":"pull","from":"127.0.0.1:1","device":"/dev/x"})", ErrorKind::usage},
      {"a pull over a device and into memory",
       R"({"verb":"pull","from":"127.0.0.1:1","names":["x"],"device":"/dev/x","memory":true})", ErrorKind::usage},
      {"a pull over a device and into a folder",
       R"({"verb":"pull","from":"127.0.0.1:1","names":["x"],"device":"/dev/x","into":"/tmp"})", ErrorKind::usage},
      {"a pull over a device on a base",
       R"({"verb":"pull","from":"127.0.0.1:1","names":["x"],"device":"/dev/x","base":"/dev/y"})", ErrorKind::usage},
      {"a pull over a relative path", R"({"verb":"pull","from":"127.0.0.1:1","names":["x"],"device":"x"})", ErrorKind::invalid},
  };
  for (const auto& row : rows) EXPECT_EQ(host.refusal(row.request), row.kind) << row.name << ": " << host.complaint(row.request);
  EXPECT_TRUE(std::filesystem::is_empty(host.volumes()));
  EXPECT_EQ(devices.content("sda"), std::string(100000, 'g'));
}

// --- moves ---

TEST_F(VolumeDevicesTest, APullGoesOverADeviceThatIsLargeEnoughAndBack) {
  const std::string device = devices.add("sda", 300000);
  Host a(loop, folder / "a", &devices);
  Host b(loop, folder / "b", &devices);
  ASSERT_TRUE(a.perform(R"({"verb":"create","name":"disk","size":200000})"));
  ASSERT_TRUE(a.write("disk", 70000, std::string(1000, 'x')));
  std::string expected(200000, '\0');
  expected.replace(70000, 1000, std::string(1000, 'x'));

  const Result<json::object> pulled = b.perform(b.pull_from(a, R"(,"names":["disk"],"device":")" + device + "\""));
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(b.state_of("disk"), "OWNED");
  EXPECT_EQ(b.read("disk", 0, 200000), expected);
  EXPECT_EQ(devices.content("sda"), expected + std::string(100000, 'g')) << "what was there before shows through a hole";
  EXPECT_EQ(read_record(b, "disk").data_name, device);

  ASSERT_TRUE(b.write("disk", 0, "news"));
  expected.replace(0, 4, "news");
  ASSERT_TRUE(a.perform(a.pull_from(b, R"(,"names":["disk"])")));
  EXPECT_EQ(a.read("disk", 0, 200000), expected);
  EXPECT_EQ(b.state_of("disk"), "RELINQUISHED");
  EXPECT_EQ(b.refusal(create("other", device)), ErrorKind::exists) << "the record still has a claim on it";
  ASSERT_TRUE(a.write("disk", 4, "more"));
  expected.replace(4, 4, "more");
  ASSERT_TRUE(b.perform(b.pull_from(a, R"(,"names":["disk"],"device":")" + device + "\"")));
  EXPECT_EQ(devices.content("sda").substr(0, 200000), expected);
}

TEST_F(VolumeDevicesTest, ADeviceThatCanNotTakeTheCopyIsRefusedBeforeAnythingIsWritten) {
  const std::string small = devices.add("sda", 199999), taken = devices.add("sdb", 300000);
  Host a(loop, folder / "a", &devices);
  Host b(loop, folder / "b", &devices);
  ASSERT_TRUE(a.perform(R"({"verb":"create","name":"disk","size":200000})"));
  ASSERT_TRUE(b.perform(create("db", taken)));
  const auto pull = [&](const std::string& device) { return b.pull_from(a, R"(,"names":["disk"],"device":")" + device + "\""); };
  EXPECT_NE(b.complaint(pull(small)).find("does not fit"), std::string::npos) << b.complaint(pull(small));
  EXPECT_NE(b.complaint(pull(taken)).find("is volume db's"), std::string::npos) << b.complaint(pull(taken));
  EXPECT_NE(b.complaint(pull(devices.path("sdz"))).find("is not there"), std::string::npos);
  EXPECT_FALSE(has_record(b, "disk"));
  EXPECT_EQ(devices.content("sda"), std::string(199999, 'g'));
  EXPECT_EQ(devices.content("sdb"), std::string(300000, 'g'));
  EXPECT_EQ(a.state_of("disk"), "OWNED");
  std::filesystem::resize_file(small, 200000);
  ASSERT_TRUE(b.perform(pull(small))) << "nothing of the refused ones is in its way";
}

TEST_F(VolumeDevicesTest, ACopyThatHasOnlyBegunIsNeverServedAndGoesOnWhereItIs) {
  const std::string device = devices.add("sda", 200000), other = devices.add("sdb", 200000);
  Host a(loop, folder / "a", &devices);
  Host b(loop, folder / "b", &devices);
  ASSERT_TRUE(a.perform(R"({"verb":"create","name":"disk","size":200000})"));
  ASSERT_TRUE(a.write("disk", 70000, std::string(1000, 'x')));
  ASSERT_TRUE(b.perform(b.pull_from(a, R"(,"names":["disk"],"device":")" + device + "\"")));
  ASSERT_TRUE(a.perform(a.pull_from(b, R"(,"names":["disk"])")));
  ASSERT_TRUE(b.run_until([&] { return b.process().host().find("disk")->ownership().durable_record().heard; }));
  b.stop();
  // As if B had died in the middle of the next copy: its record alone says so.
  volume::Record record = read_record(b, "disk");
  ASSERT_EQ(record.state, volume::CopyState::relinquished);
  record.state = volume::CopyState::receiving;
  record.h.reset();
  record.heard = false;
  record.peer.reset();
  write_record(b, "disk", record);
  b.start();
  EXPECT_EQ(b.refusal(create("other", device)), ErrorKind::exists);
  ASSERT_TRUE(b.perform(R"({"verb":"serve","volumes":[{"name":"disk"}]})"));
  EXPECT_EQ(b.state_of("disk"), "RECEIVING");
  EXPECT_FALSE(b.process().host().find("disk")->ownership().is_owner());
  EXPECT_EQ(b.refusal(remove("disk")), ErrorKind::refused);
  EXPECT_EQ(b.refusal(b.pull_from(a, R"(,"names":["disk"],"device":")" + other + "\"")), ErrorKind::exists);
  ASSERT_TRUE(a.write("disk", 0, "news"));
  const Result<json::object> pulled = b.perform(b.pull_from(a, R"(,"names":["disk"])"));
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(b.state_of("disk"), "OWNED");
  EXPECT_EQ(devices.content("sda").substr(0, 5), std::string("news\0", 5));
  EXPECT_EQ(devices.content("sdb"), std::string(200000, 'g'));
}

TEST_F(VolumeDevicesTest, ACancelledCopyFreesItsDeviceAndLeavesItsBytes) {
  const std::string device = devices.add("sda", 200000);
  Host a(loop, folder / "a", &devices);
  Host b(loop, folder / "b", &devices);
  ASSERT_TRUE(a.perform(R"({"verb":"create","name":"disk","size":200000})"));
  ASSERT_TRUE(b.perform(b.pull_from(a, R"(,"names":["disk"],"device":")" + device + "\"")));
  b.stop();
  volume::Record record = read_record(b, "disk");
  record.state = volume::CopyState::receiving;
  record.h.reset();
  record.peer.reset();
  record.untold = false;
  write_record(b, "disk", record);
  b.start();
  const std::string before = devices.content("sda");
  const Result<json::object> cancelled = b.perform(R"({"verb":"cancel","name":"disk"})");
  ASSERT_TRUE(cancelled) << cancelled.error().message();
  EXPECT_EQ(cancelled->at("state"), "GONE");
  EXPECT_EQ(devices.content("sda"), before);
  b.stop();
  b.start();
  ASSERT_TRUE(b.perform(create("other", device)));
  EXPECT_EQ(devices.content("sda"), before);
}

TEST_F(VolumeDevicesTest, ARemovedVolumeThatOthersHadLeavesARecordThatMakesRoomForIt) {
  const std::string device = devices.add("sda", 200000), other = devices.add("sdb", 200000);
  Host a(loop, folder / "a", &devices);
  Host b(loop, folder / "b", &devices);
  ASSERT_TRUE(a.perform(R"({"verb":"create","name":"disk","size":200000})"));
  ASSERT_TRUE(b.perform(b.pull_from(a, R"(,"names":["disk"],"device":")" + device + "\"")));
  ASSERT_TRUE(a.perform(a.pull_from(b, R"(,"names":["disk"])")));
  const volume::Volume& given = *b.process().host().find("disk");
  ASSERT_TRUE(b.run_until([&] { return given.ownership().durable_record().heard; }));
  const Result<json::object> removed = b.perform(remove("disk"));
  ASSERT_TRUE(removed) << removed.error().message();
  EXPECT_EQ(removed->at("record_kept"), true);
  EXPECT_EQ(read_record(b, "disk").state, volume::CopyState::gone);
  ASSERT_TRUE(b.perform(create("free", device))) << "what is gone has no claim";
  ASSERT_TRUE(b.perform(b.pull_from(a, R"(,"names":["disk"],"device":")" + other + "\"")));
  EXPECT_EQ(b.state_of("disk"), "OWNED");
  b.again();
  EXPECT_EQ(b.state_of("disk"), "OWNED");
  EXPECT_EQ(b.state_of("free"), "OWNED");
}

}  // namespace
}  // namespace godwit::host
