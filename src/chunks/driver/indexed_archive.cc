#include "chunks/driver/indexed_archive.h"

#include <algorithm>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/driver/spare_memory.h"

namespace godwit::chunks {

// Chunks that have come and those that are on their way, by their number. The reader's thread asks and takes, the scheduler's
// puts; a request that ends after the archive is gone finds only the shelf.
class IndexedArchive::Shelf : public std::enable_shared_from_this<Shelf> {
 public:
  Shelf(Index index, ChunkStore& store, ChunkReader* seeds, net::Workers& workers, net::Scheduler& scheduler)
      : index_(std::move(index)),
        store_(store),
        seeds_(seeds),
        reader_(store.reader()),
        workers_(workers),
        scheduler_(scheduler) {}

  // A chunk's bytes, for as long as it is held.
  struct Held {
    std::shared_ptr<const void> memory;
    ConstBytes bytes;
  };

  const Index& index() const { return index_; }
  Counts so_far() {
    const std::scoped_lock lock(mutex_);
    return counts_;
  }

  Result<Held> take(std::size_t number) {
    std::unique_lock lock(mutex_);
    ask_for(number, lock);
    awaited_ = number;
    changed_.wait(lock, [&] { return cancelled_ || chunks_.at(number).has_come; });
    awaited_ = kNone;
    if (cancelled_) return fail(ErrorKind::cancelled, "reading the archive was given up");
    const Slot& slot = chunks_.at(number);
    if (slot.error) return fail(*slot.error);
    return slot.held;
  }

  void will_read(std::uint64_t start, std::uint64_t end) {
    if (start >= end) return;
    const std::scoped_lock lock(mutex_);
    ahead_begin_ = index_.chunk_at(start);
    ahead_end_ = index_.chunk_at(end - 1) + 1;
  }

  void cancel() {
    const std::scoped_lock lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  struct Slot {
    bool has_come = false;
    Held held;
    std::optional<Error> error;
  };

  // This one and, when it goes on from the last, as many behind it as may be kept. Others are forgotten.
  void ask_for(std::size_t number, std::unique_lock<std::mutex>& lock) {
    // Asked for in runs: only when half of what may be kept ahead was read.
    if (chunks_.contains(number) && number >= last_ && number < kept_end_ &&
        (kept_end_ >= ahead_end_ || index_.entries[kept_end_ - 1].end - index_.start_of(number) > kIndexedArchiveBytesMax / 2)) {
      last_ = number;
      chunks_.erase(chunks_.begin(), chunks_.lower_bound(number));
      return;
    }
    const bool goes_on = number == last_ || number == last_ + 1 || number == ahead_begin_;
    last_ = number;
    std::size_t end = number + 1;
    std::uint64_t bytes = index_.length_of(number);
    while (goes_on && end < ahead_end_ && bytes + index_.length_of(end) <= kIndexedArchiveBytesMax)
      bytes += index_.length_of(end++);
    std::erase_if(chunks_, [&](const auto& entry) { return entry.first < number || entry.first >= std::max(end, kept_end_); });
    kept_end_ = goes_on ? end : number + 1;
    std::vector<std::size_t> wanted;
    for (std::size_t i = number; i < end; ++i)
      if (chunks_.try_emplace(i).second) wanted.push_back(i);
    if (wanted.empty()) return;
    lock.unlock();
    scheduler_.post([self = shared_from_this(), wanted = std::move(wanted)] { self->begin(wanted); });
    lock.lock();
  }

  // On the scheduler's thread.
  void begin(const std::vector<std::size_t>& wanted) {
    if (!reader_ && seeds_ == nullptr) {
      for (const std::size_t number : wanted) fetch(number);
      return;
    }
    for (std::size_t i = 0; i < wanted.size();) {
      auto run = std::make_shared<std::vector<std::size_t>>();
      std::uint64_t bytes = 0;
      while (i < wanted.size() && run->size() < kChunkRunCountMax &&
             (run->empty() || bytes + index_.length_of(wanted[i]) <= kChunkRunBytes)) {
        bytes += index_.length_of(wanted[i]);
        run->push_back(wanted[i++]);
      }
      workers_.run([self = shared_from_this(), run, bytes] { self->read_run(*run, bytes); },
                   [self = shared_from_this(), run] {
                     for (const std::size_t number : *run) self->fetch(number);
                   });
    }
  }

  // On a worker: takes out of `run` what was had.
  void read_run(std::vector<std::size_t>& run, std::uint64_t bytes) {
    if (is_cancelled()) return;
    const std::shared_ptr<Bytes> memory = memory_->take(bytes);
    std::vector<WantedChunk> chunks;
    std::size_t at = 0;
    for (const std::size_t number : run) {
      const std::uint64_t length = index_.length_of(number);
      chunks.push_back({.id = index_.entries[number].id, .into = MutableBytes(*memory).subspan(at, length), .got = false});
      at += length;
    }
    if (seeds_ != nullptr) seeds_->read(chunks, index_.header.digest());
    const auto bytes_got = [&] {
      std::uint64_t sum = 0;
      for (const WantedChunk& chunk : chunks) sum += chunk.got ? chunk.into.size() : 0;
      return sum;
    };
    const std::uint64_t reused = bytes_got();
    if (reader_) reader_->read(chunks, index_.header.digest());
    std::vector<std::size_t> others;
    const std::scoped_lock lock(mutex_);
    counts_.reused += reused;
    counts_.fetched += bytes_got() - reused;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      if (chunks[i].got)
        put_in(Held{.memory = memory, .bytes = chunks[i].into}, run[i]);
      else
        others.push_back(run[i]);
    }
    run = std::move(others);
  }

  bool is_cancelled() {
    const std::scoped_lock lock(mutex_);
    return cancelled_;
  }

  // On the scheduler's thread.
  void fetch(std::size_t number) {
    {
      const std::scoped_lock lock(mutex_);
      if (cancelled_ || !chunks_.contains(number)) return;
    }
    const std::uint64_t length = index_.length_of(number);
    store_.get(index_.entries[number].id, index_.header.digest(), length,
               [self = shared_from_this(), number, length](Result<Bytes> data) { self->put(number, length, std::move(data)); });
  }

  void put(std::size_t number, std::uint64_t length, Result<Bytes> data) {
    if (data && data->size() != length)
      data = fail(ErrorKind::corrupt,
                  fmt::format("chunk {} has {} bytes, the index says {}", index_.entries[number].id.hex(), data->size(), length));
    const std::scoped_lock lock(mutex_);
    if (data) {
      counts_.fetched += length;
      const auto memory = std::make_shared<const Bytes>(std::move(*data));
      put_in(Held{.memory = memory, .bytes = *memory}, number);
    } else {
      put_in(fail(std::move(data).error()), number);
    }
  }

  // Under the lock.
  void put_in(Result<Held> held, std::size_t number) {
    const auto slot = chunks_.find(number);
    if (slot == chunks_.end()) return;
    slot->second.has_come = true;
    if (held)
      slot->second.held = std::move(*held);
    else
      slot->second.error = std::move(held).error();
    if (number == awaited_) changed_.notify_all();
  }

  const Index index_;
  ChunkStore& store_;
  ChunkReader* const seeds_;
  const std::shared_ptr<ChunkReader> reader_;
  net::Workers& workers_;
  net::Scheduler& scheduler_;
  const std::shared_ptr<SpareMemory> memory_ = std::make_shared<SpareMemory>();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::size_t, Slot> chunks_;
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::size_t awaited_ = kNone;
  std::size_t last_ = 0;
  // What will be read in its order.
  std::size_t ahead_begin_ = kNone;
  std::size_t ahead_end_ = 0;
  std::size_t kept_end_ = 0;
  bool cancelled_ = false;
  Counts counts_;
};

IndexedArchive::IndexedArchive(Index index, ChunkStore& store, ChunkReader* seeds, net::Workers& workers,
                               net::Scheduler& scheduler)
    : shelf_(std::make_shared<Shelf>(std::move(index), store, seeds, workers, scheduler)) {}

IndexedArchive::~IndexedArchive() {
  cancel();
}

const Index& IndexedArchive::index() const {
  return shelf_->index();
}

std::uint64_t IndexedArchive::size() const {
  return index().blob_size();
}

Result<void> IndexedArchive::read(std::uint64_t offset, MutableBytes into) {
  const Index& index = shelf_->index();
  GODWIT_CHECK(offset <= size() && into.size() <= size() - offset);
  while (!into.empty()) {
    const std::size_t number = index.chunk_at(offset);
    const Result<Shelf::Held> chunk = shelf_->take(number);
    const std::uint64_t start = index.start_of(number);
    if (!chunk && chunk.error().kind() == ErrorKind::cancelled) return fail(chunk.error());
    if (!chunk)
      return fail(Error(chunk.error()).within(fmt::format("chunk {} of {}, at offset {}", number, index.entries.size(), start)));
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), index.entries[number].end - offset));
    std::copy_n(chunk->bytes.begin() + static_cast<std::ptrdiff_t>(offset - start), count, into.begin());
    offset += count;
    into = into.subspan(count);
  }
  return {};
}

void IndexedArchive::will_read(std::uint64_t start, std::uint64_t end) {
  shelf_->will_read(start, end);
}

IndexedArchive::Counts IndexedArchive::so_far() const {
  return shelf_->so_far();
}

void IndexedArchive::cancel() {
  shelf_->cancel();
}

}  // namespace godwit::chunks
