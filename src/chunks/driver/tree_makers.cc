#include "chunks/driver/tree_makers.h"

#include <utility>

#include "base/check.h"

namespace godwit::chunks {
namespace {

// A hand-over costs a few microseconds, a small file ten times as much.
constexpr std::size_t kBatchBytes = std::size_t{512} << 10;
constexpr std::size_t kBatchLeavesMax = 64;
// Folders stay open until all in them is made.
constexpr std::size_t kBatchFoldersMax = 16;
// For each thread; with the one that it works on, what bounds the memory and the descriptors of open folders.
constexpr std::size_t kWaitingMax = 2;

}  // namespace

TreeMakers::~TreeMakers() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
    abandoned_ = true;  // who gave up before settle() wants no more
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void TreeMakers::add(const std::shared_ptr<TreeFolder>& folder, const Node& node, std::string_view name) {
  if (filling_->leaves.size() >= kBatchLeavesMax || filling_->folders >= kBatchFoldersMax ||
      filling_->bytes.size() + node.payload_size > kBatchBytes)
    hand_over(extraction_.options.threads > 1);
  ++folder->open;
  filling_->leaves.push_back(
      {.folder = folder, .left = nullptr, .node = node, .name = std::string(name), .bytes_at = filling_->bytes.size()});
}

void TreeMakers::append(ConstBytes bytes) {
  godwit::append(filling_->bytes, bytes);
  filling_->leaves.back().bytes_size += bytes.size();
}

// In its turn behind the leaves: where nobody works on any of them, it is the next maker's.
void TreeMakers::leave(std::shared_ptr<TreeFolder> folder) {
  if (filling_->folders >= kBatchFoldersMax) hand_over(extraction_.options.threads > 1);
  ++filling_->folders;
  filling_->leaves.push_back({.folder = nullptr, .left = std::move(folder), .node = {}, .name = {}});
}

void TreeMakers::hand_over(bool by_threads) {
  if (filling_->leaves.empty()) return;
  filling_->number = batch_count_++;
  if (!by_threads) {
    make(*filling_, own_);
    filling_->clear();
    return;
  }
  std::unique_lock lock(mutex_);
  if (threads_.size() < extraction_.options.threads) threads_.emplace_back([this] { serve(); });
  changed_.wait(lock, [&] { return waiting_.size() < kWaitingMax * threads_.size(); });
  waiting_.push_back(std::move(filling_));
  if (spare_.empty()) {
    filling_ = std::make_unique<Batch>();
  } else {
    filling_ = std::move(spare_.back());
    spare_.pop_back();
  }
  lock.unlock();
  wake_.notify_one();
}

void TreeMakers::serve() {
  TreeMaker maker(extraction_);
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return !waiting_.empty() || ending_; });
    if (waiting_.empty()) return;
    std::unique_ptr<Batch> batch = std::move(waiting_.front());
    waiting_.pop_front();
    ++under_way_;
    lock.unlock();
    changed_.notify_one();
    make(*batch, maker);
    batch->clear();
    lock.lock();
    --under_way_;
    spare_.push_back(std::move(batch));
    if (under_way_ == 0 && waiting_.empty()) changed_.notify_one();
  }
}

void TreeMakers::make(Batch& batch, TreeMaker& maker) {
  for (Leaf& leaf : batch.leaves) {
    // Batches before a failed one go on: theirs is the earlier error.
    if (abandoned_ || batch.number > first_failed_) return;
    Result<void> made;
    if (leaf.folder) made = make_leaf(leaf, ConstBytes(batch.bytes).subspan(leaf.bytes_at, leaf.bytes_size), maker);
    if (made) made = let_go(leaf.folder ? std::move(leaf.folder) : std::move(leaf.left), maker);
    if (!made) return note_error(batch.number, std::move(made).error());
  }
}

Result<void> TreeMakers::make_leaf(const Leaf& leaf, ConstBytes bytes, TreeMaker& maker) {
  if (maker.is_skipped(leaf.node)) return {};
  if (!leaf.node.is_regular()) return maker.make_special(*leaf.folder, leaf.node, leaf.name);
  return maker.make_file(*leaf.folder, leaf.node, leaf.name, bytes);
}

// From the inside out: what a folder's own attributes forbid is done by then.
Result<void> TreeMakers::let_go(std::shared_ptr<TreeFolder> folder, TreeMaker& maker) {
  while (folder && folder->open.fetch_sub(1) == 1) {
    if (Result<void> finished = maker.finish_folder(*folder); !finished) return finished;
    folder = std::shared_ptr<TreeFolder>(folder->parent);
  }
  return {};
}

void TreeMakers::note_error(std::uint64_t batch_number, Error error) {
  const std::scoped_lock lock(mutex_);
  if (batch_number > first_failed_) return;
  error_ = std::move(error);
  first_failed_ = batch_number;
}

Result<void> TreeMakers::settle() {
  // A file whose bytes stopped coming is no file.
  if (!filling_->leaves.empty()) {
    const Leaf& last = filling_->leaves.back();
    if (last.folder && last.node.is_regular() && last.bytes_size != last.node.payload_size) filling_->leaves.pop_back();
  }
  hand_over(!threads_.empty());  // little enough for one batch needs no thread
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return waiting_.empty() && under_way_ == 0; });
  if (error_) return fail(*error_);
  return {};
}

}  // namespace godwit::chunks
