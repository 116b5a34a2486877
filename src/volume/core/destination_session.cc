#include "volume/core/destination_session.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked.h"
#include "volume/core/block_form.h"

namespace godwit::volume {

DestinationSession::DestinationSession(DestinationConfig config) : config_(config) {}

DestinationSession::Device* DestinationSession::find(DeviceId id) {
  const auto it = devices_.find(id);
  return it == devices_.end() || it->second.removed ? nullptr : &it->second;
}
const DestinationSession::Device* DestinationSession::find(DeviceId id) const {
  return const_cast<DestinationSession*>(this)->find(id);
}

void DestinationSession::close(std::string reason) {
  if (std::exchange(closed_, true)) return;
  work_.push_back(CloseSession{std::move(reason)});
}

void DestinationSession::respond(const FrameHeader& h, PacketType type, std::uint32_t length) {
  work_.push_back(Respond{h.device, h.tx, type, length});
}

void DestinationSession::refuse_write(const FrameHeader& h, std::string why) {
  ++counters_.refused_writes;
  work_.push_back(
      Note{"device " + std::to_string(h.device.value) + ", write " + std::to_string(h.tx.value) + " refused: " + std::move(why)});
  respond(h, PacketType::write_at_response_err);
}

// --- devices ---

std::optional<std::string> DestinationSession::objection_to(const DeviceGroupInfo& info) const {
  if (info.devices.size() > config_.devices_max) return "more than " + std::to_string(config_.devices_max) + " devices";
  std::set<std::string_view> names;
  std::set<DeviceId> ids;
  for (const DeviceGroupInfo::Entry& entry : info.devices) {
    const std::string who = "device " + std::to_string(entry.device.value) + " \"" + escaped(entry.info.name) + "\": ";
    const DevInfo& d = entry.info;
    if (!ids.insert(entry.device).second) return who + "announced twice";
    if (!names.insert(d.name).second) return who + "its name is not unique";
    if (d.size == 0 || d.block_size == 0) return who + "size and block size must not be 0";
    if (d.block_size < config_.block_bytes_min || d.block_size > config_.block_bytes_max)
      return who + "block size " + std::to_string(d.block_size) + " is not supported";
    if (d.size > (std::uint64_t{1} << 62)) return who + "size is absurd";
    if (Geometry{d.size, d.block_size}.block_count() > 0xFFFFFFFFull) return who + "more blocks than a block number can name";
    if (d.name.size() > config_.name_bytes_max) return who + "its name is too long";
    if (d.schema.size() > config_.schema_bytes_max) return who + "its schema is too long";
  }
  return std::nullopt;
}

void DestinationSession::announce(const FrameHeader& header, const DeviceGroupInfo& info, bool group) {
  if (group && announced_group_) {
    const bool same =
        info.devices.size() == devices_.size() && std::all_of(info.devices.begin(), info.devices.end(), [&](const auto& e) {
          const auto it = devices_.find(e.device);
          return it != devices_.end() && it->second.info == e.info;
        });
    if (!same) close("a second DeviceGroupInfo that differs from the first");
    return;
  }
  if (!group) {
    if (const auto it = devices_.find(header.device); it != devices_.end()) {
      if (it->second.info != info.devices.front().info) close("a second DevInfo that differs from the first");
      return;
    }
  }
  if (std::optional<std::string> objection = objection_to(info)) return close(*objection);
  if (group && std::any_of(info.devices.begin(), info.devices.end(), [](const auto& e) { return e.device == kControlDevice; }))
    return close("a group that gives a device the number of the control channel");
  if (info.devices.empty()) return close("a group without devices");
  announced_group_ = announced_group_ || group;
  for (const DeviceGroupInfo::Entry& entry : info.devices) {
    Device& device = devices_[entry.device];
    device.info = entry.info;
    device.geometry = {entry.info.size, entry.info.block_size};
  }
  work_.push_back(OpenDevices{info.devices, group});
}

void DestinationSession::handle_device_opened(DeviceId id, WaitingCache* cache, Admission admission) {
  Device& device = devices_.at(id);
  device.cache = cache;
  device.admission = admission;
  // What came before the announcement goes before what came since.
  const auto others =
      std::stable_partition(early_.begin(), early_.end(), [id](const Held& frame) { return frame.header.device == id; });
  for (auto frame = others; frame != early_.begin();) {
    --frame;
    early_bytes_ -= frame->body_size + sizeof(Held);
    held_.push_front(std::move(*frame));
  }
  early_.erase(early_.begin(), others);
  retry_held();
}

void DestinationSession::set_cache(DeviceId id, WaitingCache* cache) {
  if (Device* device = find(id)) device->cache = cache;
}

void DestinationSession::set_admission(DeviceId id, Admission admission) {
  Device* device = find(id);
  if (!device) return;
  device->admission = admission;
  retry_held();
}

Admission DestinationSession::admission(DeviceId id) const {
  const Device* device = find(id);
  return device ? device->admission : Admission::opening;
}

// --- frames ---

bool DestinationSession::wants_input() const {
  if (closed_ || !held_.empty()) return false;
  for (const auto& [id, d] : devices_)
    if (d.stores.size() >= config_.stores_in_flight_max || d.store_bytes >= config_.stores_bytes_max) return false;
  return true;
}

bool DestinationSession::must_wait(const Held& frame) const {
  if (frame.header.device == kControlDevice && std::holds_alternative<Event>(frame.packet))  // it speaks of all devices
    return std::any_of(devices_.begin(), devices_.end(),
                       [](const auto& entry) { return entry.second.admission == Admission::opening; });
  const Device* device = find(frame.header.device);
  if (device && !device->completed.empty() && !device->stores.empty()) return true;  // Completed speaks of what came before it
  return device && (device->admission == Admission::opening || device->admission == Admission::hold);
}

void DestinationSession::handle_packet(const FrameHeader& header, Packet packet, PayloadToken payload, std::size_t body_size) {
  if (closed_) return;
  Held frame{header, std::move(packet), payload, body_size};
  if (!held_.empty() || must_wait(frame) || !dispatch(frame)) held_.push_back(std::move(frame));
}

void DestinationSession::retry_held() {
  while (!held_.empty() && !closed_ && !must_wait(held_.front())) {
    Held frame = std::move(held_.front());
    held_.pop_front();
    if (dispatch(frame)) continue;
    held_.push_front(std::move(frame));
    return;
  }
}

bool DestinationSession::dispatch(const Held& frame) {
  const FrameHeader& h = frame.header;
  const Packet& packet = frame.packet;
  const auto release = [&] { work_.push_back(ReleasePayload{frame.payload}); };
  if (const auto* group = std::get_if<DeviceGroupInfo>(&packet)) {
    if (h.device == kControlDevice) announce(h, *group, true);
    return release(), true;
  }
  if (const auto* info = std::get_if<DevInfo>(&packet)) {
    if (!announced_group_) announce(h, DeviceGroupInfo{{{h.device, *info}}}, false);
    return release(), true;
  }
  const auto* event = std::get_if<Event>(&packet);
  if (event && h.device == kControlDevice && !devices_.contains(kControlDevice)) {
    if (event->type == EventType::custom && event->custom_type == kCustomResume) {
      work_.push_back(ReachedCustom{h.tx, frame.payload});
      return true;
    }
    ++counters_.unknown_packets;  // an original drops it too, without an answer
    return release(), true;
  }
  if (outstanding_.find(h.device, h.tx) &&
      (std::holds_alternative<ReadAtResponse>(packet) || std::holds_alternative<ReadAtResponseErr>(packet) ||
       std::holds_alternative<ReadByHashResponse>(packet) || std::holds_alternative<ReadByHashResponseErr>(packet))) {
    answer_fetch(h, packet, frame.payload);
    return true;
  }
  Device* d = find(h.device);
  if (!d) {
    if (devices_.contains(h.device) || std::holds_alternative<UnknownPacket>(packet)) {
      ++counters_.unknown_packets;
      return release(), true;
    }
    early_bytes_ += frame.body_size + sizeof(Held);
    if (early_bytes_ > config_.early_bytes_max)
      close("more than " + std::to_string(config_.early_bytes_max) + " bytes for devices that were never announced");
    else
      early_.push_back(frame);
    return true;
  }
  if (const auto* write = std::get_if<WriteData>(&packet)) return handle(*d, h, *write, frame.payload);
  if (const auto* mapped = std::get_if<WriteAtWithMap>(&packet)) return handle(*d, h, *mapped, frame.payload);
  if (const auto* read = std::get_if<ReadAt>(&packet)) return handle(*d, h, *read);
  if (const auto* by_hash = std::get_if<WriteByHash>(&packet)) return handle(*d, h, *by_hash);
  dispatch_to(*d, frame);
  return release(), true;
}

// What never waits and keeps nothing of the payload.
void DestinationSession::dispatch_to(Device& d, const Held& frame) {
  const FrameHeader& h = frame.header;
  const Packet& packet = frame.packet;
  if (const auto* have = std::get_if<AlreadyHave>(&packet)) return handle(d, h, *have);
  if (const auto* dirty = std::get_if<DirtyList>(&packet)) return handle(d, h, *dirty);
  if (const auto* event = std::get_if<Event>(&packet)) return handle(d, h, *event);
  if (const auto* hashes = std::get_if<Hashes>(&packet)) return handle(d, h, *hashes);
  if (std::holds_alternative<UnknownWriteForm>(packet)) return refuse_write(h, "unknown form");
  if (const auto* sources = std::get_if<AlternateSources>(&packet)) {
    d.alternates = sources->sources;
  } else if (const auto* remove = std::get_if<RemoveFromMap>(&packet)) {
    for (std::uint64_t id : remove->ids) d.map.erase(id);
  } else if (std::holds_alternative<RemoveDev>(packet)) {
    d.removed = true;
    work_.push_back(DeviceRemoved{h.device});
  } else if (std::holds_alternative<UnknownPacket>(packet)) {
    ++counters_.unknown_packets;
  } else {
    ++counters_.dropped_answers;
  }
}

void DestinationSession::handle_malformed(const FrameHeader& header, ConstBytes body, const Error& error) {
  const std::string where =
      "device " + std::to_string(header.device.value) + ", transaction " + std::to_string(header.tx.value) + ": ";
  switch (malformed_action(body)) {
    case MalformedAction::close: return close(where + error.message());
    case MalformedAction::answer_write_error: return refuse_write(header, error.message());
    case MalformedAction::answer_read_error: return respond(header, PacketType::read_at_response_err);
    case MalformedAction::answer_hash_error: return respond(header, PacketType::read_by_hash_response_err);
    case MalformedAction::ignore: ++counters_.unknown_packets; return;
  }
}

bool DestinationSession::admits_data(Device& d, const FrameHeader& h, const char* what) {
  if (d.admission == Admission::store) return true;
  if (d.admission == Admission::owned) {
    refuse_write(h, "this host owns the volume");
    return false;
  }
  close(std::string(what) + " for device " + std::to_string(h.device.value) + " before its PULL was accepted");
  return false;
}

// --- writes ---

// Two writes of one range under way together would have no order; a peer that waits for its answers never sends such.
bool DestinationSession::is_busy(const Device& d, std::uint64_t offset, std::uint64_t length) {
  auto it = d.busy.lower_bound(offset);
  if (it != d.busy.end() && it->first < offset + length) return true;
  return it != d.busy.begin() && std::prev(it)->second.end > offset;
}

// True: what was written still counts.
bool DestinationSession::end_busy(Device& d, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return true;
  const auto it = d.busy.find(offset);
  const bool counts = !it->second.stale;
  d.busy.erase(it);
  return counts;
}

// Bytes from the source itself win over what another place has (silo.md 7.2).
void DestinationSession::drop_fetches(Device& d, std::uint64_t offset, std::uint64_t length) {
  auto it = d.fetches.upper_bound(offset);
  if (it != d.fetches.begin() && std::prev(it)->first + std::prev(it)->second.length > offset) --it;
  while (it != d.fetches.end() && it->first < offset + length) {
    if (it->second.under_way) {
      it->second.stale = true;
      it->second.again = false;
      ++it;
    } else {
      it = d.fetches.erase(it);
    }
  }
}

void DestinationSession::begin_store(Device& d, const FrameHeader& h, StoreData store) {
  d.stores.emplace(h.tx.value, Store{store.offset, store.length});
  if (store.length > 0) d.busy.emplace(store.offset, Busy{store.offset + store.length, false});
  drop_fetches(d, store.offset, store.length);
  d.store_bytes += store.all_zero ? 0 : store.length;
  work_.push_back(std::move(store));
}

bool DestinationSession::handle(Device& d, const FrameHeader& h, const WriteData& p, PayloadToken payload) {
  const auto drop = [&] {
    work_.push_back(ReleasePayload{payload});
    return true;
  };
  if (!admits_data(d, h, "data")) return drop();
  if (d.stores.contains(h.tx.value)) {
    close("transaction " + std::to_string(h.tx.value) + " is used again before its answer");
    return drop();
  }
  // The last block may be written whole though it is short.
  const std::uint64_t bound = std::max<std::uint64_t>(64ull << 20, 2ull * d.info.block_size);
  const Result<std::uint64_t> length = decoded_length(p, bound);
  if (!length) {
    refuse_write(h, length.error().message());
    return drop();
  }
  if (p.offset < 0 || !within(static_cast<std::uint64_t>(p.offset), *length, d.geometry.size_bytes)) {
    refuse_write(h, "it lies outside the device");
    return drop();
  }
  if (is_busy(d, static_cast<std::uint64_t>(p.offset), *length)) return false;
  begin_store(d, h, StoreData{h.device, h.tx, static_cast<std::uint64_t>(p.offset), *length, p.form, payload, is_all_zeroes(p)});
  return true;
}

bool DestinationSession::handle(Device& d, const FrameHeader& h, const WriteAtWithMap& p, PayloadToken payload) {
  const auto drop = [&] {
    work_.push_back(ReleasePayload{payload});
    return true;
  };
  if (!admits_data(d, h, "mapped data")) return drop();
  if (p.offset < 0 || !within(static_cast<std::uint64_t>(p.offset), p.payload.size(), d.geometry.size_bytes) ||
      d.map.size() + p.map.size() > config_.map_entries_max || d.stores.contains(h.tx.value)) {
    refuse_write(h, "it lies outside the device, or maps too much");
    return drop();
  }
  if (is_busy(d, static_cast<std::uint64_t>(p.offset), p.payload.size())) return false;
  for (const auto& entry : p.map) d.map[entry.id] = entry.location;
  begin_store(d, h,
              StoreData{h.device, h.tx, static_cast<std::uint64_t>(p.offset), p.payload.size(), WriteForm::raw, payload, false});
  return true;
}

void DestinationSession::handle_stored(DeviceId id, TxId tx, bool ok) {
  const auto it = devices_.find(id);
  if (it == devices_.end()) return;
  Device& d = it->second;
  const auto found = d.stores.find(tx.value);
  GODWIT_CHECK(found != d.stores.end());
  const Store store = found->second;
  d.stores.erase(found);
  d.store_bytes = d.stores.empty() ? 0 : d.store_bytes - std::min(d.store_bytes, store.length);
  const FrameHeader h{id, tx, 0};
  const bool counts = end_busy(d, store.offset, store.length);
  if (!ok) {
    d.failed.insert(store.offset);
    refuse_write(h, "the store failed");
  } else {
    d.failed.erase(store.offset);
    if (counts && d.cache) d.cache->note_remote_write(store.offset, store.length);
    respond(h, PacketType::write_at_response, static_cast<std::uint32_t>(store.length));
  }
  try_complete(id, d);
  retry_held();
}

void DestinationSession::handle_placed(const FrameHeader& header, std::uint64_t offset, std::uint64_t length) {
  Device* d = find(header.device);
  if (!d || !admits_data(*d, header, "data")) return;
  d->failed.erase(offset);
  drop_fetches(*d, offset, length);
  d->cache->note_remote_write(offset, length);
  respond(header, PacketType::write_at_response, static_cast<std::uint32_t>(length));
}

bool DestinationSession::may_place(DeviceId id, std::uint64_t offset, std::uint64_t length) const {
  const Device* d = find(id);
  if (!d || d->admission != Admission::store || !held_.empty() || closed_) return false;
  if (length == 0 || !within(offset, length, d->geometry.size_bytes) || offset % d->geometry.block_size_bytes != 0) return false;
  const bool reaches_end = offset + length == d->geometry.size_bytes;
  if (!reaches_end && length % d->geometry.block_size_bytes != 0) return false;
  for (std::uint64_t b = d->geometry.block_at(offset).value; b <= d->geometry.block_at(offset + length - 1).value; ++b)
    if (d->cache->is_present(BlockIndex{b})) return false;
  const auto fetch = d->fetches.lower_bound(offset);  // it would be stored into the midst of what is received
  return !is_busy(*d, offset, length) && (fetch == d->fetches.end() || fetch->first >= offset + length);
}

void DestinationSession::handle(Device& d, const FrameHeader& h, const AlreadyHave& p) {
  const bool none = p.blocks.empty();
  if (!none && p.block_size != d.info.block_size) return close("you-already-have with another block size than announced");
  for (std::uint32_t block : p.blocks)
    if (block >= d.geometry.block_count())
      return close("you-already-have of block " + std::to_string(block) + ", beyond the device's end");
  // Before ACCEPT it has no effect between two godwits, and an original never gets there.
  if (d.admission == Admission::store && !none) {
    work_.push_back(TakeBase{h.device, h.tx, p.blocks});
    return;
  }
  respond(h, PacketType::write_at_response, static_cast<std::uint32_t>(p.blocks.size() * p.block_size));
}

// Whoever names base blocks waits for the answer before it sends or dirties any of them.
void DestinationSession::handle_base_taken(DeviceId id, TxId tx, const std::vector<std::uint32_t>& blocks, bool ok) {
  Device* d = find(id);
  if (!d || closed_) return;
  const FrameHeader h{id, tx, 0};
  if (!ok) return refuse_write(h, "there is no such base here");
  for (std::uint32_t block : blocks) d->cache->note_already_have(BlockIndex{block});
  respond(h, PacketType::write_at_response, static_cast<std::uint32_t>(blocks.size() * d->info.block_size));
  try_complete(id, *d);
}

void DestinationSession::handle(Device& d, const FrameHeader& h, const DirtyList& p) {
  if (d.admission == Admission::owned)
    return close("a DirtyList for a volume that this host owns by now: the original goes on sending (see --take=never)");
  if (!admits_data(d, h, "a DirtyList")) return;
  if (!p.blocks.empty() && p.block_size != d.info.block_size) return close("a DirtyList with another block size than announced");
  for (std::uint32_t block : p.blocks)
    if (block >= d.geometry.block_count())
      return close("a DirtyList of block " + std::to_string(block) + ", beyond the device's end");
  for (std::uint32_t block : p.blocks) {
    d.cache->note_dirty(BlockIndex{block});
    const std::uint64_t begin = d.geometry.offset_of(BlockIndex{block});
    const std::uint64_t end = begin + d.geometry.length_of(BlockIndex{block});
    auto busy = d.busy.upper_bound(begin);
    if (busy != d.busy.begin() && std::prev(busy)->second.end > begin) --busy;
    for (; busy != d.busy.end() && busy->first < end; ++busy) busy->second.stale = true;
    drop_fetches(d, begin, end - begin);
  }
  respond(h, PacketType::dirty_list_response);
}

// --- the rest ---

void DestinationSession::handle(Device& d, const FrameHeader& h, const Event& p) {
  if (p.type != EventType::completed || d.admission == Admission::owned) return respond(h, PacketType::event_response);
  if (!admits_data(d, h, "Completed")) return;
  d.completed.push_back(h.tx);
  try_complete(h.device, d);
}

bool DestinationSession::has_failed_writes() const {
  return std::any_of(devices_.begin(), devices_.end(), [](const auto& entry) { return !entry.second.failed.empty(); });
}

bool DestinationSession::is_whole(DeviceId id) const {
  const Device* d = find(id);
  return d && d->cache && d->cache->is_whole() && d->stores.empty() && d->fetches.empty() && d->failed.empty();
}

// Completed is acknowledged when everything that came before it is stored; whether all blocks are here is asked then too.
void DestinationSession::try_complete(DeviceId id, Device& d) {
  if (!d.cache || d.completed.empty() || !d.stores.empty() || !d.failed.empty() || closed_) return;
  if (config_.completed_needs_all_blocks && !d.fetches.empty()) {
    const auto lost = std::find_if(d.fetches.begin(), d.fetches.end(), [](const auto& entry) { return entry.second.given_up; });
    if (lost != d.fetches.end())
      close("the block at offset " + std::to_string(lost->first) + " of device " + std::to_string(id.value) +
            " was announced by hash, and nobody has bytes with that hash");
    return;
  }
  if (config_.completed_needs_all_blocks && !d.cache->is_whole())
    return close("Completed for device " + std::to_string(id.value) + " though " +
                 std::to_string(d.geometry.block_count() - d.cache->present_count()) + " blocks never came");
  if (!d.hashes.empty() && d.cache->is_whole()) work_.push_back(CheckHashes{id, std::exchange(d.hashes, {})});
  for (const TxId tx : std::exchange(d.completed, {})) work_.push_back(ReachedCompleted{id, tx});
}

void DestinationSession::handle_completed(DeviceId id, TxId tx, bool ok) {
  if (ok) return respond(FrameHeader{id, tx, 0}, PacketType::event_response);
  close("device " + std::to_string(id.value) + " could not be made durable, so its Completed is not acknowledged");
}

void DestinationSession::handle(Device& d, const FrameHeader& h, const Hashes& p) {
  for (const Hashes::Entry& entry : p.blocks)
    if (entry.block >= d.geometry.block_count())
      return close("a hash of block " + std::to_string(entry.block) + ", beyond the device's end");
  d.hashes = p.blocks;
  respond(h, PacketType::hashes_response);
}

bool DestinationSession::handle(Device& d, const FrameHeader& h, const ReadAt& p) {
  const bool sane = p.offset >= 0 && p.length >= 0 && static_cast<std::uint64_t>(p.offset) <= d.geometry.size_bytes;
  if (!config_.answer_reads || !sane || d.admission != Admission::store)
    return respond(h, PacketType::read_at_response_err), true;
  const auto offset = static_cast<std::uint64_t>(p.offset);
  const auto length = std::min<std::uint64_t>(static_cast<std::uint64_t>(p.length), d.geometry.size_bytes - offset);
  if (length > config_.read_bytes_max) return respond(h, PacketType::read_at_response_err), true;
  if (is_busy(d, offset, length)) return false;
  work_.push_back(RespondRead{h.device, h.tx, offset, static_cast<std::uint32_t>(length)});
  return true;
}

std::optional<DestinationWork> DestinationSession::poll_work() {
  if (work_.empty()) {
    for (auto& [id, d] : devices_) {
      if (!d.cache || d.admission != Admission::store || closed_) continue;
      const auto bs = d.geometry.block_size_bytes;
      if (std::optional<BlockIndex> block = d.cache->poll_need())
        return SendRequest{id, outstanding_.next_id(),
                           NeedAt{static_cast<std::int64_t>(d.geometry.offset_of(*block)), static_cast<std::int32_t>(bs)}};
      if (std::optional<WaitingCache::Run> run = d.cache->poll_dont_need()) {
        // The length is an i32: longer runs go in pieces of whole blocks.
        const std::uint64_t most = std::max<std::uint64_t>(1, (1u << 30) / bs);
        for (std::uint64_t first = run->first.value, left = run->count; left > 0;) {
          const std::uint64_t n = std::min(left, most);
          work_.push_back(SendRequest{id, outstanding_.next_id(),
                                      DontNeedAt{static_cast<std::int64_t>(first * bs), static_cast<std::int32_t>(n * bs)}});
          first += n;
          left -= n;
        }
      }
    }
  }
  if (work_.empty()) return std::nullopt;
  DestinationWork work = std::move(work_.front());
  work_.pop_front();
  return work;
}

}  // namespace godwit::volume
