// What the tests that replay recorded sessions share: our end of a connection in the simulated world, with a volume per recorded
// device, and the other end, which speaks frames and knows nothing. Source of what is replayed: testdata/silo/README.md.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/host.h"
#include "sim/recorded_session.h"
#include "volume/core/frame_assembler.h"
#include "volume/driver/control_link.h"
#include "volume/driver/planted_disk_test.h"

namespace godwit::volume::replay {

inline std::vector<sim::RecordedSession> all_sessions(const std::filesystem::path& testdata) {
  const std::filesystem::path folder = testdata.parent_path().parent_path() / "core/testdata/silo";
  std::vector<sim::RecordedSession> sessions;
  for (const std::string& name : sim::recorded_session_names(folder)) {
    Result<sim::RecordedSession> session = sim::read_recorded_session(folder, name);
    EXPECT_TRUE(session) << session.error().message();
    if (session) sessions.push_back(std::move(*session));
  }
  EXPECT_GE(sessions.size(), 35u);
  return sessions;
}

// A device whose writes to one block fail, as the store of dev-store-error did.
class RefusingDevice final : public ForwardingDevice {
 public:
  RefusingDevice(std::unique_ptr<store::BlockDevice> under, net::Scheduler& scheduler, std::uint64_t refused)
      : under_(std::move(under)), scheduler_(scheduler), refused_(refused) {}
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, store::Done<void> done) override {
    if (offset <= refused_ && refused_ < offset + from.size())
      return scheduler_.post([done = std::move(done)]() mutable { done(fail(ErrorKind::io, "the disk says no")); });
    under_->write(offset, from, durability, std::move(done));
  }

 private:
  store::BlockDevice* target() const override { return under_.get(); }
  std::unique_ptr<store::BlockDevice> under_;
  net::Scheduler& scheduler_;
  std::uint64_t refused_;
};

// The other end of the connection: a stream, and the frames that came out of it.
class FakePeer {
 public:
  using OnFrame = std::function<void(const FrameHeader& header, ConstBytes body)>;
  void connected(std::unique_ptr<net::Stream> stream, OnFrame on_frame) {
    stream_ = std::move(stream);
    on_frame_ = std::move(on_frame);
    frames_.set_body_size_max(64 << 20);
    read();
    flush();
  }
  void send(ConstBytes frame) {
    append(unsent_, frame);
    flush();
  }
  void send(DeviceId device, TxId tx, const Packet& packet) {
    Bytes frame;
    encode_frame(device, tx, packet, frame);
    send(frame);
  }
  bool is_connected() const { return stream_ != nullptr; }
  bool has_ended() const { return ended_; }
  bool has_sent_all() const { return unsent_.empty() && !writing_; }
  void close() {
    if (stream_) stream_->close();
  }

 private:
  void read() {
    const MutableBytes into[1] = {buffer_};
    stream_->read(into, [this](Result<std::size_t> count) {
      if (!count || *count == 0) {
        ended_ = true;
        return;
      }
      frames_.feed(ConstBytes(buffer_).first(*count));
      while (true) {
        const Result<std::optional<FrameAssembler::Frame>> frame = frames_.next();
        ASSERT_TRUE(frame) << frame.error().message();
        if (!*frame) break;
        on_frame_((*frame)->header, (*frame)->body);
      }
      read();
    });
  }
  void flush() {
    if (!stream_ || writing_ || unsent_.empty()) return;
    writing_ = true;
    sending_ = std::exchange(unsent_, {});
    const ConstBytes from[1] = {sending_};
    stream_->write(from, [this](Result<void> result) {
      writing_ = false;
      if (result) flush();
    });
  }
  std::unique_ptr<net::Stream> stream_;
  OnFrame on_frame_;
  FrameAssembler frames_;
  Bytes buffer_ = Bytes(64 * 1024);
  Bytes unsent_, sending_;
  bool writing_ = false;
  bool ended_ = false;
};

// Our end: a host with its parts, and the recorded devices as volumes of it.
class OurEnd : public VolumeEvents {
 public:
  explicit OurEnd(std::uint64_t seed)
      : world(seed), fabric(world), ours(fabric, "ours"), theirs(fabric, "theirs"), buffers(64 << 20) {
    Random random = world.random().fork();
    me = LocalHost{HostId::random(random), Boot{1}, "ours", "", ""};
  }

  DriverContext context() { return {ours.scheduler(), ours.network(), ours.workers(), buffers}; }

  using Store = std::unique_ptr<store::BlockDevice>;
  // A volume with these bytes; `owned`: ours to send, else a copy that is being received. `wrap` stands something before its
  // store.
  Volume& add_volume(const sim::RecordedDevice& device, const Bytes& content, bool owned,
                     std::optional<std::uint64_t> refused = {}, const std::function<Store(Store)>& wrap = {}) {
    auto made =
        sim::wait_for<std::unique_ptr<store::BlockDevice>>(world, [&](net::Done<std::unique_ptr<store::BlockDevice>> done) {
          ours.directory().create_device(device.name, device.size, std::move(done));
        });
    EXPECT_TRUE(made) << made.error().message();
    std::unique_ptr<store::BlockDevice> store = std::move(*made);
    EXPECT_TRUE(sim::wait_for<void>(
        world, [&](net::Done<void> done) { store->write(0, content, store::Durability::written, std::move(done)); }));
    if (wrap) store = wrap(std::move(store));
    if (refused) store = std::make_unique<RefusingDevice>(std::move(store), ours.scheduler(), *refused);
    Random random = world.random().fork();
    const Geometry geometry{device.size, device.block_size};
    Record record = owned ? Ownership::new_owned(me, random, geometry, device.name)
                          : Ownership::new_receiving(me, random, VolumeId::random(random), geometry, Peer{}, device.name);
    if (!owned) record.peer.reset();
    volumes.push_back(std::make_unique<Volume>(ours.scheduler(), *this, device.name, me, std::move(record), false,
                                               std::move(store), RecordPlace{}, random));
    volumes.back()->start();
    return *volumes.back();
  }

  Bytes content_of(Volume& volume) {
    Bytes bytes(volume.geometry().size_bytes);
    EXPECT_TRUE(sim::wait_for<void>(world, [&](net::Done<void> done) { volume.store().read(0, bytes, std::move(done)); }));
    return bytes;
  }

  // Both ends of a new connection, ours first.
  std::unique_ptr<net::Stream> connect(FakePeer& peer, FakePeer::OnFrame on_frame) {
    auto listener =
        std::move(*theirs.network().listen(*net::Address::parse("theirs:5170", 0), [&](std::unique_ptr<net::Stream> stream) {
          peer.connected(std::move(stream), on_frame);
        }));
    auto stream = sim::wait_for<std::unique_ptr<net::Stream>>(world, [&](net::Done<std::unique_ptr<net::Stream>> done) {
      ours.network().connect(*net::Address::parse("theirs:5170", 0), std::move(done));
    });
    EXPECT_TRUE(stream) << stream.error().message();
    EXPECT_TRUE(world.run_until([&] { return peer.is_connected(); }, Duration::seconds(10)));
    return std::move(*stream);
  }

  // Until nothing happens any more, for a while.
  void settle() { world.run_for(Duration::seconds(1)); }

  void handle_effect(Volume&, OwnershipEffect&) override {}
  void handle_mode(Volume& volume) override {
    if (link) link->handle_mode(volume);
  }

  sim::World world;
  sim::Fabric fabric;
  sim::Host ours;
  sim::Host theirs;
  net::BufferPool buffers;
  LocalHost me;
  std::vector<std::unique_ptr<Volume>> volumes;
  std::vector<std::string> notes;
  std::optional<std::string> closed_because;  // of the link; empty text: a clean end
  ControlLink* link = nullptr;

  std::string all_notes() const {
    std::string text;
    for (const std::string& note : notes) text += note + "\n";
    if (closed_because) text += "closed: " + *closed_because + "\n";
    return text;
  }
};

}  // namespace godwit::volume::replay
