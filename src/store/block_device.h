// Bytes at rest addressed by offset: a file, memory, an overlay on a base, a disk, a volume's local face, another host's export.
// Everything is asynchronous: submit, and learn later. Buffers are the caller's and live until `done`. Requests may be under way
// together and end in any order; two that overlap and are under way together have no defined order.
// All offsets and lengths are bytes; any alignment is allowed; [offset, offset+length) lies within size() or the request fails
// with ErrorKind::invalid and does nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "net/scheduler.h"

namespace godwit::store {

using net::Done;

struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool hole = false;  // not allocated
  bool zero = false;  // reads as zeros (a hole always does)

  friend bool operator==(const Extent&, const Extent&) = default;
};

enum class Durability : std::uint8_t {
  written,  // accepted; survives a crash after the next flush()
  durable,  // on stable storage before `done` (FUA)
};

enum class ZeroMode : std::uint8_t {
  may_punch,       // the range may be deallocated
  keep_allocated,  // NO_HOLE: space stays reserved where the device can
};

class BlockDevice {
 public:
  virtual ~BlockDevice() = default;

  virtual std::uint64_t size() const = 0;
  virtual bool read_only() const = 0;

  virtual void read(std::uint64_t offset, MutableBytes into, Done<void> done) = 0;
  virtual void write(std::uint64_t offset, ConstBytes from, Durability durability, Done<void> done) = 0;
  // Everything whose `done` came before this call is on stable storage when this one's comes without error.
  virtual void flush(Done<void> done) = 0;
  // The range reads as zeros afterwards.
  virtual void zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability, Done<void> done) = 0;
  // The range's content is not needed any more; reads afterwards give zeros or the old bytes (what TRIM promises).
  virtual void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) = 0;
  // What is known about allocation, in order, without gaps, from `offset`; may end early but covers at least one byte.
  virtual void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) = 0;

  // Starts writing dirty pages of the range back without waiting, so that a later flush is short. A hint.
  virtual void start_writeback(std::uint64_t offset, std::uint64_t length) { (void)offset, (void)length; }
  // Brings the range into cache. A hint.
  virtual void prefetch(std::uint64_t offset, std::uint64_t length) { (void)offset, (void)length; }
  // The whole device as memory, where it is that: lets a driver send and receive without a copy. Empty otherwise. Whoever
  // uses it answers for order between its accesses and read()/write().
  virtual MutableBytes memory() { return {}; }
  // Whether zero(may_punch) takes about the same time whatever the length: what NBD's FAST_ZERO asks.
  virtual bool punches() const { return false; }
};

}  // namespace godwit::store
