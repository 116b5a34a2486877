// What the source's session names, read, encoded and sent: announcements, blocks, lists, manifests, and the answers to what the
// destination asks. Source: silo.md 5, 6.3, 6.5.

#include <algorithm>
#include <utility>

#include "volume/driver/source_link.h"

namespace godwit::volume {

void SourceLink::send_group_info(TxId tx) {
  DeviceGroupInfo group;
  for (const Device& d : devices_) {
    const Geometry geometry = d.volume->geometry();
    group.devices.push_back({d.id, DevInfo{geometry.size_bytes, geometry.block_size_bytes, d.volume->name(), d.schema}});
  }
  send_packet(kControlDevice, tx, group);
}

void SourceLink::send_already_have(const SendAlreadyHave& work) {
  const Device& device = *find(work.device);
  AlreadyHave have{device.volume->geometry().block_size_bytes, {}};
  if (work.with_blocks)
    for (std::uint64_t b = device.base_blocks->next_set(0); b < device.base_blocks->size();
         b = device.base_blocks->next_set(b + 1))
      have.blocks.push_back(static_cast<std::uint32_t>(b));
  send_packet(work.device, work.tx, have);
}

void SourceLink::send_alternates(const SendAlternateSources& work) {
  AlternateSources sources;
  for (const auto& [offset, entry] : find(work.device)->encoder.alternates()) sources.sources.push_back(entry);
  send_packet(work.device, work.tx, sources);
}

// Of what was sent, not of what is here by now: nothing needs to be read again, and the last one fits the whole copy.
void SourceLink::send_hashes(const SendHashes& work) {
  Hashes hashes;
  for (const auto& [block, hash] : find(work.device)->sent) hashes.blocks.push_back({block, hash});
  send_packet(work.device, work.tx, hashes);
}

void SourceLink::send_removed_addresses(SendRemoveFromMap work) {
  const AddressMap& addresses = *find(work.device)->special.addresses;
  std::erase_if(work.ids, [&](std::uint64_t id) { return addresses.contains(id); });  // put again since
  if (!work.ids.empty()) send_packet(work.device, work.tx, RemoveFromMap{std::move(work.ids)});
}

void SourceLink::handle_addresses_removed(Volume& volume, std::vector<std::uint64_t> ids) {
  const Device* device = find(volume);
  if (!device || link_.is_closed()) return;
  session_.handle_addresses_removed(device->id, std::move(ids));
  work();
}

void SourceLink::remove_device(Volume& volume) {
  const Device* device = find(volume);
  if (!device || link_.is_closed()) return;
  session_.handle_device_removed(device->id);
  work();
}

// A destination that was given hashes only, or other places to look, may fetch long after its Completed (silo.md 8.2).
void SourceLink::copy_completed() {
  copied_ = true;
  owner_.note(NoteLevel::info, "the original at " + remote_.text() + " has acknowledged the whole copy");
  release_busy();
  const bool may_fetch = options_.forms.hash_only || std::any_of(devices_.begin(), devices_.end(),
                                                                 [](const Device& d) { return !d.special.alternates.empty(); });
  closing_ = !may_fetch;
  close_when_answered();
}

// What it asked for before the end is still answered.
void SourceLink::close_when_answered() {
  if (closing_ && reads_ == 0) link_.close_after_sending();
}

void SourceLink::send_zeroes(const MoveZeroes& work) {
  Device& device = *find(work.device);
  const Geometry geometry = device.volume->geometry();
  const std::uint64_t begin = geometry.offset_of(work.first);
  const std::uint64_t end = std::min(geometry.size_bytes, work.last.value * geometry.block_size_bytes);
  if (options_.config.hashes)
    for (BlockIndex b = work.first; b < work.last; ++b)
      device.sent[static_cast<std::uint32_t>(b.value)] = sha256(Bytes(geometry.length_of(b)));
  send_block(device, device.encoder.encode_zeroes_run(work.device, work.tx, begin, end - begin), Lane::bulk);
}

void SourceLink::move_block(const MoveBlock& work) {
  Device& device = *find(work.device);
  const Geometry geometry = device.volume->geometry();
  net::Lease buffer = context_.buffers.lease(geometry.length_of(work.block));
  const MutableBytes into = buffer.bytes();
  const Lane lane = work.block_class == BlockClass::urgent ? Lane::urgent : Lane::bulk;
  device.volume->read_block(
      work.block, into, [this, alive = alive_, work, lane, buffer = std::move(buffer)](Result<void> result) mutable {
        if (!*alive || link_.is_closed()) return;
        Device& d = *find(work.device);
        if (!result) {
          session_.handle_read_failed(work.device, work.tx, result.error().message());
          return this->work();
        }
        if (options_.config.hashes) d.sent[static_cast<std::uint32_t>(work.block.value)] = sha256(buffer.bytes());
        const std::uint64_t offset = d.volume->geometry().offset_of(work.block);
        if (work.with_map) {
          send_block(d, BlockEncoder::encode_mapped(work.device, work.tx, offset, *d.special.addresses, std::move(buffer)), lane);
        } else {
          send_block(d, d.encoder.encode(work.device, work.tx, offset, std::move(buffer)), lane);
        }
      });
}

void SourceLink::send_block(Device&, EncodedBlock block, Lane lane) {
  link_.send(lane, std::move(block.head), block.payload, std::move(block.buffer));
}

void SourceLink::ask_extents(Device& device, const AskExtents& work) {
  collect_extents(device, work, device.volume->geometry().offset_of(work.first), Bitset(device.volume->geometry().block_count()));
}

// Asks until the range is covered: extents() may end early.
void SourceLink::collect_extents(Device& device, AskExtents ask, std::uint64_t offset, Bitset zero_blocks) {
  const Geometry geometry = device.volume->geometry();
  const std::uint64_t end = std::min(geometry.size_bytes, ask.last.value * geometry.block_size_bytes);
  device.volume->store().extents(
      offset, end - offset,
      [this, alive = alive_, ask, offset, end, geometry,
       zero_blocks = std::move(zero_blocks)](Result<std::vector<store::Extent>> extents) mutable {
        if (!*alive || link_.is_closed()) return;
        std::uint64_t covered = offset;
        if (extents) {
          for (const store::Extent& extent : *extents) {
            if (extent.offset != covered) break;
            covered += extent.length;
            if (!extent.zero) continue;
            const std::uint64_t bs = geometry.block_size_bytes;
            const std::uint64_t first = (extent.offset + bs - 1) / bs;
            const std::uint64_t stop = std::min(covered, geometry.size_bytes);
            const std::uint64_t last = stop == geometry.size_bytes ? geometry.block_count() : stop / bs;
            if (first < last) zero_blocks.set_range(first, last);
          }
        }
        if (extents && covered > offset && covered < end)
          return collect_extents(*find(ask.device), ask, covered, std::move(zero_blocks));
        session_.handle_extents(ask.device, ask.first, ask.last, zero_blocks);  // not knowing is not an error: all is data then
        work();
      });
}

void SourceLink::answer_read(const AnswerRead& work) {
  if (work.refused) return send_packet(work.device, work.tx, ReadAtResponseErr{});
  const net::Lease buffer = context_.buffers.lease(work.length);
  read_bytes_ += work.length;
  ++reads_;
  find(work.device)->volume->read_range(work.offset, buffer.bytes(), [this, alive = alive_, work, buffer](Result<void> result) {
    if (!*alive) return;
    read_bytes_ -= work.length;
    --reads_;
    if (link_.is_closed()) return;
    if (result) {
      Bytes head;
      encode_frame_head(work.device, work.tx, ReadAtResponse{work.length, buffer.bytes()}, head);
      link_.send(Lane::urgent, std::move(head), buffer.bytes(), buffer);
    } else {
      send_packet(work.device, work.tx, ReadAtResponseErr{});
    }
    close_when_answered();
    link_.resume();
  });
}

void SourceLink::answer_read_by_hash(const AnswerReadByHash& work) {
  Device& device = *find(work.device);
  const auto place = device.encoder.find_hash(work.hash);
  if (!place) return send_packet(work.device, work.tx, ReadByHashResponseErr{"no block with this hash is known here"});
  const net::Lease buffer = context_.buffers.lease(place->second);
  const MutableBytes into = buffer.bytes();
  read_bytes_ += buffer.size();
  device.volume->read_range(place->first, into, [this, alive = alive_, work, buffer](Result<void> result) {
    if (!*alive) return;
    read_bytes_ -= buffer.size();
    if (link_.is_closed()) return;
    if (!result || sha256(buffer.bytes()) != work.hash) {  // written since it was announced
      send_packet(work.device, work.tx, ReadByHashResponseErr{"the block has changed since"});
    } else {
      Bytes head;
      encode_frame_head(work.device, work.tx, ReadByHashResponse{buffer.bytes()}, head);
      link_.send(Lane::urgent, std::move(head), buffer.bytes(), buffer);
    }
    link_.resume();
  });
}

}  // namespace godwit::volume
