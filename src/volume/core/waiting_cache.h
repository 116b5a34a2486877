// Which blocks a destination has, and who waits for those it lacks. Per block two bits: L, written here, and R, came from the
// source. Source: silo.md 7.3. It moves no bytes: it says which requests may go on, which blocks to ask for (NeedAt), which need
// not come any more (DontNeedAt), and whether the source's bytes of a block are to be kept out.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/bitset.h"
#include "volume/core/ids.h"

namespace godwit::volume {

class WaitingCache {
 public:
  using WaiterId = std::uint64_t;

  explicit WaitingCache(Geometry geometry);

  // A read of [offset, offset + length): true when every block is here; else `waiter` is named by poll_ready() once they are.
  bool want_read(WaiterId waiter, std::uint64_t offset, std::uint64_t length);
  // A write: its partly covered first and last block must be here first. The volume's short last block counts as whole when the
  // write reaches its end.
  bool want_write(WaiterId waiter, std::uint64_t offset, std::uint64_t length);
  // The request is not interested any more.
  void forget(WaiterId waiter);

  // Our application's bytes have landed: L on every wholly covered block; DontNeedAt for the run of those that were absent.
  void note_local_write(std::uint64_t offset, std::uint64_t length);

  // The source's bytes for [offset, offset + length) have been stored: R on wholly covered blocks.
  void note_remote_write(std::uint64_t offset, std::uint64_t length);
  // Blocks the source says we have already (a shared base).
  void note_already_have(BlockIndex block);
  // DirtyList: R is gone, L stays.
  void note_dirty(BlockIndex block);
  // Everything is absent again: a copy begun anew.
  void reset();

  bool is_present(BlockIndex block) const { return local_.test(block.value) || remote_.test(block.value); }
  // The source's bytes for this block must not be stored: ours are newer.
  bool is_local(BlockIndex block) const { return local_.test(block.value); }
  bool is_whole() const { return present_count_ == geometry_.block_count(); }
  std::uint64_t present_count() const { return present_count_; }
  std::uint64_t local_count() const { return local_count_; }

  // Waiters whose blocks are all here now, in the order in which they became so.
  std::optional<WaiterId> poll_ready();
  // Blocks to ask the source for, each once as long as it stays absent.
  std::optional<BlockIndex> poll_need();
  struct Run {
    BlockIndex first;
    std::uint64_t count = 0;
  };
  std::optional<Run> poll_dont_need();
  // The connection is new: what is still waited for is asked for again.
  void ask_again();

 private:
  bool want(WaiterId waiter, std::set<std::uint64_t> absent);
  void arrived(std::uint64_t block);
  // Wholly covered blocks of a byte range: [first, last).
  std::pair<std::uint64_t, std::uint64_t> covered(std::uint64_t offset, std::uint64_t length) const;

  Geometry geometry_;
  Bitset local_;
  Bitset remote_;
  std::uint64_t present_count_ = 0;
  std::uint64_t local_count_ = 0;
  std::map<WaiterId, std::uint64_t> missing_;                   // how many blocks each waiter still lacks
  std::map<std::uint64_t, std::vector<WaiterId>> waiting_for_;  // by block
  std::deque<WaiterId> ready_;
  std::deque<BlockIndex> needs_;
  std::deque<Run> dont_needs_;
};

}  // namespace godwit::volume
