// What the destination's session wants done to the store: writes, blocks fetched by their hash, reads for the source, and the
// sync that stands before every acknowledgement of a Completed. Source: silo.md 7, 8; ownership.md 5, 10.2.

#include <algorithm>
#include <utility>

#include "volume/core/block_form.h"
#include "volume/driver/destination_link.h"

namespace godwit::volume {

// Blocks read at a time to compare them with a manifest.
static constexpr std::size_t kHashChecksAtOnce = 16;

void DestinationLink::store_data(const StoreData& work) {
  Volume& volume = *devices_.at(work.device).volume;
  ++operations_;
  // The buffer lives until the store is done with it, even if this link is gone by then.
  const auto held = payloads_.find(work.payload);
  auto done = [this, alive = alive_, work,
               buffer = held == payloads_.end() ? net::Lease{} : held->second.buffer](Result<void> result) {
    if (*alive) stored(work, std::move(result));
  };
  if (work.length == 0) return context_.scheduler.post([done = std::move(done)]() mutable { done({}); });
  if (work.all_zero) return volume.zero_remote(work.offset, work.length, std::move(done));
  const Payload& payload = payloads_.at(work.payload);
  if (payload.is_plain) return volume.store_remote(work.offset, payload.body, std::move(done));
  const Result<Packet> packet = decode_packet(payload.body);
  if (const auto* mapped = std::get_if<WriteAtWithMap>(&*packet))
    return volume.store_remote(work.offset, mapped->payload, std::move(done));
  const WriteData write = std::get<WriteData>(*packet);
  if (work.form == WriteForm::raw) return volume.store_remote(work.offset, write.payload, std::move(done));

  // Decoding burns: it happens on a worker thread.
  net::Lease plain = context_.buffers.lease(work.length);
  auto result = std::make_shared<Result<void>>();
  context_.workers.run([write, plain, result, compressed = payload.buffer] { *result = decode_form(write, plain.bytes()); },
                       [this, alive = alive_, work, plain, result, done = std::move(done)]() mutable {
                         if (!*alive) return;
                         if (!*result) return done(std::move(*result));
                         const ConstBytes bytes = plain.bytes();
                         devices_.at(work.device)
                             .volume->store_remote(work.offset, bytes, [plain, done = std::move(done)](Result<void> r) mutable {
                               done(std::move(r));
                             });
                       });
}

void DestinationLink::stored(const StoreData& work, Result<void> result) {
  payloads_.erase(work.payload);
  Volume& volume = *devices_.at(work.device).volume;
  if (!link_.is_closed()) {
    if (!result) {
      store_error_ = "volume " + volume.name() + " can not be stored here: " + std::string(name_of(result.error().kind())) +
                     ": " + result.error().message();
      owner_.note(NoteLevel::warning, *store_error_);
    }
    session_.handle_stored(work.device, work.tx, result.has_value());
    volume.face().wake_waiters();
    this->work();
    link_.resume();
  }
  operation_ended();
}

void DestinationLink::take_base(const TakeBase& work) {
  Volume& volume = *devices_.at(work.device).volume;
  ++operations_;
  volume.take_base(work.blocks, [this, alive = alive_, work](Result<void> result) {
    if (!*alive) return;
    if (!link_.is_closed()) {
      Volume& v = *devices_.at(work.device).volume;
      if (!result) owner_.note(NoteLevel::warning, "volume " + v.name() + ": " + result.error().message());
      session_.handle_base_taken(work.device, work.tx, work.blocks, result.has_value());
      v.face().wake_waiters();
      this->work();
      link_.resume();
    }
    operation_ended();
  });
}

// --- by hash ---

void DestinationLink::fetch_by_hash(const FetchByHash& work) {
  if (!blocks_) return session_.handle_fetched(work.device, work.offset, false);
  ++operations_;
  blocks_->fetch(work.hash, [this, alive = alive_, work](Result<Bytes> bytes) {
    if (!*alive) return;
    if (!link_.is_closed()) {
      if (bytes) {
        const PayloadToken token = next_payload_++;
        Payload payload{context_.buffers.lease(bytes->size()), {}};
        std::copy(bytes->begin(), bytes->end(), payload.buffer.bytes().begin());
        payload.body = payload.buffer.bytes();
        payload.is_plain = true;
        payloads_.emplace(token, std::move(payload));
        session_.handle_found(work.device, work.offset, token);
      } else {
        session_.handle_fetched(work.device, work.offset, false);
      }
      this->work();
      link_.resume();
    }
    operation_ended();
  });
}

void DestinationLink::store_fetched(const StoreFetched& work) {
  Payload payload = std::move(payloads_.at(work.payload));
  payloads_.erase(work.payload);
  ConstBytes bytes = payload.body;
  if (!payload.is_plain) {
    const Result<Packet> packet = decode_packet(payload.body);
    const auto* read = std::get_if<ReadAtResponse>(&*packet);
    bytes = read ? read->payload : std::get<ReadByHashResponse>(*packet).payload;
  }
  if (bytes.size() != work.length || (work.hash && sha256(bytes) != *work.hash)) {
    owner_.note(NoteLevel::warning, "the bytes found for a block announced by hash have another hash or length");
    return session_.handle_fetched(work.device, work.offset, false);
  }
  ++operations_;
  devices_.at(work.device)
      .volume->store_remote(work.offset, bytes, [this, alive = alive_, work, buffer = payload.buffer](Result<void> result) {
        if (!*alive) return;
        if (!link_.is_closed()) {
          session_.handle_fetched(work.device, work.offset, result.has_value());
          devices_.at(work.device).volume->face().wake_waiters();
          this->work();
          link_.resume();
        }
        operation_ended();
      });
}

void DestinationLink::respond_read(const RespondRead& work) {
  const net::Lease buffer = context_.buffers.lease(work.length);
  const MutableBytes into = buffer.bytes();
  read_bytes_ += work.length;
  ++operations_;
  devices_.at(work.device).volume->read_range(work.offset, into, [this, alive = alive_, work, buffer](Result<void> result) {
    if (!*alive) return;
    read_bytes_ -= work.length;
    if (!link_.is_closed()) {
      if (result)
        send_packet(work.device, work.tx, ReadAtResponse{work.length, buffer.bytes()});
      else
        send_packet(work.device, work.tx, ReadAtResponseErr{});
      link_.resume();
    }
    operation_ended();
  });
}

// --- the end of a copy ---

void DestinationLink::reached_completed(const ReachedCompleted& work) {
  Volume& volume = *devices_.at(work.device).volume;
  ++operations_;
  volume.sync([this, alive = alive_, work](Result<void> result) {
    if (!*alive) return;
    if (!link_.is_closed()) {
      Device& d = devices_.at(work.device);
      d.completed_whole = result && session_.is_whole(work.device);
      d.volume->set_addresses(session_.address_map(work.device));
      const bool takes = original_ && group_ && d.completed_whole &&
                         d.volume->ownership().record().state == CopyState::receiving &&
                         (options_.take == Take::completed || (options_.take == Take::custom && options_.post_copy && custom_));
      if (takes) {
        d.owning = work.tx;
        d.volume->ownership().adopt();
        d.volume->pump();
        check_owning();
      } else {
        session_.handle_completed(work.device, work.tx, result.has_value());
        if (original_ && result) owner_.handle_original_completed(*this, *d.volume, false);
      }
      this->work();
    }
    operation_ended();
  });
}

// An original's event is acknowledged once the record that says OWNED is durable, never before.
void DestinationLink::check_owning() {
  for (auto& [id, d] : devices_) {
    if (!d.owning || !d.volume->ownership().is_owner()) continue;
    session_.handle_completed(id, *std::exchange(d.owning, std::nullopt), true);
    owner_.handle_original_completed(*this, *d.volume, true);
  }
  if (custom_ && !custom_answered_ && std::all_of(devices_.begin(), devices_.end(), [](const auto& entry) {
        return entry.second.volume->ownership().is_owner();
      }))
    custom_acknowledged();
  context_.scheduler.post([this, alive = alive_] {
    if (*alive && !link_.is_closed()) work();
  });
}

void DestinationLink::custom_acknowledged() {
  custom_answered_ = true;
  send_packet(kControlDevice, *custom_, EventResponse{});
}

void DestinationLink::reached_custom(const ReachedCustom& work) {
  payloads_.erase(work.payload);
  if (options_.take != Take::custom) {
    owner_.note(NoteLevel::info,
                "the source says that the volumes may be used here now; with --take=completed or never this means nothing");
    return send_packet(kControlDevice, work.tx, EventResponse{});
  }
  const bool whole =
      std::all_of(devices_.begin(), devices_.end(), [&](const auto& entry) { return session_.is_whole(entry.first); });
  if (!whole && !options_.post_copy) {
    owner_.note(NoteLevel::warning,
                "the source wants to hand over before every block is here; not acknowledged (see --post-copy)");
    return;
  }
  custom_ = work.tx;
  custom_answered_ = false;
  if (!whole) {  // from here on losing the source loses data, as --post-copy says
    for (auto& [id, d] : devices_) d.volume->face().set_policy(true, true);
    return custom_acknowledged();
  }
  for (auto& [id, d] : devices_) {
    ++operations_;
    d.volume->sync([this, alive = alive_, volume = d.volume](Result<void> result) {
      if (!*alive) return;
      if (result && volume->ownership().record().state == CopyState::receiving) {
        volume->ownership().adopt();
        volume->pump();
      }
      if (!link_.is_closed()) check_owning();
      operation_ended();
    });
  }
}

// A few blocks at a time: the manifest may name every block of a large volume.
void DestinationLink::check_hashes(const CheckHashes& work) {
  auto checks = std::make_shared<HashChecks>(HashChecks{work.device, work.blocks, 0});
  for (std::size_t i = 0; i < kHashChecksAtOnce; ++i) check_next_hash(checks);
}

void DestinationLink::check_next_hash(const std::shared_ptr<HashChecks>& checks) {
  if (checks->next == checks->blocks.size() || link_.is_closed()) return;
  const Hashes::Entry entry = checks->blocks[checks->next++];
  Volume& volume = *devices_.at(checks->device).volume;
  const net::Lease buffer = context_.buffers.lease(volume.geometry().length_of(BlockIndex{entry.block}));
  ++operations_;
  volume.read_block(BlockIndex{entry.block}, buffer.bytes(), [this, alive = alive_, checks, entry, buffer](Result<void> result) {
    if (!*alive) return;
    if (!result || sha256(buffer.bytes()) != entry.hash)
      owner_.note(NoteLevel::warning, "volume " + devices_.at(checks->device).volume->name() + ": block " +
                                          std::to_string(entry.block) + " does not have the hash that the source announced");
    check_next_hash(checks);
    operation_ended();
  });
}

}  // namespace godwit::volume
