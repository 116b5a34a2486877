// The people of a scene: a program on a host's own face, a program behind a real NBD connection from another machine, and readers
// at the destination from the first moment. Each half of a volume has a history, which knows what a reader may be shown.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "export/nbd_client.h"
#include "sim/block_client.h"
#include "volume/driver/move_scene_test.h"

namespace godwit::volume {

// A program on another machine with an NBD connection: connects again when it is lost, and asks the next server of its list where
// one says that it is shut down.
class NbdUser final : public ForwardingDevice {
 public:
  NbdUser(Scene& scene, std::string volume, std::vector<std::string> servers, std::uint64_t first_block)
      : scene_(scene), volume_(std::move(volume)), servers_(std::move(servers)), base_(first_block * kBlock) {
    connect();
  }
  ~NbdUser() override { *alive_ = false; }

  store::BlockDevice* device() { return client_ ? this : nullptr; }
  std::uint64_t count_connections() const { return connections_; }
  std::uint64_t count_shut_down() const { return shut_down_; }
  const std::string& server() const { return servers_[at_]; }

  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override {
    client_->read(base_ + offset, into, watched(std::move(done)));
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) override {
    client_->write(base_ + offset, from, durability, watched(std::move(done)));
  }
  void flush(Done<void> done) override { client_->flush(watched(std::move(done))); }

 private:
  store::BlockDevice* target() const override { return client_.get(); }
  std::uint64_t base() const override { return base_; }
  Done<void> watched(Done<void> done) {
    return [this, alive = alive_, done = std::move(done)](Result<void> result) mutable {
      const bool shut_down = !result && result.error().kind() == ErrorKind::shut_down;
      done(std::move(result));
      if (!*alive || !shut_down) return;
      ++shut_down_;
      if (!std::exchange(leaving_, true))
        scene_.user.scheduler().post([this, alive = alive_] {
          if (*alive && client_ && client_->unanswered() == 0) lost(true);
          leaving_ = false;
        });
    };
  }
  void connect() {
    scene_.user.network().connect(*net::Address::parse(server() + ":10809", 0),
                                  [this, alive = alive_](Result<std::unique_ptr<net::Stream>> stream) {
                                    if (!*alive) return;
                                    if (!stream) return again(true);
                                    exports::NbdClientOptions options;
                                    options.export_name = volume_;
                                    exports::NbdClient::open(scene_.user.scheduler(), std::move(*stream), std::move(options),
                                                             [this, alive](Result<std::unique_ptr<exports::NbdClient>> client) {
                                                               if (!*alive) return;
                                                               if (!client) return again(true);
                                                               client_ = std::move(*client);
                                                               ++connections_;
                                                               client_->on_lost([this, alive](Error) {
                                                                 if (*alive) lost(false);
                                                               });
                                                             });
                                  });
  }
  void lost(bool elsewhere) {
    if (!client_) return;
    scene_.user.scheduler().post([client = std::move(client_)] {});
    again(elsewhere);
  }
  void again(bool elsewhere) {
    if (elsewhere) at_ = (at_ + 1) % servers_.size();
    scene_.user.scheduler().schedule(scene_.user.scheduler().now() + Duration::milliseconds(5), [this, alive = alive_] {
      if (*alive) connect();
    });
  }

  Scene& scene_;
  std::string volume_;
  std::vector<std::string> servers_;
  std::uint64_t base_;
  std::size_t at_ = 0;
  std::unique_ptr<exports::NbdClient> client_;
  std::uint64_t connections_ = 0;
  std::uint64_t shut_down_ = 0;
  bool leaving_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Everybody who uses one volume in a scenario. The first half of its blocks is written by a program on A's face, the second by
// one behind NBD connections; each half has a history of its own. All blocks are written before anything else happens, and no
// client writes zeros: a block of zeros read anywhere is an absent one. A rest behind the last whole block is written once.
class Cast {
 public:
  Cast(Scene& scene, std::string name, std::uint64_t blocks, std::vector<std::string> servers = {"a"}, std::uint64_t rest = 0,
       Duration pause_max = Duration::microseconds(500))
      : scene_(scene),
        name_(std::move(name)),
        half_(blocks / 2),
        rest_(rest),
        pause_max_(pause_max),
        by_face_(scene.world, 1, kBlock),
        by_nbd_(scene.world, 2, kBlock),
        early_random_(scene.world.random().fork()) {
    fill();
    user_ = std::make_unique<NbdUser>(scene, name_, std::move(servers), half_);
    const sim::BlockClientOptions work{.block_count = half_, .depth = 3, .pause_max = pause_max_, .zeroes = 0};
    nbd_client_ = std::make_unique<sim::BlockClient>(
        scene.user.scheduler(), scene.world.random().fork(), by_nbd_, [this] { return user_->device(); }, work);
  }
  ~Cast() { *alive_ = false; }

  void start() {
    nbd_client_->start();
    start_face("a");
  }
  // The program on the face ends where it is and goes on at `to`.
  void move_face(const std::string& to) {
    face_client_->stop();
    ASSERT_TRUE(scene_.run_until([&] { return face_client_->is_idle(); }, Duration::seconds(10))) << scene_.why();
    start_face(to);
  }
  // A program on `host`'s own face; also after a restart.
  void start_face(const std::string& host) {
    const sim::BlockClientOptions work{.block_count = half_, .depth = 3, .pause_max = pause_max_, .zeroes = 0};
    if (face_client_) {
      failed_before_ += face_client_->count_failed();
      by_face_.readers_are_gone();
    }
    face_client_ = std::make_unique<sim::BlockClient>(
        scene_.machine(host).scheduler(), scene_.world.random().fork(), by_face_,
        [this, host]() -> store::BlockDevice* {
          Volume* v = scene_.volume(host, name_);
          return v ? &v->face() : nullptr;
        },
        work);
    face_host_ = host;
    face_client_->start();
  }
  // Reads at `host` before it owns: any whole block that somebody wrote there, at any time.
  void start_early_reads(const std::string& host) { early_read(host, scene_.boots.at(host)); }

  // The process dies now. Where it was the one that counted, blocks may be torn, and with the power what was not flushed may be
  // gone.
  void note_crash(const std::string& host, bool power_lost) {
    Volume* v = scene_.volume(host, name_);
    if (!v) return;
    const CopyState decided = v->ownership().record().state;
    bool other_owns = false;
    for (const auto& [other, process] : scene_.processes) other_owns = other_owns || (other != host && scene_.owns(other, name_));
    if (decided == CopyState::owned || (decided == CopyState::relinquished && !other_owns)) {
      owner_crashed_ = true;
      if (!power_lost) return;
      by_face_.power_loss();
      by_nbd_.power_loss();
    }
  }

  void stop() {
    nbd_client_->stop();
    if (face_client_) face_client_->stop();
    early_stopped_ = true;
  }
  bool is_idle() const {
    const bool face_gone = !face_client_ || !scene_.machine(face_host_).is_up() || face_client_->is_idle();
    return nbd_client_->is_idle() && face_gone;
  }
  std::uint64_t count_failed() const {
    return nbd_client_->count_failed() + (face_client_ ? face_client_->count_failed() : 0) + failed_before_;
  }
  std::uint64_t count_ended() const { return nbd_client_->count_ended() + (face_client_ ? face_client_->count_ended() : 0); }
  std::uint64_t count_early_reads() const { return early_reads_; }
  NbdUser& user() { return *user_; }
  sim::BlockClient& nbd_client() { return *nbd_client_; }
  sim::BlockClient& face_client() { return *face_client_; }
  const std::string& name() const { return name_; }

  // Everything a client can know about the volume is checked through the owner's face.
  void check_all(const std::string& owner) {
    Volume* v = scene_.volume(owner, name_);
    ASSERT_NE(v, nullptr);
    bool checked = false, checked_too = false;
    sim::check_all(v->face(), by_face_, half_,
                   [&](Result<std::uint64_t> count) { checked = count.has_value() && *count == half_; });
    Shifted second(v->face(), half_ * kBlock);
    sim::check_all(second, by_nbd_, half_,
                   [&](Result<std::uint64_t> count) { checked_too = count.has_value() && *count == half_; });
    EXPECT_TRUE(scene_.run_until([&] { return checked && checked_too; }, Duration::seconds(30))) << scene_.why();
    if (rest_ == 0 || scene_.world.failed()) return;
    Bytes tail(rest_);
    Result<void> read =
        sim::wait_for<void>(scene_.world, [&](Done<void> done) { v->face().read(2 * half_ * kBlock, tail, std::move(done)); });
    EXPECT_TRUE(read);
    EXPECT_EQ(tail, Bytes(rest_, std::byte{0x5A})) << scene_.why();
  }

 private:
  class Shifted final : public ForwardingDevice {
   public:
    Shifted(store::BlockDevice& device, std::uint64_t base) : device_(device), base_(base) {}

   private:
    store::BlockDevice* target() const override { return &device_; }
    std::uint64_t base() const override { return base_; }
    store::BlockDevice& device_;
    std::uint64_t base_;
  };

  void fill() {
    store::BlockDevice& face = scene_.volume("a", name_)->face();
    for (sim::History* history : {&by_face_, &by_nbd_}) {
      Bytes content(half_ * kBlock);
      const std::uint64_t operation = history->begin_write(0, content);
      const std::uint64_t offset = history == &by_face_ ? 0 : half_ * kBlock;
      const Result<void> written = sim::wait_for<void>(
          scene_.world, [&](Done<void> done) { face.write(offset, content, store::Durability::durable, std::move(done)); });
      ASSERT_TRUE(written);
      history->end_write(operation, true, true);
    }
    if (rest_ == 0) return;
    const Bytes tail(rest_, std::byte{0x5A});
    ASSERT_TRUE(sim::wait_for<void>(scene_.world, [&](Done<void> done) {
      face.write(2 * half_ * kBlock, tail, store::Durability::durable, std::move(done));
    }));
  }

  void early_read(const std::string& host, std::uint64_t boot) {
    if (early_stopped_ || scene_.boots.at(host) != boot || !scene_.processes.at(host)) return;
    Volume* v = scene_.volume(host, name_);
    if (v && v->face().mode() == FaceMode::early_reads) {
      auto buffer = std::make_shared<Bytes>((1 + early_random_.below(4)) * kBlock);
      const std::uint64_t first = early_random_.below(2 * half_ - buffer->size() / kBlock);
      v->face().read(first * kBlock, *buffer, [this, alive = alive_, buffer, first](Result<void> result) {
        if (!*alive || !result) return;
        ++early_reads_;
        for (std::uint64_t i = 0; i * kBlock < buffer->size(); ++i)
          check_early(first + i, ConstBytes(*buffer).subspan(i * kBlock, kBlock));
      });
    }
    scene_.machine(host).scheduler().schedule(
        scene_.machine(host).scheduler().now() +
            Duration::microseconds(
                static_cast<std::int64_t>(50 + early_random_.below(static_cast<std::uint64_t>(pause_max_.nanoseconds / 1000)))),
        [this, alive = alive_, host, boot] {
          if (*alive) early_read(host, boot);
        });
  }
  void check_early(std::uint64_t block, ConstBytes content) {
    const bool first_half = block < half_;
    const Result<std::vector<std::uint64_t>> found =
        sim::find_sequences(content, first_half ? 1 : 2, first_half ? block : block - half_);
    const std::string where = "an early read of block " + std::to_string(block) + " of " + name_;
    if (!found) return scene_.world.fail(where + ": " + found.error().message());
    // A crash of whoever owned it may have left a torn block there, and that is then what there is.
    if (found->size() != 1 && !owner_crashed_) return scene_.world.fail(where + " is torn");
    if (std::find(found->begin(), found->end(), 0u) != found->end()) scene_.world.fail(where + " shows an absent block");
  }

  Scene& scene_;
  std::string name_;
  std::uint64_t half_;
  std::uint64_t rest_;
  Duration pause_max_;  // between two requests of a client
  sim::History by_face_;
  sim::History by_nbd_;
  Random early_random_;
  std::unique_ptr<NbdUser> user_;
  std::unique_ptr<sim::BlockClient> nbd_client_;
  std::unique_ptr<sim::BlockClient> face_client_;
  std::string face_host_;
  std::uint64_t failed_before_ = 0;
  std::uint64_t early_reads_ = 0;
  bool early_stopped_ = false;
  bool owner_crashed_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::volume
