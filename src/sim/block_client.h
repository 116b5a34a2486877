// A client of a block device, as a program would be one: it keeps some requests under way, reads, writes, zeroes and flushes at
// random, and tells a History all of it. It never has two changes of one block under way, because their order is not defined;
// reads it sends at any time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>

#include "base/random.h"
#include "net/scheduler.h"
#include "sim/history.h"
#include "store/block_device.h"

namespace godwit::sim {

struct BlockClientOptions {
  std::uint64_t block_count = 64;  // works on these blocks of the device, from its begin
  std::uint64_t blocks_per_request_max = 4;
  std::uint64_t operations = UINT64_MAX;             // ends after so many
  unsigned depth = 4;                                // requests under way
  Duration pause_max = Duration::microseconds(500);  // between the end of one request and the next
  // Of 100 requests; the rest are reads.
  unsigned writes = 50, zeroes = 3, flushes = 5;
  double durable_chance = 0.1;  // that a write asks for Durability::durable
};

class BlockClient {
 public:
  // Where the device is now, or null: the client then tries again later. Asked for every request.
  using Device = std::function<store::BlockDevice*()>;

  // Runs on `scheduler`; with a Host's it vanishes with its crash. All outlive the client, except that a device's calls may end
  // after it is destroyed.
  BlockClient(net::Scheduler& scheduler, Random random, History& history, Device device, BlockClientOptions options = {});
  ~BlockClient();
  BlockClient(const BlockClient&) = delete;
  BlockClient& operator=(const BlockClient&) = delete;

  void start();
  // No new requests; is_idle() tells when the last has ended.
  void stop() { stopped_ = true; }
  bool is_idle() const { return under_way_ == 0; }
  // All operations are done, or it was stopped and is idle.
  bool is_finished() const { return (stopped_ || started_ >= options_.operations) && is_idle(); }
  std::uint64_t count_ended() const { return ended_; }
  std::uint64_t count_failed() const { return failed_; }

 private:
  struct Request;

  void next();
  void pause();
  void begin_read(store::BlockDevice& device);
  void begin_write(store::BlockDevice& device, bool zero);
  void begin_flush(store::BlockDevice& device);
  // Some blocks in a row.
  std::shared_ptr<Request> make_request();
  bool lock(const Request& request);
  void finish(const Request& request, bool ok);

  net::Scheduler& scheduler_;
  Random random_;
  History& history_;
  const Device device_;
  const BlockClientOptions options_;
  bool stopped_ = false;
  std::uint64_t started_ = 0, ended_ = 0, failed_ = 0;
  unsigned under_way_ = 0;
  std::set<std::uint64_t> locked_;  // blocks with a change under way
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Reads all of the device's first `block_count` blocks and checks them, when the client is idle or gone; calls `done` with the
// number of blocks that could be read, once.
void check_all(store::BlockDevice& device, History& history, std::uint64_t block_count, net::Done<std::uint64_t> done);

}  // namespace godwit::sim
