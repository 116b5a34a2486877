// A source's session on a bench: devices without bytes, and a destination that answers when it is told to.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "volume/core/source_session.h"

namespace godwit::volume {

inline constexpr std::uint32_t kBlock = 4096;

struct SourceBench {
  using PeerKind = SourceSession::PeerKind;
  struct Request {
    DeviceId device;
    TxId tx;
    std::uint32_t length = 0;
  };

  explicit SourceBench(SourceConfig config = {}, std::vector<std::uint64_t> sizes = {8 * kBlock},
                       OrderKind order = OrderKind::any, bool has_map = false)
      : mapped(has_map), session(prepare(config), devices(sizes, order)) {
    session.handle_start(now);
    run();
  }
  static SourceConfig prepare(SourceConfig config) { return config; }
  std::vector<SourceDevice> devices(const std::vector<std::uint64_t>& sizes, OrderKind order) {
    std::vector<SourceDevice> all;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      trackers.push_back(std::make_unique<DirtyTracker>((sizes[i] + kBlock - 1) / kBlock));
      SourceDevice d;
      d.id = DeviceId{static_cast<std::uint32_t>(i + 1)};
      d.info = DevInfo{sizes[i], kBlock, "disk" + std::to_string(i), {}};
      d.tracker = trackers.back().get();
      d.order = order;
      d.mapped = mapped;
      all.push_back(std::move(d));
    }
    return all;
  }
  // Does what the session asks for, as words; what needs an answer is kept.
  std::string run() {
    std::string log;
    const auto say = [&](const std::string& word) { log += (log.empty() ? "" : ", ") + word; };
    while (std::optional<SourceWork> work = session.poll_work(now)) {
      if (const auto* w = std::get_if<SendAlreadyHave>(&*work)) haves.push_back({w->device, w->tx, 0}), say("have");
      if (const auto* w = std::get_if<SendSharedBase>(&*work)) {
        haves.push_back({w->device, w->tx, static_cast<std::uint32_t>(w->blocks.size())});
        std::string named;
        for (const std::uint32_t block : w->blocks) named += " " + std::to_string(block);
        say("base's" + named);
      }
      if (std::holds_alternative<SendGroupInfo>(*work)) say("group");
      if (std::holds_alternative<SendDevInfo>(*work)) say("dev");
      if (const auto* w = std::get_if<MoveBlock>(&*work)) {
        blocks.push_back({w->device, w->tx, kBlock});
        say((w->with_map ? "mapped " : "") + std::string(w->block_class == BlockClass::urgent ? "urgent " : "") +
            std::to_string(w->block.value));
      }
      if (const auto* w = std::get_if<MoveZeroes>(&*work)) {
        blocks.push_back({w->device, w->tx, static_cast<std::uint32_t>((w->last.value - w->first.value) * kBlock)});
        say("zeroes " + std::to_string(w->first.value) + "-" + std::to_string(w->last.value));
      }
      if (const auto* w = std::get_if<AskExtents>(&*work)) {
        asked.push_back({w->first.value, w->last.value});
        const std::uint64_t count = trackers[w->device.value - 1]->dirty_count();
        (void)count;
        if (answer_extents) session.handle_extents(w->device, w->first, w->last, zeroes.size() ? zeroes : Bitset(w->last.value));
      }
      if (const auto* w = std::get_if<SendDirtyList>(&*work)) {
        lists.push_back({w->device, w->tx, 0});
        say("list of " + std::to_string(w->blocks.size()));
      }
      if (const auto* w = std::get_if<SendEvent>(&*work)) {
        events.push_back({w->device, w->tx, 0});
        say(w->type == EventType::completed ? "Completed" : w->type == EventType::custom ? "Custom" : "event");
      }
      if (const auto* w = std::get_if<SendRemoveFromMap>(&*work)) say("unmap " + std::to_string(w->ids.size()));
      if (const auto* w = std::get_if<SendRemoveDev>(&*work)) say("remove " + std::to_string(w->device.value));
      if (std::holds_alternative<SendPrepare>(*work)) say("PREPARE");
      if (std::holds_alternative<LockGroup>(*work)) say("lock");
      if (std::holds_alternative<UnlockGroup>(*work)) say("unlock");
      if (std::holds_alternative<RelinquishGroup>(*work)) say("relinquish");
      if (const auto* w = std::get_if<AnswerRead>(&*work))
        say(w->refused ? "refuse read" : "read " + std::to_string(w->offset) + "+" + std::to_string(w->length));
      if (std::holds_alternative<CopyCompleted>(*work)) say("copy completed");
      if (const auto* w = std::get_if<SessionFailed>(&*work)) failure = w->reason, say("failed");
    }
    return log;
  }
  void tell(const Request& to, const Packet& packet) { session.handle_packet(now, FrameHeader{to.device, to.tx, 1}, packet); }
  void answer_haves() {
    for (const Request& r : std::exchange(haves, {})) tell(r, WriteAtResponse{0});
  }
  void answer_blocks() {
    for (const Request& r : std::exchange(blocks, {})) tell(r, WriteAtResponse{r.length});
  }
  void answer_lists() {
    for (const Request& r : std::exchange(lists, {})) tell(r, DirtyListResponse{});
  }
  void answer_events() {
    for (const Request& r : std::exchange(events, {})) tell(r, EventResponse{});
  }
  void dirty(std::uint64_t first, std::uint64_t last, std::size_t device = 0) { trackers[device]->note_write(first, last); }
  void be_godwit() {
    session.handle_peer(now, PeerKind::godwit);
    for (std::size_t i = 0; i < trackers.size(); ++i) session.handle_wanted(DeviceId{static_cast<std::uint32_t>(i + 1)});
    for (std::size_t i = 0; i < trackers.size(); ++i) session.handle_accepted(now, DeviceId{static_cast<std::uint32_t>(i + 1)});
  }
  // Through the first pass: everything sent and answered, nothing dirty. Ends with "lock" asked for.
  std::string first_pass() {
    be_godwit();
    run();
    answer_blocks();
    return run();
  }

  // The clients are held, as was asked for.
  std::string lock() {
    session.handle_locked(now);
    return run();
  }
  // The lock lasts as long as it may.
  std::string miss_lock() {
    now = session.next_deadline();
    session.handle_timeout(now);
    return run();
  }

  Instant now{};
  bool mapped;
  std::vector<std::unique_ptr<DirtyTracker>> trackers;
  SourceSession session;
  std::vector<Request> haves, blocks, lists, events;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> asked;
  Bitset zeroes;
  bool answer_extents = true;
  std::string failure;
};

}  // namespace godwit::volume
