// Hosts in this process, on a real event loop and real folders: verbs in, answers out.
#include "host/volume_verbs.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>
#include <boost/json/array.hpp>

#include "base/temporary_folder.h"
#include "host/control_socket.h"
#include "host/host_bench_test.h"

namespace godwit::host {
namespace {

class VolumeVerbsTest : public testing::Test {
 protected:
  TemporaryFolder folder;
  net::EventLoop loop;
};

TEST_F(VolumeVerbsTest, AVolumeIsMadeListedAndThereAfterARestart) {
  Host host(loop, folder / "a");
  for (const std::string_view kind : {"sparse", "file"}) {
    const std::string name(kind);
    const Result<json::object> made =
        host.perform(R"({"verb":"create","size":100000,"name":")" + name + R"(","kind":")" + name + "\"}");
    ASSERT_TRUE(made) << made.error().message();
    EXPECT_EQ(made->at("state"), "OWNED");
    EXPECT_EQ(std::filesystem::file_size(host.volumes() + "/" + name), 100000u);
    EXPECT_EQ(std::filesystem::file_size(host.volumes() + "/" + name + ".own"), 16384u);
  }
  EXPECT_EQ(host.refusal(R"({"verb":"create","size":1,"name":"file"})"), ErrorKind::exists);
  host.again();
  EXPECT_EQ(host.state_of("sparse"), "OWNED");
  EXPECT_EQ(host.state_of("file"), "OWNED");
  EXPECT_EQ(host.perform(R"({"verb":"list"})")->at("volumes").get_array().size(), 2u);
}

TEST_F(VolumeVerbsTest, AVolumeIsMadeWithTheContentOfAFile) {
  std::string bytes(3'000'000, '\0');
  for (std::size_t i = 0; i < bytes.size(); i += 1000) bytes[i] = static_cast<char>(i / 1000);
  std::ofstream(folder / "image", std::ios::binary) << bytes;
  Host host(loop, folder / "a");
  const std::string request = R"({"verb":"create","name":"disk","content":")" + (folder / "image") + "\"";
  EXPECT_EQ(host.refusal(request + R"(,"size":4096})"), ErrorKind::usage);
  EXPECT_TRUE(std::filesystem::is_empty(host.volumes()));
  ASSERT_TRUE(host.perform(request + "}"));
  std::ifstream copy(host.volumes() + "/disk", std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(copy), {}), bytes);
}

TEST_F(VolumeVerbsTest, RequestsThatAreWrongAreWrongUsage) {
  Host host(loop, folder / "a");
  for (const std::string_view request : {R"({})",
                                         R"({"verb":7})",
                                         R"({"verb":"fly"})",
                                         R"({"verb":"create","name":"a","size":-1})",
                                         R"({"verb":"create","name":"a"})",
                                         R"({"verb":"create","size":1})",
                                         R"({"verb":"create","name":"a","size":4096,"block_size":5})",
                                         R"({"verb":"create","name":"a","size":4096,"kind":"tape"})",
                                         R"({"verb":"create","name":"a","kind":"overlay"})",
                                         R"({"verb":"serve"})",
                                         R"({"verb":"serve","volumes":[1]})",
                                         R"({"verb":"pull"})",
                                         R"({"verb":"pull","from":"127.0.0.1:1","take":"all"})",
                                         R"({"verb":"pull","from":"127.0.0.1:1","as":"x"})",
                                         R"({"verb":"pull","from":"127.0.0.1:1","memory":true,"into":"/tmp"})",
                                         R"({"verb":"pull","from":"127.0.0.1:1","names":"x"})",
                                         R"({"verb":"export"})",
                                         R"({"verb":"export","add":"127.0.0.1:0"})",
                                         R"({"verb":"export","name":"a"})",
                                         R"({"verb":"pull","from":"127.0.0.1:1","listen":"127.0.0.1:0"})",
                                         R"({"verb":"pull","from":"127.0.0.1:1","max_downtime":1})",
                                         R"({"verb":"serve","volumes":[],"nbd":["127.0.0.1:0"]})",
                                         R"({"verb":"cancel"})",
                                         R"({"verb":"remove"})"})
    EXPECT_EQ(host.refusal(request), ErrorKind::usage) << request;
  EXPECT_EQ(host.refusal(R"({"verb":"create","name":"a/b","size":1})"), ErrorKind::invalid);
  EXPECT_EQ(host.refusal(R"({"verb":"cancel","name":"none"})"), ErrorKind::not_found);
  EXPECT_EQ(host.refusal(R"({"verb":"remove","name":"none"})"), ErrorKind::not_found);
  EXPECT_EQ(host.refusal(R"({"verb":"export","name":"none","drop":"unix:/none"})"), ErrorKind::not_found);
  EXPECT_TRUE(std::filesystem::is_empty(host.volumes()));
}

TEST_F(VolumeVerbsTest, AFileBecomesAVolumeUnlessSomethingSpeaksAgainstIt) {
  Host host(loop, folder / "a");
  const auto serve = [&](std::string_view name) { return R"({"verb":"serve","volumes":[{"path":")" + (folder / name) + "\"}]}"; };
  for (const std::string_view name : {"disk.img", "open.img", "half.partial", "lost.partial", "old.moved"})
    std::ofstream(folder / name) << std::string(10000, 'x');
  std::ofstream(folder / "empty.img");
  const Result<json::object> adopted = host.perform(serve("disk.img"));
  ASSERT_TRUE(adopted) << adopted.error().message();
  EXPECT_EQ(adopted->at("volumes").at(0).at("how"), "adopted");
  EXPECT_EQ(host.state_of("disk.img"), "OWNED");

  std::ifstream reader(folder / "open.img");
  EXPECT_EQ(host.refusal(serve("open.img")), ErrorKind::busy);
  EXPECT_EQ(host.refusal(serve("half.partial")), ErrorKind::invalid);
  EXPECT_EQ(host.refusal(serve("lost")), ErrorKind::refused);
  EXPECT_EQ(host.refusal(serve("old.moved")), ErrorKind::invalid);
  EXPECT_EQ(host.refusal(serve("empty.img")), ErrorKind::invalid);
  EXPECT_EQ(host.refusal(serve("none.img")), ErrorKind::not_found);
  EXPECT_EQ(host.refusal(serve("nowhere/none.img")), ErrorKind::not_found);
  EXPECT_FALSE(std::filesystem::exists(folder / "open.img.own"));
}

TEST_F(VolumeVerbsTest, AVolumeOfAnotherHostIsRefused) {
  const std::string serve = R"({"verb":"serve","volumes":[{"path":")" + (folder / "disk.img") + "\"}]}";
  std::ofstream(folder / "disk.img") << std::string(10000, 'x');
  Host a(loop, folder / "a");
  ASSERT_TRUE(a.perform(serve));
  Host b(loop, folder / "b");
  EXPECT_EQ(b.refusal(serve), ErrorKind::busy);  // A's process has its record
  a.stop();
  EXPECT_EQ(b.refusal(serve), ErrorKind::refused);
}

TEST_F(VolumeVerbsTest, AnOverlayKeepsItsBaseUntouched) {
  std::ofstream(folder / "base.img") << std::string(10000, 'b');
  Host host(loop, folder / "a");
  const std::string overlay = R"("name":"guest","kind":"overlay","base":")" + (folder / "base.img") + "\"}";
  const Result<json::object> made = host.perform(R"({"verb":"create",)" + overlay);
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->at("size"), 10000);
  EXPECT_EQ(made->at("kind"), "overlay");

  Bytes block(4096, std::byte{'o'});
  Bytes read(10000);
  volume::Volume* v = host.process().host().find("guest");
  loop.post([&] {
    v->face().write(0, block, store::Durability::durable, [&](Result<void> written) {
      ASSERT_TRUE(written);
      v->face().read(0, read, [&](Result<void>) { loop.stop(); });
    });
  });
  loop.run();
  EXPECT_EQ(as_text(read), std::string(4096, 'o') + std::string(5904, 'b'));
  std::string base(10000, '\0');
  std::ifstream(folder / "base.img").read(base.data(), 10000);
  EXPECT_EQ(base, std::string(10000, 'b'));

  host.again();  // it is known what it lies on
  EXPECT_EQ(host.state_of("guest"), "OWNED");
}

TEST_F(VolumeVerbsTest, APullMovesAVolumeIntoAFolderOrMemory) {
  std::ofstream(folder / "disk.img") << std::string(300000, 'x');
  std::filesystem::create_directory(folder / "into");
  Host a(loop, folder / "a");
  Host b(loop, folder / "b");
  ASSERT_TRUE(a.perform(R"({"verb":"serve","volumes":[{"path":")" + (folder / "disk.img") +
                        R"("},{"name":"ram","kind":"memory","size":9999}]})"));
  const Result<json::object> pulled =
      b.perform(b.pull_from(a, R"(,"names":["disk.img"],"as":"copy","into":")" + (folder / "into") + "\""));
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(pulled->at("state"), "owned");
  EXPECT_EQ(pulled->at("bytes_left"), 0u);
  EXPECT_EQ(b.state_of("copy"), "OWNED");
  std::string copy(300000, '\0');
  std::ifstream(folder / "into/copy").read(copy.data(), 300000);
  EXPECT_EQ(copy, std::string(300000, 'x'));
  ASSERT_TRUE(b.perform(b.pull_from(a, R"(,"memory":true)")));
  EXPECT_EQ(b.state_of("ram"), "OWNED");
  EXPECT_EQ(a.state_of("ram"), "RELINQUISHED");
}

TEST_F(VolumeVerbsTest, APullThatIsRefusedLeavesNothingBehind) {
  Host a(loop, folder / "a");
  Host b(loop, folder / "b");
  Host c(loop, folder / "c");
  ASSERT_TRUE(a.perform(R"({"verb":"serve","volumes":[{"name":"ram","kind":"memory","size":9999}]})"));
  EXPECT_EQ(b.refusal(b.pull_from(a, R"(,"names":["other"])")), ErrorKind::refused);
  ASSERT_TRUE(c.perform(c.pull_from(a, "")));
  EXPECT_EQ(b.refusal(b.pull_from(a, "")), ErrorKind::refused);
  EXPECT_TRUE(std::filesystem::is_empty(b.volumes()));
  EXPECT_EQ(b.state_of("ram"), "");
}

TEST_F(VolumeVerbsTest, APullOfAHostThatIsNotThereEndsAfterItsPatience) {
  Host b(loop, folder / "b");
  EXPECT_EQ(b.refusal(R"({"verb":"pull","from":"unix:/nowhere/at/all","wait_seconds":0.05,"progress_seconds":0.05})"),
            ErrorKind::timed_out);
}

TEST_F(VolumeVerbsTest, RemovingAsksForAYesAndKeepsTheRecordOfWhatOthersHad) {
  Host a(loop, folder / "a");
  Host b(loop, folder / "b");
  for (const std::string_view name : {"own", "shared"})
    ASSERT_TRUE(a.perform(R"({"verb":"create","size":4096,"name":")" + std::string(name) + "\"}"));
  EXPECT_EQ(a.refusal(R"({"verb":"remove","name":"own"})"), ErrorKind::refused);
  ASSERT_TRUE(a.perform(R"({"verb":"remove","name":"own","yes":true})"));
  EXPECT_FALSE(std::filesystem::exists(a.volumes() + "/own"));
  EXPECT_FALSE(std::filesystem::exists(a.volumes() + "/own.own"));

  ASSERT_TRUE(b.perform(b.pull_from(a, "")));
  const Result<json::object> removed = b.perform(R"({"verb":"remove","name":"shared","yes":true})");
  ASSERT_TRUE(removed) << removed.error().message();
  EXPECT_EQ(removed->at("record_kept"), true);
  EXPECT_FALSE(std::filesystem::exists(b.volumes() + "/shared"));
  EXPECT_TRUE(std::filesystem::exists(b.volumes() + "/shared.own"));
  b.again();
  EXPECT_EQ(b.state_of("shared"), "");
  EXPECT_EQ(b.refusal(R"({"verb":"remove","name":"shared","yes":true})"), ErrorKind::refused);
}

TEST_F(VolumeVerbsTest, AnAddressOfOneVolumeOffersThatVolumeOnly) {
  Host host(loop, folder / "a");
  for (const std::string_view name : {"one", "two"})
    ASSERT_TRUE(host.perform(R"({"verb":"create","size":4096,"name":")" + std::string(name) + "\"}"));
  const std::string own = folder / "own.sock";
  const std::string add = R"({"verb":"export","name":"one","add":"unix:)" + own + "\"}";
  EXPECT_EQ(host.refusal(R"({"verb":"export","name":"one","add":"0.0.0.0:0"})"), ErrorKind::usage);
  ASSERT_TRUE(host.perform(add));
  const auto opens = [&](const std::string& socket, const std::string& name) {
    std::optional<bool> opened;
    std::unique_ptr<exports::NbdClient> kept;
    loop.connect(net::Address{"", 0, socket}, [&](Result<std::unique_ptr<net::Stream>> stream) {
      if (!stream) return opened = false, loop.stop();
      exports::NbdClientOptions options;
      options.export_name = name;
      exports::NbdClient::open(loop, std::move(*stream), std::move(options),
                               [&](Result<std::unique_ptr<exports::NbdClient>> client) {
                                 opened = client.has_value();
                                 if (client) kept = std::move(*client);
                                 loop.stop();
                               });
    });
    loop.run();
    return opened.value_or(false);
  };
  const std::string all = host.process().nbd_addresses().front().unix_path;
  EXPECT_TRUE(opens(own, "one"));
  EXPECT_FALSE(opens(own, "two"));
  EXPECT_TRUE(opens(all, "one"));
  EXPECT_TRUE(opens(all, "two"));
  const Result<json::object> status = host.perform(R"({"verb":"status"})");
  EXPECT_EQ(status->at("nbd").get_array().size(), 1u);
  for (const json::value& volume : status->at("volumes").get_array())
    EXPECT_EQ(volume.get_object().contains("nbd"), volume.at("name") == "one");

  EXPECT_EQ(host.refusal(R"({"verb":"export","name":"two","drop":"unix:)" + own + "\"}"), ErrorKind::not_found);
  EXPECT_EQ(host.refusal(R"({"verb":"export","name":"one","drop":"unix:)" + all + "\"}"), ErrorKind::refused);
  ASSERT_TRUE(host.perform(R"({"verb":"export","name":"one","drop":"unix:)" + own + "\"}"));
  EXPECT_FALSE(opens(own, "one"));
  ASSERT_TRUE(host.perform(add));
  ASSERT_TRUE(host.perform(R"({"verb":"remove","name":"one","yes":true})"));
  EXPECT_FALSE(std::filesystem::exists(own)) << "an address that offers nothing stays";
}

TEST_F(VolumeVerbsTest, SilentNbdConnectionsHoldNoBuffers) {
  Host host(loop, folder / "a");
  ASSERT_TRUE(host.perform(R"({"verb":"create","size":4096,"name":"disk"})"));
  const net::Address at = host.process().nbd_addresses().front();
  std::vector<std::unique_ptr<exports::NbdClient>> clients;
  Bytes block(4096);
  for (int i = 0; i < 20; ++i) {
    loop.connect(at, [&](Result<std::unique_ptr<net::Stream>> stream) {
      ASSERT_TRUE(stream);
      exports::NbdClientOptions options;
      options.export_name = "disk";
      exports::NbdClient::open(loop, std::move(*stream), std::move(options),
                               [&](Result<std::unique_ptr<exports::NbdClient>> client) {
                                 ASSERT_TRUE(client);
                                 clients.push_back(std::move(*client));
                                 clients.back()->read(0, block, [&](Result<void> read) {
                                   EXPECT_TRUE(read);
                                   loop.stop();
                                 });
                               });
    });
    loop.run();
  }
  host.wait_a_little();
  EXPECT_EQ(clients.size(), 20u);
  EXPECT_EQ(host.process().buffers().leased_bytes(), 0u);
}

// Puts a record where a killed process would have left it.
void leave_record(const std::string& path, const volume::Record& record) {
  Bytes file(volume::kRecordFileSize);
  const Bytes slot = volume::encode_slot(record);
  std::ranges::copy(slot, file.begin() + static_cast<std::ptrdiff_t>(volume::slot_offset(record.gen)));
  std::ofstream(path, std::ios::binary) << as_text(file);
}

volume::Record read_record(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  return volume::decode_record_file(as_bytes(text)).value();
}

TEST_F(VolumeVerbsTest, AnOfflineCancelIsToldByTheNextProcess) {
  Host a(loop, folder / "a");
  Host b(loop, folder / "b");
  ASSERT_TRUE(a.perform(R"({"verb":"create","size":1048576,"name":"disk"})"));
  volume::Record given = a.process().host().find("disk")->ownership().durable_record();
  Random random(1);
  volume::Record taken = volume::Ownership::new_receiving(b.process().me(), random, given.volume, given.geometry,
                                                          volume::Peer{given.host, "a", ""}, "disk.partial");
  given.reserved = volume::Record::Reserved{taken.copy, taken.host};
  ++given.gen;
  a.stop();
  leave_record(a.volumes() + "/disk.own", given);
  b.stop();
  taken.peer->address = "127.0.0.1:1";  // nobody answers there
  taken.gen = 1;
  leave_record(b.volumes() + "/disk.own", taken);
  std::ofstream(b.volumes() + "/disk.partial") << std::string(1048576, 'x');

  b.start();  // as `cancel` alone does: nothing is dialled before the verb
  const Result<json::object> cancelled = b.perform(R"({"verb":"cancel","name":"disk"})");
  ASSERT_TRUE(cancelled) << cancelled.error().message();
  EXPECT_EQ(cancelled->at("untold"), true);
  b.stop();
  EXPECT_FALSE(std::filesystem::exists(b.volumes() + "/disk.partial"));

  a.again();
  ASSERT_TRUE(a.process().host().find("disk")->ownership().durable_record().reserved);
  volume::Record left = read_record(b.volumes() + "/disk.own");
  EXPECT_EQ(left.state, volume::CopyState::gone);
  EXPECT_TRUE(left.untold);
  left.peer->address = a.process().host_address()->text();
  ++left.gen;
  leave_record(b.volumes() + "/disk.own", left);
  b.again();
  b.process().host().resume_dialling();
  const auto is_told = [&] { return !a.process().host().find("disk")->ownership().durable_record().reserved; };
  for (int i = 0; i < 500 && !is_told(); ++i) a.wait_a_little();
  EXPECT_TRUE(is_told());
  EXPECT_EQ(b.state_of("disk"), "GONE");
  const Result<json::object> pulled = b.perform(b.pull_from(a, ""));
  ASSERT_TRUE(pulled) << pulled.error().message();
  EXPECT_EQ(b.state_of("disk"), "OWNED");
}

TEST_F(VolumeVerbsTest, TheControlSocketCarriesVerbsAndTheirErrors) {
  Host host(loop, folder / "a");
  EXPECT_FALSE(is_host_running(folder / "a"));
  EXPECT_EQ(ask_running_host(folder / "a", {{"verb", "status"}}, nullptr).error().kind(), ErrorKind::not_found);
  Result<std::unique_ptr<ControlServer>> control = ControlServer::listen(loop, folder / "a/control", host.verbs(), Log());
  ASSERT_TRUE(control) << control.error().message();

  std::string received;
  std::unique_ptr<net::Stream> client;
  Bytes buffer(65536);
  std::function<void()> read = [&] {
    const MutableBytes into(buffer);
    client->read({&into, 1}, [&](Result<std::size_t> count) {
      received.append(as_text(ConstBytes(buffer).first(count.value_or(0))));
      if (!count || *count == 0 || std::ranges::count(received, '\n') >= 3) return loop.stop();
      read();
    });
  };
  const std::string sent = "{\"verb\":\"status\"}\nno json\n{\"verb\":\"fly\"}\n";
  loop.connect(net::Address{"", 0, folder / "a/control"}, [&](Result<std::unique_ptr<net::Stream>> stream) {
    client = std::move(*stream);
    const ConstBytes from = as_bytes(sent);
    client->write({&from, 1}, [&](Result<void>) { read(); });
  });
  loop.run();
  EXPECT_NE(received.find(R"("event":"done")"), std::string::npos) << received;
  EXPECT_NE(received.find("a line must be one JSON object"), std::string::npos) << received;
  EXPECT_NE(received.find("there is no verb"), std::string::npos) << received;
}

TEST_F(VolumeVerbsTest, ListenersAreRefusedWhereOthersCouldReachThem) {
  ProcessOptions options;
  options.metrics = net::Address{"0.0.0.0", 0, ""};
  EXPECT_FALSE(VolumeProcess::start(loop, DataDirectory::open(folder / "a").value(), options, Log()));
  options.insecure = true;
  Result<std::unique_ptr<VolumeProcess>> process =
      VolumeProcess::start(loop, DataDirectory::open(folder / "b").value(), options, Log());
  ASSERT_TRUE(process);
  EXPECT_NE((*process)->metrics_address()->port, 0);
}

}  // namespace
}  // namespace godwit::host
