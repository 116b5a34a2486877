// Our source against a destination that answers as the original's recorded one did: what we send must be what the original's
// source sent, in the order that matters, and make the image that its destination had. How the sessions are meant to be used:
// testdata/silo/README.md, "Our source". Where ours sends otherwise on purpose, the scenario is named in purposes_of() with the
// reason.
//
// Everywhere: zeros go as one frame for a run of blocks, and a block whose compressed form is no shorter goes raw (silo.md 6.5),
// so all forms with data count as one kind and runs are compared block by block; an empty DirtyList, an empty RemoveFromMap and a
// second RemoveDev say nothing and are never sent; a lone device gets an empty sub-type 3 like a group's, because its answer
// tells who is there before the first block (silo.md 13); our devices are numbered from 1.

#include <gtest/gtest.h>

#include <set>

#include "volume/core/block_form.h"
#include "volume/driver/replay_test.h"
#include "volume/driver/source_link.h"

namespace godwit::volume::replay {
namespace {

// One thing sent: device, what, where, and the bytes (or numbers) as text.
using Sent = std::tuple<std::uint32_t, std::string, std::uint64_t, std::string>;

struct Purpose {
  SourceOptions options;
  std::set<std::string> not_sent;  // kinds that the original sent and ours does not
  std::set<std::string> more;      // kinds that the original did not send
  bool same_blocks = true;         // the multiset of what is sent is the recorded one
  bool fails = false;              // the move ends in an error
  const char* why = "";
};

Purpose purpose_of(const sim::RecordedSession& session) {
  Purpose p;
  p.options.config.blocks_in_flight_original = static_cast<std::uint32_t>(session.concurrency);
  p.options.config.dirty_threshold_blocks = 0;
  p.options.config.lone_device = session.level == "devinfo";
  p.options.forms.form = session.form == "rle"      ? WriteForm::rle
                         : session.form == "gzip"   ? WriteForm::gzip
                         : session.form == "zeroes" ? WriteForm::zeroes
                                                    : WriteForm::raw;
  const std::string& name = session.name;
  if (session.order.starts_with("none")) {
    p.same_blocks = false;
    p.why = "what is dirty when depends on the writer's time";
  } else if (name == "group-hash-only") {
    p.options.forms.hash_only = true;
  } else if (name == "group-early-handover") {
    p.options.config.legacy = LegacyHandOver::custom;
    p.same_blocks = false;
    p.why =
        "ours hands over when few blocks are dirty, not in the midst of the first pass; and asking the store for its holes "
        "tracks blocks before they are read (silo.md 6.2), so block 7 is dirty too";
  } else if (name == "group-custom-events" || name == "mark-question-unanswered") {
    p.not_sent = {"event 5"};
    p.why = "Custom/0 means nothing without a hand-over (ownership.md 10.1)";
  } else if (name == "dev-writer") {
    p.options.config.lock_events = true;
  } else if (name == "dev-hashes") {
    p.options.config.hashes = true;
    p.not_sent = {"empty hashes"};
    p.why = "an empty manifest says nothing";
  } else if (name == "dev-store-error") {
    p.fails = true;
    p.same_blocks = false;
    p.why = "silo.md 9: after an 0x84 an original answers nothing more, so ours sends nothing more and fails";
  } else if (name == "dev-readat-plain" || name == "dev-readat-refused") {
    p.options.config.remove_devices = name == "dev-readat-refused";
    p.not_sent = {"ReadAt"};
    p.why = "a source needs nothing from a destination's store (silo.md 5.1)";
  } else if (name == "cli-continuous") {
    p.more = {"event 4"};
    p.why = "ours ends with Completed";
  } else if (name == "group-continuous") {
    p.why = "ours ends at Completed; what the recorded one sent after its first is left out";
  }
  return p;
}

class SourceReplay final : public OurEnd, public LinkOwner {
 public:
  SourceReplay(const sim::RecordedSession& session, std::uint64_t seed, bool mark)
      : OurEnd(seed), session_(session), purpose_(purpose_of(session)) {
    purpose_.options.mark = mark;
    if (session.name == "group-s3-assist") remember_alternates();
    if (session.name == "dev-mapped") remember_addresses();
    for (const sim::RecordedDevice& device : session.devices) {
      Volume& volume = add_volume(device, device.initial.make(device.size), true);
      images_.push_back(device.base ? device.base->make(device.size) : Bytes(device.size));
      base_.emplace_back(volume.geometry().block_count());
      if (device.base) base_.back().set_range(0, volume.geometry().block_count());
    }
    purpose_.options.of_volume = [this](const Volume& volume) { return special_of(volume); };
    perform("before the ");
    EXPECT_TRUE(world.run_until([&] { return to_write_.empty(); }, Duration::seconds(10)));
    auto stream = connect(destination_, [this](const FrameHeader& header, ConstBytes body) { receive(header, body); });
    link_ =
        std::make_unique<SourceLink>(context(), *this, LinkId{1}, std::move(stream), pointers(), purpose_.options, Random(seed));
    link = link_.get();
    link_->start();
  }
  ~SourceReplay() override { link = nullptr; }

  void run() {
    if (writes_freely())
      for (const sim::RecordedOperation& operation : session_.operations)
        if (operation.at_source) write(operation);
    settle();
    settle();
    ask_after_completed();
    settle();
  }

  void check() {
    EXPECT_EQ(has_failed_, purpose_.fails) << all_notes();
    if (purpose_.fails) {
      EXPECT_EQ(completed_, 0u);
      return;
    }
    EXPECT_EQ(completed_, session_.devices.size()) << all_notes();
    if (purpose_.same_blocks) {
      for (auto it = sent_.begin(); it != sent_.end();)
        it = purpose_.more.contains(std::get<1>(*it)) ? sent_.erase(it) : std::next(it);
      EXPECT_EQ(sent_, recorded()) << all_notes();
    }
    for (std::size_t i = 0; i < session_.devices.size(); ++i) {
      const Sha256 expected = session_.name == "group-needat" ? image_needed(i) : session_.devices[i].source_sha256;
      if (session_.name == "group-continuous") {
        EXPECT_EQ(images_[i], content_of(*volumes[i])) << "whatever was written before Completed";
      } else {
        EXPECT_EQ(to_hex(sha256(images_[i])), to_hex(expected)) << all_notes();
        EXPECT_EQ(to_hex(sha256(content_of(*volumes[i]))), to_hex(session_.devices[i].source_sha256));
      }
    }
    EXPECT_TRUE(asked_.empty()) << "requests of the destination that were never answered";
    EXPECT_EQ(lock_events_,
              session_.name == "dev-writer" ? (std::vector<int>{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1}) : std::vector<int>());
    const bool given_away = volumes[0]->ownership().durable_record().state == CopyState::relinquished;
    EXPECT_EQ(given_away, session_.name == "group-early-handover");
  }

 private:
  std::vector<Volume*> pointers() {
    std::vector<Volume*> all;
    for (auto& volume : volumes) all.push_back(volume.get());
    return all;
  }
  std::size_t index_of(const Volume& volume) const {
    std::size_t i = 0;
    while (volumes[i].get() != &volume) ++i;
    return i;
  }
  // Recorded devices are found by their place: ours are numbered from 1.
  std::uint32_t our_number(std::uint32_t recorded_id) const {
    return static_cast<std::uint32_t>(session_.find_device(recorded_id) - session_.devices.data()) + 1;
  }

  void remember_alternates() {
    for (const sim::RecordedFrame& frame : session_.frames) {
      const Packet packet = decode_packet(frame.body()).value();
      if (const auto* sources = std::get_if<AlternateSources>(&packet))
        for (const auto& entry : sources->sources) alternates_[static_cast<std::uint64_t>(entry.offset)] = entry;
    }
  }
  // As the notes of the recorded operations say; map blocks of 1 KiB.
  void remember_addresses() {
    const std::string before_id = "before the migration, as map id ";
    addresses_.emplace(1024);
    for (const sim::RecordedOperation& operation : session_.operations)
      if (operation.when.starts_with(before_id))
        addresses_->put(std::stoull(operation.when.substr(before_id.size()), nullptr, 16), operation.offset / 1024);
    EXPECT_EQ(addresses_->size(), 5u);
  }
  // 99 was never there; the recorded source names it all the same.
  void remove_addresses() {
    addresses_->remove(5);
    link_->handle_addresses_removed(*volumes[0], {5, 99});
  }
  SourceVolumeOptions special_of(const Volume& volume) {
    SourceVolumeOptions special;
    special.alternates = alternates_;
    if (addresses_) special.addresses = &*addresses_;
    const std::size_t i = index_of(volume);
    if (session_.devices[i].base) special.base_blocks = [this, i] { return base_[i]; };
    return special;
  }

  // --- what happens at the source ---

  bool writes_freely() const { return session_.order.starts_with("none"); }

  // As the original's writer did: each begins when the one before it has ended. Two writes of the same bytes under way together
  // have no order, and the recorded contents are those of one.
  void write(const sim::RecordedOperation& operation) {
    to_write_.push_back(&operation);
    if (to_write_.size() == 1) write_next();
  }
  void write_next() {
    const sim::RecordedOperation& operation = *to_write_.front();
    const std::size_t i = our_number(operation.device) - 1;
    buffers_.push_back(operation.seed ? sim::recorded_bytes(*operation.seed, operation.length)
                                      : to_bytes(ConstBytes(session_.devices[i].initial.make(session_.devices[i].size))
                                                     .subspan(operation.offset, operation.length)));
    const Geometry geometry = volumes[i]->geometry();
    const BlockIndex last = geometry.block_at(operation.offset + operation.length - 1);
    for (BlockIndex b = geometry.block_at(operation.offset); b <= last; ++b) base_[i].clear(b.value);
    volumes[i]->face().write(operation.offset, buffers_.back(), store::Durability::written, [this](Result<void> result) {
      EXPECT_TRUE(result);
      to_write_.pop_front();
      ++written_;
      std::erase_if(after_writes_, [this](auto& waiting) {
        if (written_ >= waiting.first) world.schedule(Duration{}, waiting.second);
        return written_ >= waiting.first;
      });
      if (!to_write_.empty()) write_next();
    });
  }
  // Calls back once `count` writes have ended since the beginning.
  void after_writes(std::size_t count, std::function<void()> then) {
    if (written_ >= count) return then();
    after_writes_.emplace_back(count, std::move(then));
  }
  void after_all_writes(std::function<void()> then) { after_writes(written_ + to_write_.size(), std::move(then)); }
  // Those whose moment begins so; each once. Returns whether there was one.
  bool perform(const std::string& when) {
    bool any = false;
    for (const sim::RecordedOperation& operation : session_.operations) {
      if (!operation.at_source || !operation.when.starts_with(when) || !performed_.insert(&operation).second) continue;
      write(operation);
      any = true;
    }
    return any;
  }

  void perform_exactly(const std::string& when) {
    for (const sim::RecordedOperation& operation : session_.operations)
      if (operation.at_source && operation.when == when && performed_.insert(&operation).second) write(operation);
  }

  // --- the destination ---

  void receive(const FrameHeader& header, ConstBytes body) {
    const Packet packet = decode_packet(body).value();
    check_order(header, packet);
    if (const auto* group = std::get_if<DeviceGroupInfo>(&packet)) return check_announcement(*group);
    if (const auto* info = std::get_if<DevInfo>(&packet)) return check_announcement(DeviceGroupInfo{{{header.device, *info}}});
    if (is_response(static_cast<PacketType>(body[0]))) return take_answer(header, body);
    note_sent(header.device.value, packet, sent_);
    answer(header, packet);
  }

  void check_announcement(const DeviceGroupInfo& group) {
    ASSERT_EQ(group.devices.size(), session_.devices.size());
    for (const auto& entry : group.devices) {
      const sim::RecordedDevice& device = session_.devices[entry.device.value - 1];
      EXPECT_EQ(entry.info.name, device.name);
      EXPECT_EQ(entry.info.size, device.size);
      EXPECT_EQ(entry.info.block_size, device.block_size);
      EXPECT_EQ(find_mark(entry.info.schema).has_value(), purpose_.options.mark);
    }
  }

  // README: DeviceGroupInfo first; sub-type 3 answered before the first data; DirtyLists answered before their blocks; Completed
  // last, one device after another.
  void check_order(const FrameHeader& header, const Packet& packet) {
    const bool announces = std::holds_alternative<DeviceGroupInfo>(packet) || std::holds_alternative<DevInfo>(packet);
    EXPECT_EQ(announces, !std::exchange(announced_, true)) << "the announcement is the first frame, and the only one of its kind";
    const bool moves = std::holds_alternative<WriteData>(packet) || std::holds_alternative<WriteByHash>(packet) ||
                       std::holds_alternative<WriteAtWithMap>(packet);
    if (moves) {
      EXPECT_TRUE(have_answered_.contains(header.device.value));
      EXPECT_FALSE(list_unanswered_.contains(header.device.value));
      EXPECT_EQ(completed_ + completing_, 0u) << "data after Completed";
    }
    const auto* event = std::get_if<Event>(&packet);
    if (event && event->type == EventType::completed) {
      EXPECT_EQ(completing_, 0u) << "one device after another";
      ++completing_;
    }
  }

  // Blocks and lists as comparable values, the same for what is recorded and for what we send.
  void note_sent(std::uint32_t device, const Packet& packet, std::multiset<Sent>& into) const {
    const std::uint64_t bs = session_.devices[device == 0 ? 0 : device - 1].block_size;
    if (const auto* data = std::get_if<WriteData>(&packet)) {
      Bytes plain(decoded_length(*data, 64 << 20).value());
      ASSERT_TRUE(decode_form(*data, plain));
      for (std::uint64_t at = 0; at < plain.size(); at += bs)
        into.insert({device, "data", static_cast<std::uint64_t>(data->offset) + at,
                     to_hex(sha256(ConstBytes(plain).subspan(at, std::min(bs, plain.size() - at))))});
    } else if (const auto* mapped = std::get_if<WriteAtWithMap>(&packet)) {
      std::set<std::string> entries;
      for (const auto& entry : mapped->map) entries.insert(fmt::format("{:x}->{}", entry.id, entry.location));
      into.insert({device, "mapped", static_cast<std::uint64_t>(mapped->offset),
                   fmt::format("{} {}", to_hex(sha256(mapped->payload)), fmt::join(entries, " "))});
    } else if (const auto* hash = std::get_if<WriteByHash>(&packet)) {
      into.insert({device, "hash", static_cast<std::uint64_t>(hash->offset), to_hex(hash->hash)});
    } else if (const auto* have = std::get_if<AlreadyHave>(&packet)) {
      if (session_.level == "group" || !have->blocks.empty())
        into.insert({device, "have", 0, fmt::format("{}", fmt::join(have->blocks, " "))});
    } else if (const auto* dirty = std::get_if<DirtyList>(&packet)) {
      if (!dirty->blocks.empty()) into.insert({device, "dirty", 0, fmt::format("{}", fmt::join(dirty->blocks, " "))});
    } else if (const auto* event = std::get_if<Event>(&packet)) {
      into.insert({device, "event " + std::to_string(static_cast<int>(event->type)), 0, to_hex(event->payload)});
    } else if (const auto* hashes = std::get_if<Hashes>(&packet)) {
      std::set<std::string> entries;
      for (const auto& entry : hashes->blocks) entries.insert(std::to_string(entry.block) + "=" + to_hex(entry.hash));
      into.insert({device, entries.empty() ? "empty hashes" : "hashes", 0, fmt::format("{}", fmt::join(entries, " "))});
    } else if (const auto* sources = std::get_if<AlternateSources>(&packet)) {
      std::set<std::string> entries;
      for (const auto& entry : sources->sources)
        entries.insert(fmt::format("{} {} {} {}", entry.offset, entry.length, to_hex(entry.hash), entry.location));
      into.insert({device, "alternates", 0, fmt::format("{}", fmt::join(entries, "\n"))});
    } else if (std::holds_alternative<ReadAt>(packet)) {
      into.insert({device, "ReadAt", 0, ""});
    } else if (std::holds_alternative<RemoveDev>(packet)) {
      // Honoured once (silo.md 5.11): the recorded source's second one says nothing.
      const Sent removed = {device, "RemoveDev", 0, ""};
      if (!into.contains(removed)) into.insert(removed);
    } else if (const auto* unmap = std::get_if<RemoveFromMap>(&packet)) {
      if (!unmap->ids.empty()) into.insert({device, "RemoveFromMap", 0, fmt::format("{}", fmt::join(unmap->ids, " "))});
    }
  }

  std::multiset<Sent> recorded() const {
    std::multiset<Sent> all;
    for (const sim::RecordedFrame& frame : session_.frames) {
      if (!frame.from_source) continue;
      const Packet packet = decode_packet(frame.body()).value();
      note_sent(frame.device == 0 ? 0 : our_number(frame.device), packet, all);
      const auto* event = std::get_if<Event>(&packet);
      if (session_.name == "group-continuous" && event && event->type == EventType::completed) break;
    }
    for (auto it = all.begin(); it != all.end();)
      it = purpose_.not_sent.contains(std::get<1>(*it)) ? all.erase(it) : std::next(it);
    return all;
  }

  void answer(const FrameHeader& header, const Packet& packet) {
    const std::uint32_t device = header.device.value;
    if (std::holds_alternative<WriteData>(packet) || std::holds_alternative<WriteByHash>(packet) ||
        std::holds_alternative<WriteAtWithMap>(packet))
      return answer_block(header, packet);
    if (const auto* have = std::get_if<AlreadyHave>(&packet)) {
      have_answered_.insert(device);
      if (session_.name == "mark-reply-to-original-source") play_injected_reply();
      return destination_.send(header.device, header.tx,
                               WriteAtResponse{static_cast<std::uint32_t>(have->blocks.size() * have->block_size)});
    }
    if (std::holds_alternative<DirtyList>(packet)) {
      // Held for a while: no block may come before the answer. A free writer ends in this round.
      list_unanswered_.insert(device);
      const auto respond = [this, header] {
        list_unanswered_.erase(header.device.value);
        destination_.send(header.device, header.tx, DirtyListResponse{});
      };
      world.schedule(Duration::milliseconds(1), [this, respond] { after_all_writes(respond); });
      return;
    }
    if (std::holds_alternative<Hashes>(packet)) {
      perform("after the Hashes packet");
      after_all_writes([this, header] { destination_.send(header.device, header.tx, HashesResponse{}); });
      return;
    }
    const auto* event = std::get_if<Event>(&packet);
    if (!event) return;
    if (event->type == EventType::completed) {
      ++completed_;
      --completing_;
    } else if (event->type == EventType::custom) {
      play_requests();
    } else {
      lock_events_.push_back(static_cast<int>(event->type));
    }
    destination_.send(header.device, header.tx, EventResponse{});
  }

  // Stores it, and answers at the moment at which the recorded destination did.
  void answer_block(const FrameHeader& header, const Packet& packet) {
    Bytes& image = images_[header.device.value - 1];
    std::uint64_t offset = 0, length = 0;
    if (const auto* data = std::get_if<WriteData>(&packet)) {
      offset = static_cast<std::uint64_t>(data->offset);
      length = decoded_length(*data, 64 << 20).value();
      ASSERT_LE(offset + length, image.size());
      ASSERT_TRUE(decode_form(*data, MutableBytes(image).subspan(offset, length)));
    } else if (const auto* mapped = std::get_if<WriteAtWithMap>(&packet)) {
      offset = static_cast<std::uint64_t>(mapped->offset);
      length = mapped->payload.size();
      ASSERT_LE(offset + length, image.size());
      std::copy(mapped->payload.begin(), mapped->payload.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
    } else {
      const WriteByHash& hash = std::get<WriteByHash>(packet);
      offset = static_cast<std::uint64_t>(hash.offset);
      length = static_cast<std::uint64_t>(hash.length);
      if (purpose_.options.forms.hash_only) {
        pulls_.push_back(hash);
      } else {  // from the other place: what was there when it was announced
        const Bytes initial = session_.devices[header.device.value - 1].initial.make(image.size());
        EXPECT_EQ(sha256(ConstBytes(initial).subspan(offset, length)), hash.hash);
        std::copy_n(initial.begin() + static_cast<std::ptrdiff_t>(offset), length,
                    image.begin() + static_cast<std::ptrdiff_t>(offset));
      }
    }
    ++blocks_received_;
    if (session_.name == "dev-store-error" && offset == 8192)
      return destination_.send(header.device, header.tx, WriteAtResponseErr{});
    const auto respond = [this, header, length] {
      destination_.send(header.device, header.tx, WriteAtResponse{static_cast<std::uint32_t>(length)});
    };
    first_pass_bytes_ += length;
    std::uint64_t total = 0;
    for (const auto& d : session_.devices) total += d.size;
    for (std::size_t i = 0; i < session_.devices.size(); ++i)
      if (session_.devices[i].base) total = first_pass_bytes_of_base(i);
    if (addresses_ && first_pass_bytes_ == total) remove_addresses();
    bool wait = false;
    if (session_.name == "group-needat" && header.device.value == 1 && !std::exchange(requests_played_, true)) {
      play_requests();
      wait = true;
    }
    if (session_.name == "group-early-handover" && blocks_received_ == 4) wait = perform("during the first pass") || wait;
    // The last answer of the first pass is held until the writes of "after the first pass" are in.
    if (first_pass_bytes_ >= total && std::find_if(session_.operations.begin(), session_.operations.end(), [](const auto& o) {
                                        return o.when.starts_with("after the first pass");
                                      }) != session_.operations.end())
      wait = perform("after the first pass") || wait;
    if (session_.name == "group-continuous" && first_pass_bytes_ == total) wait = perform("before round 3") || wait;
    if (session_.name == "dev-writer") {
      if (blocks_received_ == 14) wait = perform("after dirty round 1") || wait;
      if (blocks_received_ == 15) wait = perform("after dirty round 2") || wait;
      world.schedule(Duration::microseconds(10), [this, n = blocks_received_] {
        perform_exactly(fmt::format("right after the answer to data write {}", n));
      });
    }
    if (writes_freely() && first_pass_bytes_ == total) {
      // Every block is tracked by now: with one more write there is a round, in which the others have their time.
      after_writes(written_ + std::min(to_write_.size(), 1 + to_write_.size() / 2), respond);
    } else if (wait) {
      world.schedule(Duration::milliseconds(5), [this, respond] { after_all_writes(respond); });
    } else {
      respond();
    }
  }
  std::uint64_t first_pass_bytes_of_base(std::size_t i) const {
    const Geometry geometry = volumes[i]->geometry();
    std::uint64_t bytes = 0;
    for (std::uint64_t b = base_[i].next_clear(0); b < geometry.block_count(); b = base_[i].next_clear(b + 1))
      bytes += geometry.length_of(BlockIndex{b});
    return bytes;
  }

  // --- what the destination asks ---

  // The recorded destination's own requests, as they were.
  void play_requests() {
    for (const sim::RecordedFrame& frame : session_.frames) {
      if (frame.from_source) continue;
      const Packet packet = decode_packet(frame.body()).value();
      if (!std::holds_alternative<NeedAt>(packet) && !std::holds_alternative<DontNeedAt>(packet) &&
          !std::holds_alternative<ReadAt>(packet))
        continue;
      if (std::holds_alternative<ReadAt>(packet)) asked_[frame.tx] = &frame;
      destination_.send(frame.bytes);
    }
  }
  void play_injected_reply() {
    for (const sim::RecordedFrame& frame : session_.frames)
      if (!frame.from_source && frame.tx >= 0xF0000000) destination_.send(frame.bytes);
  }
  void ask_after_completed() {
    for (const sim::RecordedFrame& frame : session_.frames) {
      if (frame.from_source || !std::holds_alternative<ReadByHash>(decode_packet(frame.body()).value())) continue;
      asked_[frame.tx] = &frame;
      destination_.send(frame.bytes);
    }
  }
  // The same answer as the recorded source's.
  void take_answer(const FrameHeader& header, ConstBytes body) {
    ASSERT_TRUE(asked_.contains(header.tx.value)) << to_hex(body.first(1));
    asked_.erase(header.tx.value);
    const Packet packet = decode_packet(body).value();
    for (const sim::RecordedFrame& frame : session_.frames) {
      if (!frame.from_source || frame.tx != header.tx.value || frame.device != header.device.value) continue;
      const Packet expected = decode_packet(frame.body()).value();
      if (!is_response(static_cast<PacketType>(frame.body()[0]))) continue;
      ASSERT_EQ(packet.index(), expected.index());
      if (const auto* read = std::get_if<ReadAtResponse>(&packet)) {
        EXPECT_EQ(read->length, std::get<ReadAtResponse>(expected).length);
        EXPECT_EQ(to_hex(read->payload), to_hex(std::get<ReadAtResponse>(expected).payload));
        EXPECT_EQ(body.size(), 5 + read->length) << "silo.md 11.5: exactly n bytes";
      }
      if (const auto* found = std::get_if<ReadByHashResponse>(&packet)) {
        EXPECT_EQ(to_hex(found->payload), to_hex(std::get<ReadByHashResponse>(expected).payload));
        for (const WriteByHash& pull : pulls_)
          if (sha256(found->payload) == pull.hash)
            std::copy(found->payload.begin(), found->payload.end(),
                      images_[0].begin() + static_cast<std::ptrdiff_t>(pull.offset));
      }
      return;
    }
    ADD_FAILURE() << "an answer that the original never gave";
  }

  // group-needat: all but what the destination had written itself and did not need.
  Sha256 image_needed(std::size_t i) const {
    Bytes image = session_.devices[i].initial.make(session_.devices[i].size);
    if (i == 0) std::fill_n(image.begin() + 12288, 8192, std::byte{0});
    return sha256(image);
  }

  LocalHost local_host() const override { return me; }
  void handle_link_up(ControlLink&) override { ADD_FAILURE() << "an original was taken for a godwit"; }
  void handle_control(ControlLink&, const ControlMessage&) override { ADD_FAILURE(); }
  void handle_link_closed(ControlLink&, std::optional<Error> error) override {
    closed_because = error ? error->message() : "";
    has_failed_ = error.has_value();
  }
  void note(NoteLevel, std::string text) override { notes.push_back(std::move(text)); }

  const sim::RecordedSession& session_;
  Purpose purpose_;
  FakePeer destination_;
  std::map<std::uint64_t, AlternateSources::Entry> alternates_;
  std::optional<AddressMap> addresses_;
  std::vector<Bytes> images_;
  std::vector<Bitset> base_;
  std::unique_ptr<SourceLink> link_;
  std::deque<Bytes> buffers_;
  std::deque<const sim::RecordedOperation*> to_write_;  // the first of them is under way
  std::size_t written_ = 0;
  std::vector<std::pair<std::size_t, std::function<void()>>> after_writes_;
  std::set<const sim::RecordedOperation*> performed_;
  std::multiset<Sent> sent_;
  std::set<std::uint32_t> have_answered_, list_unanswered_;
  std::vector<WriteByHash> pulls_;
  std::map<std::uint32_t, const sim::RecordedFrame*> asked_;
  std::vector<int> lock_events_;
  std::uint64_t first_pass_bytes_ = 0;
  std::size_t blocks_received_ = 0, completed_ = 0, completing_ = 0;
  bool announced_ = false, requests_played_ = false, has_failed_ = false;
};

TEST(ReplaySource, SendsEveryRecordedDestinationWhatTheOriginalDid) {
  for (const sim::RecordedSession& session : all_sessions(GODWIT_TESTDATA)) {
    for (const bool mark : {false, true}) {
      for (const std::uint64_t seed : sim::scenario_seeds(2)) {
        SCOPED_TRACE(session.name + (mark ? ", marked" : ", not marked") + ", seed " + std::to_string(seed));
        SourceReplay replay(session, seed, mark);
        replay.run();
        replay.check();
      }
    }
  }
}

}  // namespace
}  // namespace godwit::volume::replay
