// What clients did to a block device and saw of it, and whether one device could have shown that: the checker of scenarios. It
// knows nothing of how the device works.
//
// Every block is a register. A read must give what some order of the operations allows, in which each lies between its begin and
// its end: never older than acknowledged, never back to older after newer, never anything that was not written. An operation
// without an acknowledgement may have happened, at any time after its begin. After power_loss(), each block is what the newest
// durable write left (acknowledged as durable, or acknowledged before a flush that was acknowledged began), or what any later one
// did; whatever a read finds then, stays. A block may be torn between writes only where one of them was not acknowledged when the
// read began, or at a power loss.
//
// Rule: for registers whose writes are unique, the operations on each value span a zone; an order exists if no two forward zones
// overlap and no backward zone lies within a forward one (Gibbons and Korach, "Testing shared memories", 1997).
//
// The first violation goes to World::fail().
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "sim/stamp.h"
#include "sim/world.h"

namespace godwit::sim {

class History {
 public:
  // `writer` goes into the stamps: another number for every device of a scenario. `block_bytes` is a multiple of 512.
  History(World& world, std::uint32_t writer, std::uint64_t block_bytes);

  std::uint64_t block_bytes() const { return block_bytes_; }

  // Operations. begin_…() gives the number that end_…() takes. One that never ends, or ends with `ok` false, is unacknowledged.
  // A discard, after which a block is zeros or what it was, is a begin_zero() without an end.
  // Stamps `content`, whole blocks to be written from block `first` on.
  std::uint64_t begin_write(std::uint64_t first, MutableBytes content);
  std::uint64_t begin_zero(std::uint64_t first, std::uint64_t count);
  void end_write(std::uint64_t operation, bool ok, bool durable = false);
  std::uint64_t begin_flush();
  void end_flush(std::uint64_t operation, bool ok);
  std::uint64_t begin_read(std::uint64_t first, std::uint64_t count);
  // Checks what was read: `count` blocks. A read that failed has shown nothing.
  void end_read(std::uint64_t operation, ConstBytes content);
  void end_read_failed(std::uint64_t operation);

  // The machine that holds the device lost power now. Operations under way are unacknowledged for good.
  void power_loss();
  // Nothing of what is still unacknowledged can reach the device any more: it has or it never will.
  void writers_are_gone();
  // Reads under way will never end: their readers died.
  void readers_are_gone() { reads_.clear(); }

  std::uint64_t count_writes_acknowledged() const { return writes_acknowledged_; }
  std::uint64_t count_blocks_checked() const { return blocks_checked_; }
  // Reads that found a block torn where it may be.
  std::uint64_t count_torn() const { return torn_; }

 private:
  // Order of begins and ends: one number per call, so that what happens at one instant has an order too.
  using Tick = std::uint64_t;
  static constexpr Tick kOpen = ~Tick{0};

  // One write to one block.
  struct Value {
    std::uint64_t sequence = 0;  // 0: nobody wrote it yet
    bool zero = false;
    bool durable = false;
    bool survivor = false;  // may be what the last power loss left
    Tick begin = 0;
    Tick acknowledged = kOpen;
    Tick happened = kOpen;  // it had by then: acknowledged, or read
    Tick closed = kOpen;    // it had by then, or never will
    Tick last_read_begin = 0;
    Tick latest_happening() const { return happened < closed ? happened : closed; }
    Tick latest_begin() const { return last_read_begin > begin ? last_read_begin : begin; }
  };
  using Values = std::vector<Value>;
  struct Operation {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    Tick begin = 0;
  };

  std::uint64_t begin_change(std::uint64_t first, std::uint64_t count, bool zero);
  Values& values_of(std::uint64_t block);
  bool is_durable(const Value& value) const { return value.durable || value.acknowledged < flushed_before_; }
  // Whether another write came wholly after `value` and had happened when the read began.
  static bool is_stale(const Values& values, const Value& value, Tick read_begin);
  bool is_overwritten_durably(const Values& values, const Value& value, Tick limit) const;
  void forget_old(Values& values);
  void check_block(std::uint64_t block, ConstBytes content, Tick read_begin);
  void check_value(std::uint64_t block, std::uint64_t sequence, Tick read_begin);
  void check_torn(std::uint64_t block, const std::vector<std::uint64_t>& sequences, Tick read_begin);
  void saw(Values& values, std::size_t index, std::uint64_t block, Tick read_begin);
  void fail(std::uint64_t block, const std::string& what, const Values& values);

  World& world_;
  const std::uint32_t writer_;
  const std::uint64_t block_bytes_;
  Tick now_ = 1;
  std::uint64_t next_sequence_ = 1;
  Tick flushed_before_ = 0;                 // the begin of the latest flush that was acknowledged
  std::map<std::uint64_t, Values> blocks_;  // those that were ever touched
  std::map<std::uint64_t, Operation> changes_, reads_, flushes_;
  std::uint64_t writes_acknowledged_ = 0;
  std::uint64_t blocks_checked_ = 0;
  std::uint64_t torn_ = 0;
};

}  // namespace godwit::sim
