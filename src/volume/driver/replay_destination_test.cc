// What the original's source said, played to our destination: every answer must be the one the original's destination gave, and
// the stores must end up as its stores did. How the sessions are meant to be used: testdata/silo/README.md, "Our destination".
//
// Where we answer otherwise on purpose, the scenario is named in purposes() with the rule that asks for it.

#include "volume/driver/destination_link.h"

#include <gtest/gtest.h>

#include <set>

#include "volume/driver/replay_test.h"

namespace godwit::volume::replay {
namespace {

constexpr std::uint32_t kFirstInjectedTx = 0xF0000000;  // frames that were not the original's own (README, mark-…)

using Answer = std::tuple<std::uint32_t, std::uint32_t, std::string>;            // device, txid, body
using Wish = std::tuple<PacketType, std::uint32_t, std::int64_t, std::int32_t>;  // NeedAt, DontNeedAt: device, offset, length

// What differs from the recording, and why.
struct Purpose {
  DestinationOptions options;
  std::multiset<Answer> more;  // answers that the original never gave
  bool other_content = false;  // the store holds more than the original's
  std::optional<std::uint64_t> refused_offset;
  const char* why = "";
};

Purpose purpose_of(const std::string& name) {
  Purpose purpose;
  purpose.options.take = Take::never;  // ownership.md 10.2: as a copy, nobody becomes an owner
  if (name == "dev-store-error") {
    purpose.more = {{1, 6, "8300100000"}};
    purpose.other_content = true;
    purpose.refused_offset = 8192;
    purpose.why = "silo.md 9: after a store error the other blocks go on being stored and answered";
  } else if (name == "dev-readat-refused") {
    purpose.more = {{1, 6, "82"}};
    purpose.why = "silo.md 3: exactly one answer to each request, also after a refusal";
  } else if (name == "dev-readat-plain") {
    purpose.options.config.answer_reads = true;
  } else if (name == "group-hash-only") {
    purpose.options.config.by_hash = ByHashFetch::read_by_hash;
  } else if (name == "group-needat") {
    purpose.options.early_writes = true;
  } else if (name == "group-early-handover") {
    purpose.options.take = Take::custom;
    purpose.options.post_copy = true;
  }
  return purpose;
}

// Blocks by their hash, as a chunk store or the recorded S3 had them.
class Objects final : public BlockSource {
 public:
  Objects(net::Scheduler& scheduler, const sim::RecordedSession& session) : scheduler_(scheduler) {
    for (const sim::RecordedDevice& device : session.devices) {
      const Bytes content = device.initial.make(device.size);
      for (std::uint64_t at = 0; at < device.size; at += device.block_size) {
        const ConstBytes block = ConstBytes(content).subspan(at, std::min<std::uint64_t>(device.block_size, device.size - at));
        by_hash_[sha256(block)] = to_bytes(block);
      }
    }
  }
  void fetch(const Sha256& hash, net::Done<Bytes> done) override {
    ++asked;
    const auto it = by_hash_.find(hash);
    Result<Bytes> found =
        it == by_hash_.end() ? Result<Bytes>(fail(ErrorKind::not_found, "no such object")) : Result<Bytes>(it->second);
    scheduler_.post([done = std::move(done), found = std::move(found)]() mutable { done(std::move(found)); });
  }
  int asked = 0;

 private:
  net::Scheduler& scheduler_;
  std::map<Sha256, Bytes> by_hash_;
};

class DestinationReplay final : public OurEnd, public DestinationOwner {
 public:
  DestinationReplay(const sim::RecordedSession& session, std::uint64_t seed, bool with_objects = true)
      : OurEnd(seed), session_(session), purpose_(purpose_of(session.name)), objects_(ours.scheduler(), session) {
    for (const sim::RecordedDevice& device : session.devices) {
      const Bytes content = device.base ? device.base->make(device.size) : Bytes(device.size);
      Volume& volume = add_volume(device, content, false, purpose_.refused_offset);
      volume.face().set_policy(true, purpose_.options.early_writes);
      if (device.base) volume.set_filled_with_base();
    }
    auto stream = connect(source_, [this](const FrameHeader& header, ConstBytes body) { receive(header, body); });
    link_ = std::make_unique<DestinationLink>(context(), *this, LinkId{1}, std::move(stream), purpose_.options,
                                              with_objects ? &objects_ : nullptr);
    link = link_.get();
    link_->start();
  }
  ~DestinationReplay() override { link = nullptr; }

  void run() {
    std::size_t fed = 0;
    const auto all_stops = stops();
    for (const auto& [until, operations] : all_stops) {
      feed(fed, until);
      fed = until;
      settle();
      for (const sim::RecordedOperation* operation : operations) perform(*operation);
      settle();
    }
    feed(fed, session_.frames.size());
    settle();
  }

  void check() {
    EXPECT_FALSE(closed_because) << all_notes();
    std::multiset<Answer> expected = purpose_.more;
    std::multiset<Wish> wishes;
    for (const sim::RecordedFrame& frame : session_.frames) {
      if (frame.from_source || frame.tx >= kFirstInjectedTx) continue;
      const Packet packet = decode_packet(frame.body()).value();
      if (const auto* need = std::get_if<NeedAt>(&packet))
        wishes.insert({PacketType::need_at, frame.device, need->offset, need->length});
      if (const auto* dont = std::get_if<DontNeedAt>(&packet))
        wishes.insert({PacketType::dont_need_at, frame.device, dont->offset, dont->length});
      // silo.md 11.5: as many bytes as there are; the original pads a short answer with what lay in its buffer.
      if (const auto* read = std::get_if<ReadAtResponse>(&packet)) {
        expected.insert({frame.device, frame.tx, to_hex(frame.body().first(5 + read->length))});
      } else if (is_response(static_cast<PacketType>(frame.body()[0]))) {
        expected.insert({frame.device, frame.tx, to_hex(frame.body())});
      }
    }
    EXPECT_EQ(answers_, expected) << all_notes();
    EXPECT_EQ(wishes_, wishes) << all_notes();
    EXPECT_EQ(reads_checked_, reads_expected_);
    for (std::size_t i = 0; i < session_.devices.size(); ++i) {
      const sim::RecordedDevice& device = session_.devices[i];
      EXPECT_EQ(to_hex(sha256(content_of(*volumes[i]))),
                to_hex(purpose_.other_content ? other_content(device) : device.destination_sha256))
          << device.name << "\n"
          << all_notes();
    }
    EXPECT_EQ(link_->session().counters().refused_writes, purpose_.refused_offset ? 1u : 0u);
  }

  const DestinationLink& destination() const { return *link_; }
  int objects_asked() const { return objects_.asked; }
  std::size_t reads_by_us() const { return data_asked_; }

 private:
  // Where the feeding waits for the destination's own operations: at the first frame that the recorded destination sent because
  // of them, and before what ends the first pass.
  std::vector<std::pair<std::size_t, std::vector<const sim::RecordedOperation*>>> stops() {
    std::vector<const sim::RecordedOperation*> provoking, later;
    for (const sim::RecordedOperation& operation : session_.operations) {
      if (operation.at_source || operation.op == "ReadAt packet to the source") continue;
      (operation.when == "after the first pass" ? later : provoking).push_back(&operation);
    }
    std::vector<std::pair<std::size_t, std::vector<const sim::RecordedOperation*>>> stops;
    for (std::size_t i = 0; i < session_.frames.size(); ++i) {
      const Packet packet = decode_packet(session_.frames[i].body()).value();
      const auto* event = std::get_if<Event>(&packet);
      if (!provoking.empty() && (std::holds_alternative<NeedAt>(packet) || std::holds_alternative<DontNeedAt>(packet)))
        stops.emplace_back(i, std::exchange(provoking, {}));
      // A reader that the description does not list: it wanted this block at this moment.
      if (const auto* need = std::get_if<NeedAt>(&packet); need && session_.name == "dev-concurrent") {
        sim::RecordedOperation& read = unlisted_.emplace_back();
        read.op = "local read";
        read.device = session_.frames[i].device;
        read.offset = static_cast<std::uint64_t>(need->offset);
        read.length = static_cast<std::uint64_t>(need->length);
        stops.push_back({i, {&unlisted_.back()}});
      }
      if (!later.empty() && event && event->type == EventType::completed) stops.emplace_back(i, std::exchange(later, {}));
    }
    EXPECT_TRUE(provoking.empty() && later.empty());
    return stops;
  }

  void feed(std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < to; ++i) {
      const sim::RecordedFrame& frame = session_.frames[i];
      // What the source answered to the recorded destination's own requests is not for ours.
      const bool answers_a_pull = std::holds_alternative<ReadByHashResponse>(decode_packet(frame.body()).value()) ||
                                  std::holds_alternative<ReadByHashResponseErr>(decode_packet(frame.body()).value());
      if (frame.from_source && !answers_a_pull) source_.send(frame.bytes);
    }
  }

  void perform(const sim::RecordedOperation& operation) {
    Volume& volume = *volumes[operation.device - 1];
    buffers_.emplace_back(operation.length);
    Bytes& buffer = buffers_.back();
    if (operation.op == "local write") {
      buffer = sim::recorded_bytes(*operation.seed, operation.length);
      ++reads_expected_;
      return volume.face().write(operation.offset, buffer, store::Durability::written, [this](Result<void> result) {
        EXPECT_TRUE(result);
        ++reads_checked_;
      });
    }
    ASSERT_EQ(operation.op, "local read");
    ++reads_expected_;
    volume.face().read(operation.offset, buffer, [this, &buffer, &operation](Result<void> result) {
      EXPECT_TRUE(result);
      EXPECT_TRUE(!operation.sha256_read || sha256(buffer) == *operation.sha256_read) << "read at " << operation.offset;
      ++reads_checked_;
    });
  }

  void receive(const FrameHeader& header, ConstBytes body) {
    const Packet packet = decode_packet(body).value();
    if (const auto* need = std::get_if<NeedAt>(&packet)) {
      wishes_.insert({PacketType::need_at, header.device.value, need->offset, need->length});
    } else if (const auto* dont = std::get_if<DontNeedAt>(&packet)) {
      wishes_.insert({PacketType::dont_need_at, header.device.value, dont->offset, dont->length});
    } else if (const auto* pull = std::get_if<ReadByHash>(&packet)) {
      ++data_asked_;
      answer_pull(header, pull->hash);
    } else if (const auto* read = std::get_if<ReadAt>(&packet)) {
      ++data_asked_;
      Bytes content = session_.find_device(header.device.value)->initial.make(session_.find_device(header.device.value)->size);
      const auto length = static_cast<std::uint32_t>(read->length);
      source_.send(header.device, header.tx,
                   ReadAtResponse{length, ConstBytes(content).subspan(static_cast<std::size_t>(read->offset), length)});
    } else {
      EXPECT_TRUE(is_response(static_cast<PacketType>(body[0]))) << to_hex(body);
      answers_.insert({header.device.value, header.tx.value, to_hex(body)});
    }
  }

  void answer_pull(const FrameHeader& header, const Sha256& hash) {
    for (const sim::RecordedFrame& frame : session_.frames) {
      const Packet packet = decode_packet(frame.body()).value();
      if (const auto* found = std::get_if<ReadByHashResponse>(&packet); found && sha256(found->payload) == hash)
        return source_.send(header.device, header.tx, *found);
    }
    source_.send(header.device, header.tx, ReadByHashResponseErr{"block not found"});
  }

  // dev-store-error: everything the source sent but the block that could not be stored.
  Sha256 other_content(const sim::RecordedDevice& device) const {
    Bytes content = device.initial.make(device.size);
    const auto hole = content.begin() + static_cast<std::ptrdiff_t>(*purpose_.refused_offset);
    std::fill(hole, hole + device.block_size, std::byte{0});
    return sha256(content);
  }

  LocalHost local_host() const override { return me; }
  void handle_link_up(ControlLink&) override { ADD_FAILURE() << "an original was taken for a godwit"; }
  void handle_control(ControlLink&, const ControlMessage&) override { ADD_FAILURE(); }
  void handle_link_closed(ControlLink&, std::optional<Error> error) override { closed_because = error ? error->message() : ""; }
  void note(NoteLevel, std::string text) override { notes.push_back(std::move(text)); }
  void open_copies(DestinationLink&, const std::vector<DeviceGroupInfo::Entry>& devices,
                   net::Done<std::vector<Volume*>> done) override {
    std::vector<Volume*> opened;
    for (const auto& entry : devices) {
      const sim::RecordedDevice* device = session_.find_device(entry.device.value);
      ASSERT_NE(device, nullptr);
      EXPECT_EQ(entry.info.size, device->size);
      EXPECT_EQ(entry.info.block_size, device->block_size);
      EXPECT_EQ(entry.info.name, device->name);
      opened.push_back(volumes[static_cast<std::size_t>(device - session_.devices.data())].get());
    }
    ours.scheduler().post([done = std::move(done), opened = std::move(opened)]() mutable { done(std::move(opened)); });
  }
  void handle_states(DestinationLink&, const std::map<DeviceId, ControlMessage>&,
                     const std::vector<DeviceGroupInfo::Entry>&) override {
    ADD_FAILURE();
  }
  void handle_original_completed(DestinationLink&, Volume&, bool) override {}

  const sim::RecordedSession& session_;
  Purpose purpose_;
  Objects objects_;
  FakePeer source_;
  std::unique_ptr<DestinationLink> link_;
  std::deque<Bytes> buffers_;
  std::deque<sim::RecordedOperation> unlisted_;
  std::multiset<Answer> answers_;
  std::multiset<Wish> wishes_;
  std::size_t reads_expected_ = 0, reads_checked_ = 0, data_asked_ = 0;
};

TEST(ReplayDestination, AnswersEveryRecordedSourceAsTheOriginalDid) {
  for (const sim::RecordedSession& session : all_sessions(GODWIT_TESTDATA)) {
    for (const std::uint64_t seed : sim::scenario_seeds(3)) {
      SCOPED_TRACE(session.name + ", seed " + std::to_string(seed));
      DestinationReplay replay(session, seed);
      replay.run();
      replay.check();
    }
  }
}

sim::RecordedSession session_named(const std::string& name) {
  for (sim::RecordedSession& session : all_sessions(GODWIT_TESTDATA))
    if (session.name == name) return std::move(session);
  ADD_FAILURE() << "no session " << name;
  return {};
}

TEST(ReplayDestination, WhatTheBlockSourceHasIsNotAskedFromTheSource) {
  const sim::RecordedSession session = session_named("group-s3-assist");
  DestinationReplay replay(session, 1);
  replay.run();
  replay.check();
  EXPECT_EQ(replay.objects_asked(), 9);
  EXPECT_EQ(replay.reads_by_us(), 0u);
}

// silo.md 8.2: the original fails here; ours reads from the source. The dirty round overtakes some of it.
TEST(ReplayDestination, WithoutTheObjectsBlocksAnnouncedByHashAreReadFromTheSource) {
  const sim::RecordedSession session = session_named("group-s3-assist");
  for (const std::uint64_t seed : sim::scenario_seeds(20)) {
    SCOPED_TRACE(seed);
    DestinationReplay replay(session, seed, false);
    replay.run();
    replay.check();
    EXPECT_EQ(replay.reads_by_us(), 9u);
  }
}

// The notes of dev-mapped say what its destination's map held, and that 5 was taken out then.
TEST(ReplayDestination, TheAddressesOfASparseStorageArriveWithItsBlocks) {
  const sim::RecordedSession session = session_named("dev-mapped");
  DestinationReplay replay(session, 1);
  replay.run();
  replay.check();
  const std::map<std::uint64_t, std::uint64_t> expected = {
      {0x7f0000001000, 0}, {0x7f0000001400, 1}, {0x1122334455667788, 2}, {0xffffffffffffffff, 4}};
  EXPECT_EQ(replay.volumes.front()->addresses(), expected);
}

TEST(ReplayDestination, ASourceThatOnlyNamesHashesIsAskedForEachBlockOnce) {
  const sim::RecordedSession session = session_named("group-hash-only");
  DestinationReplay replay(session, 1, false);
  replay.run();
  replay.check();
  EXPECT_EQ(replay.reads_by_us(), 5u);
}

}  // namespace
}  // namespace godwit::volume::replay
