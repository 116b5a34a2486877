// The phases of a source's session: when a pass is over, what comes next, the lock and what ends it. The table is in
// src/volume/README.md. Source: silo.md 6.6, ownership.md 4.

#include <algorithm>
#include <utility>

#include "volume/core/source_session.h"

namespace godwit::volume {

std::uint64_t SourceSession::dirty_count() const {
  std::uint64_t count = 0;
  for (const Device& d : devices_)
    if (d.taking_part) count += d.spec.tracker->dirty_count();
  return count;
}

bool SourceSession::pass_is_over() const {
  return std::all_of(devices_.begin(), devices_.end(), [](const Device& d) {
    return !d.taking_part || (d.accepted && d.order.empty() && d.blocks_in_flight == 0 && d.lists_awaited == 0 &&
                              !d.hashes_awaited && d.completed_awaited == 0);
  });
}

void SourceSession::advance(Instant now) {
  switch (phase_) {
    case Phase::opening: {
      if (peer_ == PeerKind::undecided) return;
      const bool any = std::any_of(devices_.begin(), devices_.end(), [](const Device& d) { return d.taking_part; });
      const bool all_accepted =
          std::all_of(devices_.begin(), devices_.end(), [](const Device& d) { return !d.taking_part || d.accepted; });
      if (any && all_accepted) phase_ = Phase::first_pass;
      return;
    }
    case Phase::first_pass:
    case Phase::rounds:
      if (!pass_is_over() || send_hashes(now)) return;
      work_.push_back(RoundDone{round_, round_blocks_, dirty_count()});
      return choose_next_round(now);
    case Phase::last_set: {
      // Towards an original this host stops being the owner before the event that lets the other run, never after.
      const bool lists_answered =
          std::all_of(devices_.begin(), devices_.end(), [](const Device& d) { return d.lists_awaited == 0; });
      const bool may_give = is_custom_hand_over() ? lists_answered : pass_is_over();
      const bool gives = peer_ == PeerKind::original && config_.legacy != LegacyHandOver::none;
      if (gives && may_give && !std::exchange(relinquishing_, true)) {
        lock_deadline_ = Instant::never();
        work_.push_back(RelinquishGroup{});
        return;
      }
      if (pass_is_over() && send_hashes(now)) return;
      if (pass_is_over() && (!gives || relinquished_) && (!is_custom_hand_over() || post_copy_)) complete(now);
      return;
    }
    case Phase::completing:
      // One device's Completed after the other's ack; between godwits PREPARE goes right behind each.
      for (Device& d : devices_)
        if (d.taking_part && !d.completed) return;
      if (peer_ == PeerKind::original || config_.lone_device) {
        phase_ = Phase::done;
        if (config_.remove_devices)
          for (const Device& d : devices_) handle_device_removed(d.spec.id);
        work_.push_back(CopyCompleted{});
        return;
      }
      for (Device& d : devices_)
        if (d.taking_part && !d.ready) return;
      phase_ = Phase::granting;
      lock_deadline_ = Instant::never();
      work_.push_back(RelinquishGroup{});
      return;
    default: return;
  }
}

void SourceSession::choose_next_round(Instant now) {
  if (has_lock_events() || round_ >= config_.rounds_max || dirty_count() <= config_.dirty_threshold_blocks)
    return begin_lock(now);
  ++round_;
  phase_ = Phase::rounds;
  begin_pass(now, false);
}

// Takes every device's dirty set: the lists go first and are answered before their blocks travel.
void SourceSession::begin_pass(Instant now, bool last) {
  round_blocks_ = 0;
  hashes_due_ = dirty_count() > 0;
  for (Device& d : devices_) {
    if (!d.taking_part) continue;
    const Bitset dirty = d.spec.tracker->take();
    d.zeroes.subtract(dirty);
    d.order.add(dirty);
    send_dirty_lists(now, d, dirty);
  }
  if (last) phase_ = Phase::last_set;
  advance(now);
}

void SourceSession::send_dirty_lists(Instant now, Device& d, const Bitset& dirty) {
  for (std::uint64_t b = dirty.next_set(0); b < dirty.size();) {
    std::vector<std::uint32_t> list;
    for (; b < dirty.size() && list.size() < config_.dirty_list_blocks_max; b = dirty.next_set(b + 1))
      list.push_back(static_cast<std::uint32_t>(b));
    round_blocks_ += list.size();
    ++d.lists_awaited;
    const TxId tx = outstanding_.add(d.spec.id, Request{.kind = Request::Kind::dirty_list, .sent = now});
    work_.push_back(SendDirtyList{d.spec.id, tx, std::move(list)});
  }
}

void SourceSession::begin_lock(Instant now) {
  phase_ = Phase::locking;
  const Duration patience =
      std::min(config_.downtime_max_ever, config_.downtime_max * (std::int64_t{1} << std::min(misses_, 10u)));
  lock_deadline_ = now + patience;
  if (has_lock_events()) return send_lock_event(now, EventType::pre_lock);
  locked_ = true;
  work_.push_back(LockGroup{});
}

void SourceSession::handle_locked(Instant now) {
  if (phase_ != Phase::locking) return;
  if (has_lock_events()) return send_lock_event(now, EventType::post_lock);
  begin_pass(now, true);
}

void SourceSession::send_lock_event(Instant now, EventType type) {
  const DeviceId device = devices_.front().spec.id;
  const Request request{.kind = Request::Kind::event, .sent = now, .event = type, .attempt = misses_};
  work_.push_back(SendEvent{device, outstanding_.add(device, request), type});
}

// PreLock → lock → PostLock → the set; unless it is the last: PreUnlock → unlock → PostUnlock, and the round (silo.md 6.6).
void SourceSession::answer_lock_event(Instant now, EventType type) {
  if (type == EventType::pre_lock) {
    locked_ = true;
    work_.push_back(LockGroup{});
  } else if (type == EventType::post_lock) {
    if (dirty_count() == 0 || round_ >= config_.rounds_max) return begin_pass(now, true);
    send_lock_event(now, EventType::pre_unlock);
  } else if (type == EventType::pre_unlock) {
    locked_ = false;
    lock_deadline_ = Instant::never();
    work_.push_back(UnlockGroup{""});
    send_lock_event(now, EventType::post_unlock);
  } else {
    ++round_;
    phase_ = Phase::rounds;
    begin_pass(now, false);
  }
}

// True: they have just been asked for, and are to be answered first.
bool SourceSession::send_hashes(Instant now) {
  if (!config_.lone_device || !config_.hashes || !std::exchange(hashes_due_, false)) return false;
  for (Device& d : devices_) {
    if (!d.taking_part) continue;
    d.hashes_awaited = true;
    work_.push_back(SendHashes{d.spec.id, outstanding_.add(d.spec.id, Request{.kind = Request::Kind::hashes, .sent = now})});
  }
  return true;
}

void SourceSession::give_lock_up(std::string reason) {
  ++misses_;
  locked_ = false;
  lock_deadline_ = Instant::never();
  for (Device& d : devices_) d.completed = d.ready = false;
  work_.push_back(UnlockGroup{std::move(reason)});
  ++round_;
  phase_ = Phase::rounds;
}

void SourceSession::handle_timeout(Instant now) {
  if (now < lock_deadline_) return;
  give_lock_up("the lock lasted too long");
  advance(now);
}

void SourceSession::complete(Instant now) {
  phase_ = Phase::completing;
  if (peer_ == PeerKind::original && config_.legacy == LegacyHandOver::none && locked_) {
    // A copy as of one instant: our clients need not wait for the destination's flush.
    locked_ = false;
    lock_deadline_ = Instant::never();
    work_.push_back(UnlockGroup{""});
  }
  const bool godwit = peer_ == PeerKind::godwit && !config_.lone_device;
  for (Device& d : devices_) {
    if (!d.taking_part || d.completed) continue;
    const Request request{.kind = Request::Kind::event, .sent = now, .event = EventType::completed, .attempt = misses_};
    send_removed_addresses(d);
    ++d.completed_awaited;  // after a miss, a peer that has not answered it yet is not worth another lock
    work_.push_back(SendEvent{d.spec.id, outstanding_.add(d.spec.id, request), EventType::completed});
    if (godwit) work_.push_back(SendPrepare{d.spec.id});
    if (!godwit) return;  // the next one after this one's ack
  }
}

void SourceSession::answer_event(Instant now, const Request& request, Device* device) {
  if (request.event == EventType::custom) {  // an original has resumed
    post_copy_ = true;
    return;
  }
  if (device && request.event == EventType::completed) --device->completed_awaited;
  if (!device || request.attempt != misses_) return;
  if (request.event != EventType::completed) {
    if (phase_ == Phase::locking) answer_lock_event(now, request.event);
    return;
  }
  if (phase_ != Phase::completing) return;
  device->completed = true;
  if (peer_ == PeerKind::original || config_.lone_device) complete(now);
}

void SourceSession::handle_peer_ready(Instant now, DeviceId id) {
  if (Device* device = find(id); device && phase_ == Phase::completing) device->ready = true;
  advance(now);
}

void SourceSession::handle_relinquished(Instant now) {
  if (peer_ == PeerKind::godwit) {
    if (phase_ == Phase::granting) phase_ = Phase::done;
    return;
  }
  relinquished_ = true;
  if (is_custom_hand_over()) {
    const Request request{.kind = Request::Kind::event, .sent = now, .event = EventType::custom};
    work_.push_back(SendEvent{kControlDevice, outstanding_.add(kControlDevice, request), EventType::custom});
  }
  advance(now);
}

void SourceSession::fail(std::string reason) {
  if (phase_ == Phase::failed) return;
  if (locked_ && !relinquishing_ && phase_ != Phase::granting && phase_ != Phase::done) work_.push_back(UnlockGroup{reason});
  locked_ = false;
  lock_deadline_ = Instant::never();
  phase_ = Phase::failed;
  work_.push_back(SessionFailed{std::move(reason)});
}

}  // namespace godwit::volume
