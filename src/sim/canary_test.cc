// Does the simulator find bugs? A toy server that writes every block to its own disk and to a backup's before it acknowledges,
// with mistakes that can be switched on. Each must be found within the seeds, and without them every seed must pass.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>

#include "base/cursor.h"
#include "sim/history.h"
#include "sim/host.h"

namespace godwit::sim {
namespace {

constexpr std::uint64_t kBlockBytes = 1024;
constexpr std::uint64_t kBlocks = 16;

enum class Mistake {
  none,
  acknowledges_before_flush,
  takes_one_read_for_one_message,
  writes_without_waiting_for_the_disk,
};

enum class Op : std::uint8_t { write = 1, read, done };

struct Message {
  Op op = Op::done;
  std::uint64_t block = 0;
  Bytes content = Bytes(kBlockBytes);
};
constexpr std::size_t kMessageBytes = 1 + 8 + kBlockBytes;

// Messages over a stream. Calls `handle` for each that comes, and with nothing when the stream ends.
class Channel {
 public:
  using Handle = std::function<void(std::optional<Message>)>;
  Channel(std::unique_ptr<net::Stream> stream, bool one_read, Handle handle)
      : stream_(std::move(stream)), one_read_(one_read), handle_(std::move(handle)) {
    read();
  }

  void send(const Message& message) {
    Writer writer(waiting_);
    writer.u8(static_cast<std::uint8_t>(message.op));
    writer.u64_le(message.block);
    writer.bytes(message.content);
    write();
  }

 private:
  void read() {
    const MutableBytes into[] = {room_};
    stream_->read(into, [this](Result<std::size_t> count) {
      if (!count || *count == 0) return tell(std::nullopt);
      append(received_, ConstBytes(room_).first(*count));
      if (one_read_ && received_.size() < kMessageBytes) received_.resize(kMessageBytes);
      const std::weak_ptr<bool> alive = alive_;  // take() may destroy this
      while (!alive.expired() && received_.size() >= kMessageBytes) take();
      if (!alive.expired()) read();
    });
  }
  void take() {
    Cursor cursor(received_);
    Message message;
    message.op = static_cast<Op>(cursor.u8());
    message.block = cursor.u64_le() % kBlocks;
    message.content = to_bytes(cursor.take(kBlockBytes));
    received_.erase(received_.begin(), received_.begin() + kMessageBytes);
    tell(std::move(message));
  }
  void tell(std::optional<Message> message) {
    const Handle handle = handle_;  // It may destroy this.
    handle(std::move(message));
  }
  void write() {
    if (writing_ || waiting_.empty()) return;
    writing_ = true;
    sending_ = std::exchange(waiting_, {});
    const ConstBytes from[] = {sending_};
    stream_->write(from, [this](Result<void>) {
      writing_ = false;
      write();
    });
  }

  std::unique_ptr<net::Stream> stream_;
  const bool one_read_;
  Handle handle_;
  bool writing_ = false;
  Bytes room_ = Bytes(5000), received_, waiting_, sending_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>();
};

// Serves one client at a time. The primary forwards writes to the backup, which is a server without one.
class Server {
 public:
  Server(Host& host, std::string backup, Mistake mistake)
      : host_(host), network_(host.network()), backup_name_(std::move(backup)), mistake_(mistake) {
    host.directory().open_device("v", false, [this](Result<std::unique_ptr<store::BlockDevice>> device) {
      if (device) return start(std::move(*device));
      host_.directory().create_device("v", kBlocks * kBlockBytes, [this](Result<std::unique_ptr<store::BlockDevice>> made) {
        if (made) start(std::move(*made));
      });
    });
  }

 private:
  void start(std::unique_ptr<store::BlockDevice> device) {
    device_ = std::move(device);
    listener_ = network_
                    .listen({"", 80, {}},
                            [this](std::unique_ptr<net::Stream> stream) {
                              backup_.reset();
                              client_.reset();
                              asked_.reset();
                              parts_missing_ = 0;
                              ++session_;
                              client_ = make_channel(std::move(stream), [this](const Message& m) { from_client(m); });
                              if (!backup_name_.empty()) connect_backup();
                            })
                    .value();
  }
  void connect_backup() {
    network_.connect({backup_name_, 80, {}}, [this, session = session_](Result<std::unique_ptr<net::Stream>> stream) {
      if (session != session_) return;
      if (!stream) return client_.reset();
      backup_ = make_channel(std::move(*stream), [this](const Message& m) { finish_part(m.block); });
      if (asked_) from_client(*std::exchange(asked_, std::nullopt));
    });
  }
  std::unique_ptr<Channel> make_channel(std::unique_ptr<net::Stream> stream, std::function<void(const Message&)> handle) {
    const bool one_read = mistake_ == Mistake::takes_one_read_for_one_message;
    return std::make_unique<Channel>(std::move(stream), one_read,
                                     [this, handle = std::move(handle)](std::optional<Message> message) {
                                       if (message) return handle(*message);
                                       backup_.reset();
                                       client_.reset();
                                     });
  }

  void from_client(const Message& message) {
    if (!backup_name_.empty() && !backup_) {
      asked_ = message;
      return;
    }
    auto asked = std::make_shared<Message>(message);
    const std::uint64_t offset = message.block * kBlockBytes;
    if (message.op == Op::read) {
      device_->read(offset, asked->content, [this, asked, session = session_](Result<void> result) {
        if (result) answer(*asked, session);
      });
      return;
    }
    parts_missing_ = backup_name_.empty() ? 1 : 2;
    if (backup_) backup_->send(message);
    if (mistake_ == Mistake::writes_without_waiting_for_the_disk) finish_part(message.block);
    device_->write(offset, asked->content, store::Durability::written, [this, asked, session = session_](Result<void> result) {
      if (!result || mistake_ == Mistake::writes_without_waiting_for_the_disk) return;
      if (mistake_ == Mistake::acknowledges_before_flush) {
        if (session == session_) finish_part(asked->block);
        return;
      }
      device_->flush([this, asked, session](Result<void> flushed) {
        if (flushed && session == session_) finish_part(asked->block);
      });
    });
  }
  void finish_part(std::uint64_t block) {
    if (parts_missing_ == 0 || --parts_missing_ > 0) return;
    Message done;
    done.block = block;
    answer(done, session_);
  }
  void answer(Message message, std::uint64_t session) {
    message.op = Op::done;
    if (client_ && session == session_) client_->send(message);
  }

  Host& host_;
  net::Network& network_;
  const std::string backup_name_;
  const Mistake mistake_;
  std::unique_ptr<store::BlockDevice> device_;
  std::unique_ptr<net::Listener> listener_;
  std::unique_ptr<Channel> client_, backup_;
  std::optional<Message> asked_;  // before the backup was there
  std::uint64_t session_ = 0;
  int parts_missing_ = 0;
};

// One operation after another; connects again whenever that fails.
class Client {
 public:
  Client(Host& host, History& history) : host_(host), history_(history), random_(host.world().random().fork()) { connect(); }
  std::uint64_t count_done() const { return done_; }
  // From now on it reads block by block.
  void check() { checked_.emplace(0); }
  bool is_checked() const { return checked_ && *checked_ >= kBlocks; }

 private:
  void connect() {
    host_.network().connect({"primary", 80, {}}, [this](Result<std::unique_ptr<net::Stream>> stream) {
      if (!stream) return again();
      channel_ = std::make_unique<Channel>(std::move(*stream), false, [this](std::optional<Message> m) { handle(std::move(m)); });
      next();
    });
  }
  void again() {
    host_.scheduler().schedule(host_.scheduler().now() + Duration::milliseconds(5), [this] { connect(); });
  }
  void next() {
    Message message;
    message.op = checked_ || random_.chance(0.4) ? Op::read : Op::write;
    message.block = checked_ ? std::min(*checked_, kBlocks - 1) : random_.below(kBlocks);
    reading_ = message.op == Op::read;
    operation_ = reading_ ? history_.begin_read(message.block, 1) : history_.begin_write(message.block, message.content);
    channel_->send(message);
  }
  void handle(std::optional<Message> message) {
    const bool verifying = checked_ && reading_ && message && message->block == *checked_;
    if (reading_ && message)
      history_.end_read(operation_, message->content);
    else if (reading_)
      history_.end_read_failed(operation_);
    else
      history_.end_write(operation_, message.has_value(), true);
    done_ += message.has_value();
    if (verifying) ++*checked_;
    if (message) return next();
    channel_.reset();
    again();
  }

  Host& host_;
  History& history_;
  Random random_;
  std::unique_ptr<Channel> channel_;
  std::uint64_t operation_ = 0, done_ = 0;
  bool reading_ = false;
  std::optional<std::uint64_t> checked_;
};

struct Outcome {
  std::string report;
  std::uint64_t trace_hash = 0;
  std::uint64_t operations = 0;
  std::uint64_t steps = 0;
};

Outcome run_scenario(std::uint64_t seed, Mistake mistake) {
  World world(seed, {.steps_max = 2'000'000, .trace_lines = 30});
  Fabric fabric(world);
  Host primary(fabric, "primary"), backup(fabric, "backup"), user(fabric, "user");
  History history(world, 1, kBlockBytes);
  backup.run([&](Host& host) { return std::make_shared<Server>(host, "", Mistake::none); });
  primary.run([&](Host& host) { return std::make_shared<Server>(host, "backup", mistake); });
  const auto client = std::make_shared<Client>(user, history);

  for (int fault = 0; fault < 4 && !world.failed(); ++fault) {
    world.run_for(Duration::milliseconds(static_cast<std::int64_t>(1 + world.random().below(200))));
    const std::uint64_t dice = world.random().below(3);
    Host& victim = dice == 0 ? primary : backup;
    if (dice == 2) {
      fabric.cut("primary", world.random().chance(0.5) ? "user" : "backup");
      continue;
    }
    victim.crash();
    if (dice == 0) history.power_loss();
    world.run_for(Duration::milliseconds(static_cast<std::int64_t>(world.random().below(50))));
    victim.restart();
  }
  client->check();
  if (!world.run_until([&] { return client->is_checked(); }, Duration::seconds(60)) && !world.failed())
    world.fail("the client could not read everything back");
  return {world.report(), world.trace_hash(), client->count_done(), world.steps()};
}

TEST(Canary, ACorrectServerPassesEverySeed) {
  std::uint64_t operations = 0;
  const Seeds seeds = scenario_seeds(150);
  for (const std::uint64_t seed : seeds) {
    const Outcome outcome = run_scenario(seed, Mistake::none);
    ASSERT_EQ(outcome.report, "");
    operations += outcome.operations;
  }
  EXPECT_GT(operations, seeds.count * 50) << "the scenario does too little to mean anything";
}

TEST(Canary, PlantedMistakesAreFound) {
  const struct {
    const char* name;
    Mistake mistake;
  } rows[] = {{"acknowledges before the flush", Mistake::acknowledges_before_flush},
              {"takes one read for one message", Mistake::takes_one_read_for_one_message},
              {"does not wait for the disk", Mistake::writes_without_waiting_for_the_disk}};
  for (const auto& row : rows) {
    std::uint64_t seed = 1;
    while (seed < 100 && run_scenario(seed, row.mistake).report.empty()) ++seed;
    EXPECT_LT(seed, 100) << row.name;
    RecordProperty(row.name, static_cast<int>(seed));
  }
}

TEST(Canary, ASeedRepeatsARunAndAnotherSeedIsAnotherRun) {
  for (const std::uint64_t seed : scenario_seeds(5)) {
    for (const Mistake mistake : {Mistake::none, Mistake::acknowledges_before_flush}) {
      const Outcome once = run_scenario(seed, mistake), again = run_scenario(seed, mistake);
      RecordProperty("trace " + std::to_string(seed), std::to_string(once.trace_hash));  // the same in every process
      EXPECT_EQ(once.trace_hash, again.trace_hash);
      EXPECT_EQ(once.steps, again.steps);
      EXPECT_EQ(once.report, again.report);
      EXPECT_NE(once.trace_hash, run_scenario(seed + 1, mistake).trace_hash);
    }
  }
}

}  // namespace
}  // namespace godwit::sim
