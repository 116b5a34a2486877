// Several makers at work for one extraction. Leaves come in the archive's order and are handed to threads by the batch; a folder
// gets its attributes from whoever makes the last thing in it. What is there in the end is the same as with one thread, and so is
// the error: the first one in the archive's order among those that were met.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "chunks/driver/tree_maker.h"

namespace godwit::chunks {

class TreeMakers {
 public:
  // Files up to this size are handed over whole; whoever has a larger one makes it by own().
  static constexpr std::uint64_t kFileBytesMax = std::uint64_t{128} << 10;

  explicit TreeMakers(TreeExtraction& extraction) : extraction_(extraction), own_(extraction) {}
  // What was handed over is made or given up by then.
  ~TreeMakers();

  // The caller's own maker.
  TreeMaker& own() { return own_; }
  // A leaf: all of a file's bytes follow by append(), before the next call of anything else.
  void add(const std::shared_ptr<TreeFolder>& folder, const Node& node, std::string_view name);
  void append(ConstBytes bytes);
  // All that is in the folder was handed over.
  void leave(std::shared_ptr<TreeFolder> folder);
  // Waits until all is made. The first error, also if it was told before.
  Result<void> settle();
  // An error has been met: what follows is in vain. Any time.
  bool has_failed() const { return first_failed_ != kNone; }

 private:
  struct Leaf {
    std::shared_ptr<TreeFolder> folder;  // null: `left` is what counts
    std::shared_ptr<TreeFolder> left;
    Node node;
    std::string name;
    std::size_t bytes_at = 0;
    std::size_t bytes_size = 0;
  };
  struct Batch {
    std::uint64_t number = 0;
    std::vector<Leaf> leaves;
    std::size_t folders = 0;  // that were left
    Bytes bytes;

    void clear() {
      leaves.clear();
      folders = 0;
      bytes.clear();
    }
  };

  void hand_over(bool by_threads);
  void serve();
  void make(Batch& batch, TreeMaker& maker);
  static Result<void> make_leaf(const Leaf& leaf, ConstBytes bytes, TreeMaker& maker);
  Result<void> let_go(std::shared_ptr<TreeFolder> folder, TreeMaker& maker);
  void note_error(std::uint64_t batch_number, Error error);

  TreeExtraction& extraction_;
  TreeMaker own_;
  std::unique_ptr<Batch> filling_ = std::make_unique<Batch>();
  std::uint64_t batch_count_ = 0;
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  std::atomic<std::uint64_t> first_failed_ = kNone;  // a batch's number; written under mutex_
  std::atomic<bool> abandoned_ = false;

  std::mutex mutex_;                 // guards what follows
  std::condition_variable wake_;     // there is work, or the end
  std::condition_variable changed_;  // a batch was taken or made
  std::deque<std::unique_ptr<Batch>> waiting_;
  std::vector<std::unique_ptr<Batch>> spare_;
  std::size_t under_way_ = 0;
  bool ending_ = false;
  std::optional<Error> error_;
  std::vector<std::thread> threads_;
};

}  // namespace godwit::chunks
