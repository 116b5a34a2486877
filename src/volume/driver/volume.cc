#include "volume/driver/volume.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace godwit::volume {

// How much is stored before its writing back is started, so that the flush under the lock finds little left to do.
static constexpr std::uint64_t kWritebackBytes = 8 << 20;

Volume::Volume(net::Scheduler& scheduler, VolumeEvents& events, std::string name, LocalHost me, Record record, bool fresh,
               std::unique_ptr<store::BlockDevice> store, RecordPlace place, Random random)
    : scheduler_(scheduler),
      events_(events),
      name_(std::move(name)),
      store_(std::move(store)),
      place_(std::move(place)),
      ownership_(std::move(me), std::move(record), fresh, random),
      tracker_(ownership_.record().geometry.block_count()),
      heat_(VolatilityMonitor::Limits{}),
      face_(scheduler, ownership_.record().geometry, gate_, tracker_, heat_) {
  face_.set_store(store_.get());
  const CopyState state = ownership_.record().state;
  if (state == CopyState::receiving || state == CopyState::ready) begin_receiving();
}

Volume::~Volume() {
  *alive_ = false;
}

void Volume::start() {
  ownership_.handle_start();
  pump();
}

// --- ownership ---

void Volume::pump() {
  if (pumping_) {
    pump_again_ = true;
    return;
  }
  pumping_ = true;
  const std::shared_ptr<bool> alive = alive_;
  do {
    pump_again_ = false;
    while (std::optional<OwnershipEffect> effect = ownership_.poll_effect()) {
      apply(std::move(*effect));
      if (!*alive) return;
    }
  } while (pump_again_);
  pumping_ = false;
}

void Volume::apply(OwnershipEffect effect) {
  if (const auto* write = std::get_if<WriteRecord>(&effect)) return write_record(write->record);
  if (const auto* names = std::get_if<AgreeNames>(&effect)) return agree_names(*names);
  if (std::holds_alternative<FaceChanged>(effect)) {
    FaceMode mode = ownership_.face_mode();
    if (mode == FaceMode::relay && !relaying_allowed_) mode = FaceMode::refuse;
    if (mode == FaceMode::serve) pristine_ = Bitset();  // clients write from here on
    if (mode == FaceMode::serve && cache_) {
      face_.set_mode(mode);
      face_.set_cache(nullptr);
      cache_.reset();
    }
    if (mode != face_.mode()) {
      face_.set_mode(mode);
      if (mode == FaceMode::refuse) face_.fail_all(Error(ErrorKind::shut_down, "the volume is not served here"));
    }
    return events_.handle_mode(*this);
  }
  if (std::holds_alternative<StartReceiving>(effect)) begin_receiving();
  if (const auto* sync = std::get_if<SyncData>(&effect)) {
    return store_->flush([this, alive = alive_, h = sync->h](Result<void> result) {
      if (!*alive) return;
      ownership_.handle_data_synced(h, result.has_value());
      pump();
    });
  }
  events_.handle_effect(*this, effect);
}

void Volume::write_record(const Record& record) {
  auto written = [this, alive = alive_](Result<void> result) {
    if (!*alive) return;
    place_.exists = true;
    ownership_.handle_record_written(result.has_value());
    pump();
  };
  if (place_.directory == nullptr) return scheduler_.post([written = std::move(written)]() mutable { written({}); });
  Bytes slot = encode_slot(record);
  if (place_.exists)
    return place_.directory->write_slot(place_.record_name, slot_offset(record.gen), std::move(slot), std::move(written));
  Bytes file(kRecordFileSize);
  std::copy(slot.begin(), slot.end(), file.begin() + static_cast<std::ptrdiff_t>(slot_offset(record.gen)));
  place_.directory->replace_file(place_.record_name, std::move(file), std::move(written));
}

void Volume::agree_names(const AgreeNames& names) {
  auto agreed = [this, alive = alive_](Result<void> result) {
    if (!*alive) return;
    ownership_.handle_names_agreed(result.has_value());
    pump();
    if (*alive) events_.handle_mode(*this);
  };
  if (!place_.directory || !place_.renames_data) return scheduler_.post([agreed = std::move(agreed)]() mutable { agreed({}); });
  place_.directory->rename(names.from, names.to, std::move(agreed));
}

void Volume::begin_receiving() {
  cache_ = std::make_unique<WaitingCache>(geometry());
  face_.set_cache(cache_.get());
  ownership_.set_whole(false);
}

// --- blocks ---

void Volume::read_block(BlockIndex block, MutableBytes into, Done<void> done) {
  read_range(geometry().offset_of(block), into, std::move(done));
}

void Volume::read_range(std::uint64_t offset, MutableBytes into, Done<void> done) {
  if (into.empty()) return done({});
  const std::uint64_t first = geometry().block_at(offset).value;
  const std::uint64_t last = geometry().block_at(offset + into.size() - 1).value + 1;
  gate_.enter(BlockGate::Party::outside, first, last,
              [this, offset, into, done = std::move(done)](BlockGate::Ticket ticket) mutable {
                store_->read(offset, into, [this, alive = alive_, ticket, done = std::move(done)](Result<void> result) mutable {
                  if (!*alive) return;
                  gate_.leave(ticket);
                  done(std::move(result));
                });
              });
}

void Volume::for_each_foreign(std::uint64_t offset, std::uint64_t length,
                              std::function<void(std::uint64_t, std::uint64_t)> part) {
  if (!cache_ || cache_->local_count() == 0) return part(offset, length);
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end;) {
    const BlockIndex block = geometry().block_at(at);
    const bool local = cache_->is_local(block);
    std::uint64_t to = at;
    while (to < end && cache_->is_local(geometry().block_at(to)) == local)
      to = std::min(end, geometry().offset_of(geometry().block_at(to)) + geometry().block_size_bytes);
    if (!local) part(at, to - at);
    at = to;
  }
}

void Volume::note_stored(std::uint64_t offset, std::uint64_t length) {
  if (pristine_.size() > 0)
    pristine_.clear_range(geometry().block_at(offset).value, geometry().block_at(offset + length - 1).value + 1);
  if (offset != writeback_end_) {
    if (writeback_end_ > writeback_begin_) store_->start_writeback(writeback_begin_, writeback_end_ - writeback_begin_);
    writeback_begin_ = offset;
  }
  writeback_end_ = offset + length;
  if (writeback_end_ - writeback_begin_ < kWritebackBytes) return;
  store_->start_writeback(writeback_begin_, writeback_end_ - writeback_begin_);
  writeback_begin_ = writeback_end_;
}

// Ends when the last of several parts has, with the first error of any.
static std::function<Done<void>()> join(Done<void> done) {
  struct Joint {
    Done<void> done;
    Result<void> result;
    explicit Joint(Done<void> d) : done(std::move(d)) {}
    ~Joint() { done(std::move(result)); }
  };
  auto joint = std::make_shared<Joint>(std::move(done));
  return [joint]() -> Done<void> {
    return [joint](Result<void> result) {
      if (!result && joint->result) joint->result = std::move(result);
    };
  };
}

void Volume::store_remote(std::uint64_t offset, ConstBytes from, Done<void> done) {
  const std::uint64_t first = geometry().block_at(offset).value;
  const std::uint64_t last = geometry().block_at(offset + from.size() - 1).value + 1;
  gate_.enter(BlockGate::Party::outside, first, last,
              [this, offset, from, done = std::move(done)](BlockGate::Ticket ticket) mutable {
                auto ended = [this, alive = alive_, ticket, done = std::move(done)](Result<void> result) mutable {
                  if (!*alive) return;
                  gate_.leave(ticket);
                  done(std::move(result));
                };
                note_stored(offset, from.size());
                if (!cache_ || cache_->local_count() == 0)
                  return store_->write(offset, from, store::Durability::written, std::move(ended));
                const auto part_done = join(std::move(ended));
                for_each_foreign(offset, from.size(), [&](std::uint64_t at, std::uint64_t length) {
                  store_->write(at, from.subspan(at - offset, length), store::Durability::written, part_done());
                });
              });
}

void Volume::zero_remote(std::uint64_t offset, std::uint64_t length, Done<void> done) {
  const std::uint64_t first = geometry().block_at(offset).value;
  const std::uint64_t last = geometry().block_at(offset + length - 1).value + 1;
  if (pristine_.size() > 0 && pristine_.all_in(first, last))
    return scheduler_.post([done = std::move(done)]() mutable { done({}); });
  gate_.enter(BlockGate::Party::outside, first, last,
              [this, offset, length, done = std::move(done)](BlockGate::Ticket ticket) mutable {
                const auto part_done = join([this, alive = alive_, ticket, done = std::move(done)](Result<void> result) mutable {
                  if (!*alive) return;
                  gate_.leave(ticket);
                  done(std::move(result));
                });
                for_each_foreign(offset, length, [&](std::uint64_t at, std::uint64_t part) {
                  store_->zero(at, part, store::ZeroMode::may_punch, store::Durability::written, part_done());
                });
              });
}

// Within one turn, so that no write ends between: one that is just moving a block over to the overlay finds the block tracked
// when it lands, and the block is dirty then.
Bitset Volume::track_base() {
  GODWIT_CHECK(overlay_ != nullptr);
  Bitset base(geometry().block_count());
  base.set_range(0, base.size());
  base.subtract(overlay_->overlay_blocks());
  for (std::uint64_t first = base.next_set(0); first < base.size();) {
    const std::uint64_t last = base.next_clear(first);
    tracker_.track(first, last);
    first = base.next_set(last);
  }
  return base;
}

void Volume::take_base(const std::vector<std::uint32_t>& blocks, Done<void> done) {
  if (filled_with_base_) return scheduler_.post([done = std::move(done)]() mutable { done({}); });
  if (overlay_ == nullptr)
    return scheduler_.post([done = std::move(done)]() mutable {
      done(fail(ErrorKind::unsupported, "the source leaves out blocks of a base image that this copy does not lie on"));
    });
  if (blocks.empty()) return scheduler_.post([done = std::move(done)]() mutable { done({}); });
  const auto part_done = join(std::move(done));
  for (std::size_t i = 0; i < blocks.size();) {
    std::size_t end = i + 1;
    while (end < blocks.size() && blocks[end] == blocks[end - 1] + 1) ++end;
    const std::uint64_t first = blocks[i], last = std::uint64_t{blocks[end - 1]} + 1;
    gate_.enter(BlockGate::Party::outside, first, last,
                [this, first, last, ended = part_done()](BlockGate::Ticket ticket) mutable {
                  overlay_->drop(first, last, [this, alive = alive_, ticket, ended = std::move(ended)](Result<void> r) mutable {
                    if (!*alive) return;
                    gate_.leave(ticket);
                    ended(std::move(r));
                  });
                });
    i = end;
  }
}

void Volume::placed_remote(std::uint64_t offset, std::uint64_t length) {
  note_stored(offset, length);
}

}  // namespace godwit::volume
