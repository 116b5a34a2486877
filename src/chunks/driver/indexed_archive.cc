#include "chunks/driver/indexed_archive.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::chunks {

// Chunks that have come and those that are on their way, by their number. The reader's thread asks and takes, the scheduler's
// puts; a request that ends after the archive is gone finds only the shelf.
class IndexedArchive::Shelf : public std::enable_shared_from_this<Shelf> {
 public:
  Shelf(Index index, ChunkStore& store, net::Scheduler& scheduler)
      : index_(std::move(index)), store_(store), scheduler_(scheduler) {}

  const Index& index() const { return index_; }

  // The chunk, for as long as the caller holds it.
  Result<std::shared_ptr<const Bytes>> take(std::size_t number) {
    std::unique_lock lock(mutex_);
    ask_for(number, lock);
    changed_.wait(lock, [&] { return cancelled_ || chunks_.at(number).has_come; });
    if (cancelled_) return fail(ErrorKind::cancelled, "reading the archive was given up");
    const Slot& slot = chunks_.at(number);
    if (slot.error) return fail(*slot.error);
    return slot.data;
  }

  void cancel() {
    const std::scoped_lock lock(mutex_);
    cancelled_ = true;
    changed_.notify_all();
  }

 private:
  struct Slot {
    bool has_come = false;
    std::shared_ptr<const Bytes> data;
    std::optional<Error> error;
  };

  // This one and, when it goes on from the last, as many behind it as may be kept. Others are forgotten.
  void ask_for(std::size_t number, std::unique_lock<std::mutex>& lock) {
    const bool goes_on = number == last_ || number == last_ + 1 || number == 0;
    last_ = number;
    std::size_t end = number + 1;
    std::uint64_t bytes = index_.length_of(number);
    while (goes_on && end < index_.entries.size() && bytes + index_.length_of(end) <= kIndexedArchiveBytesMax)
      bytes += index_.length_of(end++);
    std::erase_if(chunks_, [&](const auto& entry) { return entry.first < number || entry.first >= std::max(end, kept_end_); });
    kept_end_ = goes_on ? end : number + 1;
    std::vector<std::size_t> wanted;
    for (std::size_t i = number; i < end; ++i)
      if (chunks_.try_emplace(i).second) wanted.push_back(i);
    if (wanted.empty()) return;
    lock.unlock();
    scheduler_.post([self = shared_from_this(), wanted = std::move(wanted)] {
      for (const std::size_t i : wanted) self->fetch(i);
    });
    lock.lock();
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
    const std::scoped_lock lock(mutex_);
    const auto slot = chunks_.find(number);
    if (slot == chunks_.end()) return;
    slot->second.has_come = true;
    if (!data)
      slot->second.error = std::move(data).error();
    else if (data->size() != length)
      slot->second.error = Error(ErrorKind::corrupt, fmt::format("chunk {} has {} bytes, the index says {}",
                                                                 index_.entries[number].id.hex(), data->size(), length));
    else
      slot->second.data = std::make_shared<const Bytes>(std::move(*data));
    changed_.notify_all();
  }

  const Index index_;
  ChunkStore& store_;
  net::Scheduler& scheduler_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::size_t, Slot> chunks_;
  std::size_t last_ = 0;
  std::size_t kept_end_ = 0;
  bool cancelled_ = false;
};

IndexedArchive::IndexedArchive(Index index, ChunkStore& store, net::Scheduler& scheduler)
    : shelf_(std::make_shared<Shelf>(std::move(index), store, scheduler)) {}

IndexedArchive::~IndexedArchive() {
  cancel();
}

std::uint64_t IndexedArchive::size() const {
  return shelf_->index().blob_size();
}

Result<void> IndexedArchive::read(std::uint64_t offset, MutableBytes into) {
  const Index& index = shelf_->index();
  GODWIT_CHECK(offset <= size() && into.size() <= size() - offset);
  while (!into.empty()) {
    const std::size_t number = index.chunk_at(offset);
    const Result<std::shared_ptr<const Bytes>> chunk = shelf_->take(number);
    if (!chunk) return fail(chunk.error());
    const std::uint64_t start = index.start_of(number);
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), index.entries[number].end - offset));
    std::copy_n((*chunk)->begin() + static_cast<std::ptrdiff_t>(offset - start), count, into.begin());
    offset += count;
    into = into.subspan(count);
  }
  return {};
}

void IndexedArchive::cancel() {
  shelf_->cancel();
}

}  // namespace godwit::chunks
