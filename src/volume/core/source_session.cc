#include "volume/core/source_session.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked.h"

namespace godwit::volume {

SourceSession::SourceSession(SourceConfig config, std::vector<SourceDevice> devices) : config_(config), window_(config.window) {
  std::uint64_t total = 0;
  for (const SourceDevice& d : devices) total += d.info.size;
  const std::uint64_t n = devices.size();
  for (SourceDevice& d : devices) {
    const std::uint64_t blocks = d.geometry().block_count();
    Device device(std::move(d), blocks);
    // silo.md 6.4: the group's budget is shared by size.
    const std::uint64_t budget = std::max<std::uint64_t>(config.blocks_in_flight_original, n) - n;
    device.in_flight_max =
        1 + static_cast<std::uint32_t>(static_cast<double>(budget) * static_cast<double>(device.spec.info.size) /
                                       static_cast<double>(total));
    devices_.push_back(std::move(device));
  }
}

SourceSession::Device* SourceSession::find(DeviceId id) {
  const auto it = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.spec.id == id; });
  return it == devices_.end() ? nullptr : &*it;
}

void SourceSession::handle_start(Instant now) {
  if (config_.lone_device) {
    for (Device& d : devices_) work_.push_back(SendDevInfo{d.spec.id, outstanding_.next_id()});
  } else {
    work_.push_back(SendGroupInfo{outstanding_.next_id()});
  }
  for (Device& d : devices_) {
    Request request{.kind = Request::Kind::already_have, .sent = now};
    work_.push_back(SendAlreadyHave{d.spec.id, outstanding_.add(d.spec.id, request), d.spec.base_blocks.has_value()});
  }
}

void SourceSession::handle_peer(Instant now, PeerKind kind) {
  GODWIT_CHECK(peer_ == PeerKind::undecided && kind != PeerKind::undecided);
  peer_ = kind;
  if (kind == PeerKind::godwit)
    for (Device& d : devices_) {
      d.in_flight_max = config_.blocks_in_flight_max;
      d.taking_part = d.accepted = false;
    }
  advance(now);
}

void SourceSession::handle_accepted(Instant now, DeviceId id, const std::optional<Bitset>& shared) {
  Device* device = find(id);
  if (!device || device->accepted) return;
  device->accepted = true;
  device->taking_part = true;
  device->order.add_all();
  if (shared) send_shared_base(now, *device, *shared);
  advance(now);
}

void SourceSession::send_shared_base(Instant now, Device& d, const Bitset& shared) {
  for (std::uint64_t b = shared.next_set(0); b < shared.size();) {
    std::vector<std::uint32_t> list;
    for (; b < shared.size() && list.size() < config_.dirty_list_blocks_max; b = shared.next_set(b + 1)) {
      list.push_back(static_cast<std::uint32_t>(b));
      d.order.remove(b, b + 1);
    }
    ++d.lists_awaited;
    const TxId tx = outstanding_.add(d.spec.id, Request{.kind = Request::Kind::shared_base, .sent = now});
    work_.push_back(SendSharedBase{d.spec.id, tx, std::move(list)});
  }
}

void SourceSession::handle_base_written(DeviceId id, const Bitset& blocks) {
  if (Device* device = find(id); device && device->spec.base_blocks) device->spec.base_blocks->subtract(blocks);
}

void SourceSession::handle_wanted(DeviceId id) {
  if (Device* device = find(id); device && phase_ == Phase::opening) device->taking_part = true;
}

bool SourceSession::is_custom_hand_over() const {
  return peer_ == PeerKind::original && config_.legacy == LegacyHandOver::custom && !config_.lone_device;
}

// --- what comes from the destination ---

// Of the answers that say nothing but that something was done.
std::optional<SourceSession::Request::Kind> SourceSession::kind_answered_by(const Packet& packet) {
  if (std::holds_alternative<DirtyListResponse>(packet)) return Request::Kind::dirty_list;
  if (std::holds_alternative<EventResponse>(packet)) return Request::Kind::event;
  if (std::holds_alternative<HashesResponse>(packet)) return Request::Kind::hashes;
  return std::nullopt;
}

void SourceSession::handle_packet(Instant now, const FrameHeader& header, const Packet& packet) {
  if (phase_ == Phase::failed) return;
  Device* device = find(header.device);
  if (const auto* ok = std::get_if<WriteAtResponse>(&packet)) {
    answer_write(now, header, ok->length);
  } else if (std::holds_alternative<WriteAtResponseErr>(packet)) {
    answer_write(now, header, std::nullopt);
  } else if (const std::optional<Request::Kind> wanted = kind_answered_by(packet)) {
    const Request* pending = outstanding_.find(header.device, header.tx);
    if (!pending || pending->kind != *wanted) {
      if (pending) return fail("the destination answered a request with a packet of another kind");
      ++dropped_answers_;
      return;
    }
    const Request request = *outstanding_.take(header.device, header.tx);
    if (*wanted == Request::Kind::dirty_list) {
      --device->lists_awaited;
    } else if (*wanted == Request::Kind::hashes) {
      device->hashes_awaited = false;
    } else {
      answer_event(now, request, device);
    }
  } else if (device && device->taking_part) {
    if (const auto* need = std::get_if<NeedAt>(&packet)) handle_need(*device, need->offset, need->length);
    if (const auto* dont = std::get_if<DontNeedAt>(&packet)) handle_dont_need(*device, dont->offset, dont->length);
    if (const auto* read = std::get_if<ReadAt>(&packet)) handle_read(*device, header.tx, *read);
    if (const auto* by_hash = std::get_if<ReadByHash>(&packet))
      work_.push_back(AnswerReadByHash{header.device, header.tx, by_hash->hash});
  }
  advance(now);
}

void SourceSession::answer_write(Instant now, const FrameHeader& header, std::optional<std::uint32_t> length) {
  const Request* pending = outstanding_.find(header.device, header.tx);
  const bool names = pending && (pending->kind == Request::Kind::already_have || pending->kind == Request::Kind::shared_base);
  if (!pending || (pending->kind != Request::Kind::blocks && !names)) {
    if (pending) return fail("the destination answered a request with a packet of another kind");
    ++dropped_answers_;
    return;
  }
  const Request request = *outstanding_.take(header.device, header.tx);
  Device& device = *find(header.device);
  if (request.kind == Request::Kind::shared_base) {
    if (!length) return fail("the destination could not go back to the base of device " + std::to_string(header.device.value));
    --device.lists_awaited;
    return;
  }
  if (request.kind == Request::Kind::already_have) {
    // Between two godwits this one has no effect; an original has now said that it took the device.
    if (peer_ != PeerKind::godwit && !device.accepted) {
      device.accepted = true;
      device.order.add_all();
      if (device.spec.base_blocks)
        for (std::uint64_t b = device.spec.base_blocks->next_set(0); b < device.spec.base_blocks->size();
             b = device.spec.base_blocks->next_set(b + 1))
          device.order.remove(b, b + 1);
    }
    return;
  }
  --device.blocks_in_flight;
  in_flight_bytes_ -= request.wire_bytes;
  delivered_bytes_ += request.wire_bytes;
  if (request.block_class == BlockClass::urgent) --urgent_in_flight_;
  // Only answers to bulk tell how full the path is: urgent blocks overtake.
  if (request.block_class != BlockClass::urgent && request.wire_bytes > 1024)
    window_.handle_answer(now, request.sent, delivered_bytes_ - request.delivered_before);
  if (!length) return block_refused(device, request, "the destination could not store it");
  if (*length != static_cast<std::uint32_t>(request.bytes))
    return block_refused(device, request, "the destination stored another length");
}

// A refused block is sent again, a few times; a copy with a failed block is never declared complete.
void SourceSession::block_refused(Device& device, const Request& request, const std::string& why) {
  const std::string where = "block " + std::to_string(request.first) + " of device " + std::to_string(device.spec.id.value);
  if (peer_ != PeerKind::godwit) return fail(where + ": " + why);  // an original answers nothing more after an 0x84
  auto it = std::find_if(device.refused.begin(), device.refused.end(), [&](const auto& r) { return r.first == request.first; });
  if (it == device.refused.end()) it = device.refused.insert(it, {request.first, 0});
  if (++it->second >= config_.attempts_max) return fail(where + ": " + why + ", " + std::to_string(it->second) + " times");
  Bitset again(device.spec.geometry().block_count());
  again.set_range(request.first, request.last);
  device.order.add(again);
}

void SourceSession::handle_read_failed(DeviceId id, TxId tx, const std::string& why) {
  (void)outstanding_.take(id, tx);
  fail("reading device " + std::to_string(id.value) + ": " + why);
}

void SourceSession::handle_addresses_removed(DeviceId id, std::vector<std::uint64_t> ids) {
  Device* device = find(id);
  if (!device || !device->spec.mapped) return;
  device->addresses_removed.insert(device->addresses_removed.end(), ids.begin(), ids.end());
}

void SourceSession::send_removed_addresses(Device& d) {
  if (!sends_map(d) || d.addresses_removed.empty()) return;
  work_.push_back(SendRemoveFromMap{d.spec.id, outstanding_.next_id(), std::exchange(d.addresses_removed, {})});
}

void SourceSession::handle_device_removed(DeviceId id) {
  Device* device = find(id);
  if (!device || !device->taking_part || peer_ == PeerKind::godwit || std::exchange(device->removed, true)) return;
  if (phase_ != Phase::done) return fail("device " + std::to_string(id.value) + " is removed here");
  work_.push_back(SendRemoveDev{id, outstanding_.next_id()});
}

// Blocks that [offset, offset + length) touches, cut at the device's end; nothing when the range is senseless.
static std::optional<std::pair<std::uint64_t, std::uint64_t>> cut(const Geometry& geometry, std::int64_t offset,
                                                                  std::int32_t length) {
  if (offset < 0 || length <= 0 || static_cast<std::uint64_t>(offset) >= geometry.size_bytes) return std::nullopt;
  const auto begin = static_cast<std::uint64_t>(offset);
  return std::pair(begin, std::min(geometry.size_bytes, begin + static_cast<std::uint64_t>(length)));
}

void SourceSession::handle_need(Device& device, std::int64_t offset, std::int32_t length) {
  const auto range = cut(device.spec.geometry(), offset, length);
  if (!range) return;
  const std::uint64_t last = device.spec.geometry().block_at(range->second - 1).value;
  for (std::uint64_t b = device.spec.geometry().block_at(range->first).value; b <= last; ++b) device.order.need(BlockIndex{b});
}

// Only blocks that the range covers whole: a block dropped by mistake would never arrive.
void SourceSession::handle_dont_need(Device& device, std::int64_t offset, std::int32_t length) {
  const Geometry geometry = device.spec.geometry();
  const auto range = cut(geometry, offset, length);
  if (!range) return;
  const std::uint64_t first = divide_up<std::uint64_t>(range->first, geometry.block_size_bytes);
  const std::uint64_t last =
      range->second == geometry.size_bytes ? geometry.block_count() : range->second / geometry.block_size_bytes;
  if (first < last) device.order.remove(first, last);
}

void SourceSession::handle_read(Device& device, TxId tx, const ReadAt& read) {
  const Geometry geometry = device.spec.geometry();
  const bool sane = read.offset >= 0 && read.length >= 0 && static_cast<std::uint64_t>(read.offset) <= geometry.size_bytes;
  if (!sane) {
    work_.push_back(AnswerRead{device.spec.id, tx, 0, 0, true});
    return;
  }
  const auto offset = static_cast<std::uint64_t>(read.offset);
  const auto length =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(static_cast<std::uint64_t>(read.length), geometry.size_bytes - offset));
  if (length > config_.read_bytes_max) {
    work_.push_back(AnswerRead{device.spec.id, tx, 0, 0, true});
    return;
  }
  if (length > 0) device.spec.tracker->track(geometry.block_at(offset).value, geometry.block_at(offset + length - 1).value + 1);
  work_.push_back(AnswerRead{device.spec.id, tx, offset, length, false});
}

void SourceSession::handle_extents(DeviceId id, BlockIndex first, BlockIndex last, const Bitset& zero_blocks) {
  Device* device = find(id);
  if (!device) return;
  device->extents_asked = false;
  device->extents_known = std::max(device->extents_known, last.value);
  for (std::uint64_t b = zero_blocks.next_set(first.value); b < last.value; b = zero_blocks.next_set(b + 1))
    device->zeroes.set(b);
}

// --- blocks ---

std::optional<SourceWork> SourceSession::poll_work(Instant now) {
  if (!work_.empty()) {
    SourceWork work = std::move(work_.front());
    work_.pop_front();
    return work;
  }
  if (phase_ != Phase::first_pass && phase_ != Phase::rounds && phase_ != Phase::last_set) return std::nullopt;
  for (const bool urgent_only : {true, false}) {
    if (urgent_only ? urgent_in_flight_ >= config_.urgent_in_flight_max : !window_.has_room(in_flight_bytes_)) continue;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      Device& device = devices_[(turn_ + i) % devices_.size()];
      if (std::optional<SourceWork> work = poll_move(now, device, urgent_only)) {
        turn_ = (turn_ + i + 1) % devices_.size();
        return work;
      }
    }
  }
  return std::nullopt;
}

std::optional<SourceWork> SourceSession::poll_move(Instant now, Device& d, bool urgent_only) {
  if (!d.taking_part || !d.accepted || d.lists_awaited > 0 || d.order.empty()) return std::nullopt;
  if (phase_ == Phase::last_set && is_custom_hand_over() && !post_copy_) return std::nullopt;
  if (urgent_only && !d.order.has_urgent()) return std::nullopt;
  if (!urgent_only && d.blocks_in_flight >= d.in_flight_max) return std::nullopt;
  if (d.spec.has_alternates && !std::exchange(d.alternates_sent, true))
    return SendAlternateSources{d.spec.id, outstanding_.next_id()};

  const Geometry geometry = d.spec.geometry();
  const bool first_pass = phase_ == Phase::first_pass;
  if (first_pass && !urgent_only && d.spec.skips_holes && !sends_map(d)) {
    // What lies ahead is asked for before the order reaches it; asking is a read, so it is tracked first.
    const std::uint64_t window = std::max<std::uint64_t>(1, config_.extents_window_bytes / geometry.block_size_bytes);
    if (d.extents_known < geometry.block_count() && !d.extents_asked && d.order.next_unsent() + window / 2 >= d.extents_known) {
      d.extents_asked = true;
      const std::uint64_t from = d.extents_known;
      const std::uint64_t to = std::min(geometry.block_count(), from + window);
      d.spec.tracker->track(from, to);
      return AskExtents{d.spec.id, BlockIndex{from}, BlockIndex{to}};
    }
    if (d.extents_asked && d.order.next_unsent() >= d.extents_known) return std::nullopt;
  }
  const std::optional<BlockOrder::Next> next = d.order.take();
  if (!next) return std::nullopt;
  const std::uint64_t first = next->block.value;
  std::uint64_t last = first + 1;
  const bool zero = first_pass && d.zeroes.test(first);
  if (zero && !next->urgent) {
    const std::uint64_t run_bytes = peer_ == PeerKind::godwit ? config_.run_bytes_max : config_.run_bytes_original;
    const std::uint64_t run_blocks = std::max<std::uint64_t>(1, run_bytes / geometry.block_size_bytes);
    last = d.order.take_run(last, std::min(d.zeroes.next_clear(first), first + run_blocks));
  }
  d.spec.tracker->track(first, last);
  const std::uint64_t end = last == geometry.block_count() ? geometry.size_bytes : last * geometry.block_size_bytes;
  Request request{.kind = Request::Kind::blocks,
                  .first = first,
                  .last = last,
                  .bytes = end - geometry.offset_of(next->block),
                  .wire_bytes = zero ? 64 : wire_size_of(d, next->block),
                  .sent = now,
                  .delivered_before = delivered_bytes_};
  request.block_class = next->urgent ? BlockClass::urgent : first_pass ? BlockClass::standard : BlockClass::dirty;
  ++d.blocks_in_flight;
  in_flight_bytes_ += request.wire_bytes;
  urgent_in_flight_ += next->urgent;
  if (first_pass) round_blocks_ += last - first;
  const TxId tx = outstanding_.add(d.spec.id, request);
  if (zero) return MoveZeroes{d.spec.id, tx, next->block, BlockIndex{last}};
  return MoveBlock{d.spec.id, tx, next->block, request.block_class, sends_map(d)};
}

SourceSession::Progress SourceSession::progress() const {
  Progress progress{
      .round = round_, .in_flight_bytes = in_flight_bytes_, .window_bytes = window_.bytes(), .dropped_answers = dropped_answers_};
  for (const Device& d : devices_) {
    if (!d.taking_part) continue;
    progress.blocks_total += d.spec.geometry().block_count();
    progress.blocks_left += d.order.count() + d.blocks_in_flight;
  }
  return progress;
}

}  // namespace godwit::volume
