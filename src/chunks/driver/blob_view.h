// A blob by its index, read anywhere: a block device whose bytes are chunks of any store, fetched when they are asked for, each
// one verified as every chunk that comes from a store is. What was read stays for a while, within a budget; who reads on finds
// the next chunks there; however many readers ask for a chunk, it is fetched once.
//
// It is used on the scheduler's thread, as every device. Memory: cache_bytes_max for chunks that are kept and those on their way,
// and 40 bytes for each entry of the index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/log.h"
#include "chunks/core/index.h"
#include "chunks/core/read_ahead.h"
#include "chunks/driver/chunk_store.h"
#include "store/block_device.h"

namespace godwit::chunks {

struct BlobViewOptions {
  std::uint64_t cache_bytes_max = 64 * 1024 * 1024;  // one chunk is kept and fetched whatever its size
  std::size_t requests_max = 64;                     // chunks on their way at once; the others wait their turn
  // A window is never more than a quarter of the cache, and what was fetched ahead and not yet read never more than half of it.
  ReadAheadLimits read_ahead;
};

class BlobView final : public store::BlockDevice {
 public:
  // `title` is what messages call the blob. `store` and `scheduler` outlive the view, and `store` the fetches that are under way
  // when it goes. Failed fetches are told to `log`, with the chunk's id.
  BlobView(std::string title, Index index, ChunkStore& store, net::Scheduler& scheduler, const BlobViewOptions& options,
           const Log& log);
  // Reads that still wait then end without `done`.
  ~BlobView() override;

  std::uint64_t size() const override;
  bool read_only() const override { return true; }
  // All of the range or an error: what the store says, within the chunk's number and place; ErrorKind::corrupt where a chunk has
  // another length than the index tells. A failure is not remembered: the next read asks the store again. How many reads may wait
  // is for whoever takes them from outside to bound.
  void read(std::uint64_t offset, MutableBytes into, net::Done<void> done) override;
  // Chunks of zeros are holes, all else is data. Looks at kExtentChunksMax chunks at most.
  void extents(std::uint64_t offset, std::uint64_t length, net::Done<std::vector<store::Extent>> done) override;
  // Fetches what there is room for, when nobody waits for anything else.
  void prefetch(std::uint64_t offset, std::uint64_t length) override;
  // ErrorKind::read_only.
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, net::Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            net::Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, net::Done<void> done) override;
  // Nothing to do.
  void flush(net::Done<void> done) override;

  struct Counters {
    std::uint64_t fetched = 0;     // chunks that came
    std::uint64_t failed = 0;      // chunks that did not
    std::uint64_t hits = 0;        // times that a read found a chunk there
    std::uint64_t joined = 0;      // times that one waited for a chunk somebody else had asked for
    std::uint64_t bytes_held = 0;  // kept and on their way, now
  };
  const Counters& counters() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

inline constexpr std::size_t kExtentChunksMax = 16384;

}  // namespace godwit::chunks
