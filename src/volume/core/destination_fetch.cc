// Blocks that a destination knows only by their hash: asked for elsewhere, then from the source, and checked. Source:
// silo.md 5.2, 8.

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/checked.h"
#include "volume/core/destination_session.h"

namespace godwit::volume {

bool DestinationSession::handle(Device& d, const FrameHeader& h, const WriteByHash& p) {
  if (!admits_data(d, h, "a block by hash")) return true;
  const std::uint64_t size = d.geometry.size_bytes;
  if (p.offset < 0 || p.length <= 0 || p.length > d.info.block_size ||
      static_cast<std::uint64_t>(p.offset) % d.info.block_size != 0 ||
      !within(static_cast<std::uint64_t>(p.offset), static_cast<std::uint64_t>(p.length), size)) {
    refuse_write(h, "a block by hash that is not one block of the device");
    return true;
  }
  const auto offset = static_cast<std::uint64_t>(p.offset);
  if (is_busy(d, offset, static_cast<std::uint64_t>(p.length))) return false;
  // What is under way for an earlier announcement of the block is let run, and counts for nothing.
  Fetch& fetch = d.fetches[offset];
  const bool under_way = fetch.under_way;
  fetch = Fetch{.length = static_cast<std::uint32_t>(p.length),
                .hash = p.hash,
                .under_way = under_way,
                .stale = under_way,
                .again = under_way};
  respond(h, PacketType::write_at_response, static_cast<std::uint32_t>(p.length));
  start_fetches(h.device, d);
  return true;
}

void DestinationSession::start_fetches(DeviceId id, Device& d) {
  std::uint32_t under_way = 0;
  for (const auto& [offset, fetch] : d.fetches) under_way += fetch.under_way;
  for (auto& [offset, fetch] : d.fetches) {
    if (under_way >= config_.fetches_in_flight_max) return;
    if (fetch.under_way || fetch.given_up) continue;
    fetch.under_way = true;
    ++under_way;
    if (fetch.attempts++ == 0) {
      FetchByHash work{id, offset, fetch.length, fetch.hash, std::nullopt};
      for (const auto& source : d.alternates)
        if (source.offset == static_cast<std::int64_t>(offset) && source.hash == fetch.hash) work.location = source.location;
      work_.push_back(std::move(work));
    } else if (config_.by_hash == ByHashFetch::read_by_hash) {
      work_.push_back(SendRequest{id, outstanding_.add(id, {offset}), ReadByHash{fetch.hash}});
    } else {
      const ReadAt read{static_cast<std::int64_t>(offset), static_cast<std::int32_t>(fetch.length)};
      work_.push_back(SendRequest{id, outstanding_.add(id, {offset}), read});
    }
  }
}

void DestinationSession::answer_fetch(const FrameHeader& h, const Packet& packet, PayloadToken payload) {
  const PendingFetch pending = *outstanding_.take(h.device, h.tx);
  Device* d = find(h.device);
  const auto fetch = d ? d->fetches.find(pending.offset) : std::map<std::uint64_t, Fetch>::iterator{};
  const bool wanted = d && fetch != d->fetches.end() && fetch->second.under_way;
  if (wanted && std::holds_alternative<ReadAtResponse>(packet)) return store_found(h.device, pending.offset, payload, false);
  if (wanted && std::holds_alternative<ReadByHashResponse>(packet)) return store_found(h.device, pending.offset, payload, true);
  work_.push_back(ReleasePayload{payload});
  if (wanted) handle_fetched(h.device, pending.offset, false);
}

void DestinationSession::handle_found(DeviceId id, std::uint64_t offset, PayloadToken payload) {
  store_found(id, offset, payload, true);
}

// Between the request and now newer bytes may have come: then these must not be written over them.
void DestinationSession::store_found(DeviceId id, std::uint64_t offset, PayloadToken payload, bool check_hash) {
  Device* d = find(id);
  const auto it = d ? d->fetches.find(offset) : std::map<std::uint64_t, Fetch>::iterator{};
  if (!d || it == d->fetches.end() || it->second.stale || is_busy(*d, offset, it->second.length)) {
    work_.push_back(ReleasePayload{payload});
    return handle_fetched(id, offset, false);
  }
  Fetch& fetch = it->second;
  fetch.storing = true;
  d->busy.emplace(offset, Busy{offset + fetch.length, false});
  work_.push_back(StoreFetched{id, offset, fetch.length, check_hash ? std::optional(fetch.hash) : std::nullopt, payload});
}

void DestinationSession::handle_fetched(DeviceId id, std::uint64_t offset, bool ok) {
  Device* d = find(id);
  if (!d) return;
  const auto it = d->fetches.find(offset);
  if (it == d->fetches.end()) return;
  Fetch& fetch = it->second;
  fetch.under_way = false;
  if (std::exchange(fetch.storing, false)) d->busy.erase(offset);
  if (fetch.again) {
    fetch.attempts = 0;
    fetch.stale = fetch.again = false;
  } else if (ok || fetch.stale) {
    if (!fetch.stale && d->cache) d->cache->note_remote_write(offset, fetch.length);
    d->fetches.erase(it);
  } else if (fetch.attempts > config_.fetch_attempts_max) {
    fetch.given_up = true;
  }
  start_fetches(id, *d);
  try_complete(id, *d);
  retry_held();
}

}  // namespace godwit::volume
