#include "chunks/driver/cached_store.h"

#include <utility>

namespace godwit::chunks {

using net::Done;

namespace {

class TallyingReader final : public ChunkReader {
 public:
  TallyingReader(std::shared_ptr<ChunkReader> cache, std::shared_ptr<CacheTally> tally)
      : cache_(std::move(cache)), tally_(std::move(tally)) {}
  void read(std::span<WantedChunk> wanted, Digest digest) override {
    const std::uint64_t before = bytes_got(wanted);
    cache_->read(wanted, digest);
    *tally_ += bytes_got(wanted) - before;
  }

 private:
  static std::uint64_t bytes_got(std::span<const WantedChunk> wanted) {
    std::uint64_t bytes = 0;
    for (const WantedChunk& chunk : wanted) bytes += chunk.got ? chunk.into.size() : 0;
    return bytes;
  }

  const std::shared_ptr<ChunkReader> cache_;
  const std::shared_ptr<CacheTally> tally_;
};

class CachedStore final : public ChunkStore {
 public:
  CachedStore(std::unique_ptr<ChunkStore> cache, std::unique_ptr<ChunkStore> behind, std::shared_ptr<CacheTally> tally)
      : cache_(std::move(cache)),
        behind_(std::move(behind)),
        tally_(tally ? std::move(tally) : std::make_shared<CacheTally>(0)) {}

  const std::string& title() const override { return behind_->title(); }
  // What it has not is asked of get().
  std::shared_ptr<ChunkReader> reader() override {
    std::shared_ptr<ChunkReader> reader = cache_->reader();
    return reader ? std::make_shared<TallyingReader>(std::move(reader), tally_) : nullptr;
  }

  void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) override {
    cache_->get(id, digest, size_max, [this, id, digest, size_max, done = std::move(done)](Result<Bytes> chunk) mutable {
      if (chunk) {
        *tally_ += chunk->size();
        return done(std::move(chunk));
      }
      const bool is_damaged = chunk.error().kind() != ErrorKind::not_found;
      behind_->get(id, digest, size_max, [this, id, is_damaged, done = std::move(done)](Result<Bytes> fetched) mutable {
        if (!fetched) return done(std::move(fetched));
        auto kept = std::make_shared<Bytes>(std::move(*fetched));
        if (!is_damaged) return keep(id, std::move(kept), std::move(done));
        cache_->remove(id, [this, id, kept = std::move(kept), done = std::move(done)](Result<void>) mutable {
          keep(id, std::move(kept), std::move(done));
        });
      });
    });
  }

  void has(std::vector<ChunkId> ids, Done<std::vector<bool>> done) override { behind_->has(std::move(ids), std::move(done)); }
  void put(const ChunkId& id, ConstBytes data, Done<bool> done) override { behind_->put(id, data, std::move(done)); }
  void sync(Done<void> done) override { behind_->sync(std::move(done)); }
  void remove(const ChunkId& id, Done<void> done) override { behind_->remove(id, std::move(done)); }

 private:
  void keep(const ChunkId& id, std::shared_ptr<Bytes> chunk, Done<Bytes> done) {
    const ConstBytes data = *chunk;
    cache_->put(id, data, [chunk = std::move(chunk), done = std::move(done)](Result<bool>) mutable { done(std::move(*chunk)); });
  }

  std::unique_ptr<ChunkStore> cache_;
  std::unique_ptr<ChunkStore> behind_;
  const std::shared_ptr<CacheTally> tally_;
};

}  // namespace

std::unique_ptr<ChunkStore> make_cached_store(std::unique_ptr<ChunkStore> cache, std::unique_ptr<ChunkStore> behind,
                                              std::shared_ptr<CacheTally> tally) {
  return std::make_unique<CachedStore>(std::move(cache), std::move(behind), std::move(tally));
}

}  // namespace godwit::chunks
