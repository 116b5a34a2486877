#include "chunks/driver/held_chunk.h"

#include <algorithm>
#include <utility>

#include "net/lifetime.h"

namespace godwit::chunks {

namespace {

struct HeldChunk {
  ChunkId id;
  Digest digest;
  Bytes data;
  bool is(const ChunkId& wanted, Digest by) const { return wanted == id && by == digest; }
};

class HeldChunkReader final : public ChunkReader {
 public:
  HeldChunkReader(std::shared_ptr<const HeldChunk> held, std::shared_ptr<ChunkReader> behind)
      : held_(std::move(held)), behind_(std::move(behind)) {}
  void read(std::span<WantedChunk> wanted, Digest digest) override {
    for (WantedChunk& chunk : wanted) {
      if (chunk.got || !held_->is(chunk.id, digest) || chunk.into.size() != held_->data.size()) continue;
      std::ranges::copy(held_->data, chunk.into.begin());
      chunk.got = true;
    }
    behind_->read(wanted, digest);
  }

 private:
  const std::shared_ptr<const HeldChunk> held_;
  const std::shared_ptr<ChunkReader> behind_;
};

class StoreWithChunk final : public ChunkStore {
 public:
  StoreWithChunk(std::unique_ptr<ChunkStore> behind, std::shared_ptr<const HeldChunk> held, net::Scheduler& scheduler)
      : behind_(std::move(behind)), held_(std::move(held)), scheduler_(scheduler) {}

  const std::string& title() const override { return behind_->title(); }
  std::shared_ptr<ChunkReader> reader() override {
    std::shared_ptr<ChunkReader> reader = behind_->reader();
    return reader ? std::make_shared<HeldChunkReader>(held_, std::move(reader)) : nullptr;
  }
  void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) override {
    if (!held_->is(id, digest) || held_->data.size() > size_max) return behind_->get(id, digest, size_max, std::move(done));
    scheduler_.post(lifetime_.while_alive([held = held_, done = std::move(done)]() mutable { done(held->data); }));
  }
  void has(std::vector<ChunkId> ids, Done<std::vector<bool>> done) override { behind_->has(std::move(ids), std::move(done)); }
  void put(const ChunkId& id, ConstBytes data, Done<bool> done) override { behind_->put(id, data, std::move(done)); }
  void sync(Done<void> done) override { behind_->sync(std::move(done)); }
  void remove(const ChunkId& id, Done<void> done) override { behind_->remove(id, std::move(done)); }

 private:
  const std::unique_ptr<ChunkStore> behind_;
  const std::shared_ptr<const HeldChunk> held_;
  net::Scheduler& scheduler_;
  net::Lifetime lifetime_;
};

}  // namespace

std::unique_ptr<ChunkStore> make_store_with_chunk(std::unique_ptr<ChunkStore> behind, const ChunkId& id, Digest digest,
                                                  Bytes data, net::Scheduler& scheduler) {
  auto held = std::make_shared<const HeldChunk>(HeldChunk{.id = id, .digest = digest, .data = std::move(data)});
  return std::make_unique<StoreWithChunk>(std::move(behind), std::move(held), scheduler);
}

}  // namespace godwit::chunks
