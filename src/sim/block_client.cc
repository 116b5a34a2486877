#include "sim/block_client.h"

#include <algorithm>
#include <utility>

namespace godwit::sim {

using store::Durability;
using store::ZeroMode;

struct BlockClient::Request {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  std::uint64_t operation = 0;
  bool changes = false;
  Bytes content;
};

BlockClient::BlockClient(net::Scheduler& scheduler, Random random, History& history, Device device, BlockClientOptions options)
    : scheduler_(scheduler), random_(random), history_(history), device_(std::move(device)), options_(options) {}

BlockClient::~BlockClient() {
  *alive_ = false;
}

void BlockClient::start() {
  for (unsigned i = 0; i < options_.depth; ++i) pause();
}

void BlockClient::pause() {
  const auto wait = static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(options_.pause_max.nanoseconds) + 1));
  scheduler_.schedule(scheduler_.now() + Duration{wait}, [this, alive = alive_] {
    if (*alive) next();
  });
}

void BlockClient::next() {
  if (stopped_ || started_ >= options_.operations) return;
  store::BlockDevice* device = device_();
  if (device == nullptr) return pause();
  ++started_;
  ++under_way_;
  const std::uint64_t dice = random_.below(100);
  if (dice < options_.writes + options_.zeroes)
    begin_write(*device, dice >= options_.writes);
  else if (dice < options_.writes + options_.zeroes + options_.flushes)
    begin_flush(*device);
  else
    begin_read(*device);
}

std::shared_ptr<BlockClient::Request> BlockClient::make_request() {
  auto request = std::make_shared<Request>();
  request->first = random_.below(options_.block_count);
  const std::uint64_t most = std::min(options_.blocks_per_request_max, options_.block_count - request->first);
  request->count = 1 + random_.below(most);
  return request;
}

bool BlockClient::lock(const Request& request) {
  const auto begin = locked_.lower_bound(request.first);
  if (begin != locked_.end() && *begin < request.first + request.count) return false;
  for (std::uint64_t i = 0; i < request.count; ++i) locked_.insert(request.first + i);
  return true;
}

void BlockClient::begin_read(store::BlockDevice& device) {
  const std::shared_ptr<Request> request = make_request();
  request->content.resize(request->count * history_.block_bytes());
  request->operation = history_.begin_read(request->first, request->count);
  device.read(request->first * history_.block_bytes(), request->content, [this, request, alive = alive_](Result<void> result) {
    if (!*alive) return;
    if (result)
      history_.end_read(request->operation, request->content);
    else
      history_.end_read_failed(request->operation);
    finish(*request, result.has_value());
  });
}

void BlockClient::begin_write(store::BlockDevice& device, bool zero) {
  const std::shared_ptr<Request> request = make_request();
  if (!lock(*request)) return finish(Request{}, true);  // Another time.
  request->changes = true;
  const std::uint64_t block_bytes = history_.block_bytes();
  const bool durable = random_.chance(options_.durable_chance);
  const Durability durability = durable ? Durability::durable : Durability::written;
  auto done = [this, request, durable, alive = alive_](Result<void> result) {
    if (!*alive) return;
    history_.end_write(request->operation, result.has_value(), durable);
    finish(*request, result.has_value());
  };
  if (zero) {
    request->operation = history_.begin_zero(request->first, request->count);
    const ZeroMode mode = random_.chance(0.5) ? ZeroMode::may_punch : ZeroMode::keep_allocated;
    device.zero(request->first * block_bytes, request->count * block_bytes, mode, durability, std::move(done));
  } else {
    request->content.resize(request->count * block_bytes);
    request->operation = history_.begin_write(request->first, request->content);
    device.write(request->first * block_bytes, request->content, durability, std::move(done));
  }
}

void BlockClient::begin_flush(store::BlockDevice& device) {
  const std::uint64_t operation = history_.begin_flush();
  device.flush([this, operation, alive = alive_](Result<void> result) {
    if (!*alive) return;
    history_.end_flush(operation, result.has_value());
    finish(Request{}, result.has_value());
  });
}

void BlockClient::finish(const Request& request, bool ok) {
  if (request.changes) {
    for (std::uint64_t i = 0; i < request.count; ++i) locked_.erase(request.first + i);
  }
  --under_way_;
  ++ended_;
  failed_ += !ok;
  pause();
}

namespace {

// One pass of check_all(): owns itself through the calls under way.
struct Pass : std::enable_shared_from_this<Pass> {
  store::BlockDevice& device;
  History& history;
  const std::uint64_t block_count;
  net::Done<std::uint64_t> done;
  Bytes content{};
  std::uint64_t block = 0, good = 0;

  Pass(store::BlockDevice& d, History& h, std::uint64_t count, net::Done<std::uint64_t> when_done)
      : device(d), history(h), block_count(count), done(std::move(when_done)) {}

  void next() {
    constexpr std::uint64_t kBlocksAtOnce = 64;
    const std::uint64_t count = std::min(block_count - block, kBlocksAtOnce);
    if (count == 0) return done(good);
    content.resize(count * history.block_bytes());
    const std::uint64_t operation = history.begin_read(block, count);
    device.read(block * history.block_bytes(), content, [self = shared_from_this(), operation, count](Result<void> result) {
      if (result) {
        self->history.end_read(operation, self->content);
        self->good += count;
      } else {
        self->history.end_read_failed(operation);
      }
      self->block += count;
      self->next();
    });
  }
};

}  // namespace

void check_all(store::BlockDevice& device, History& history, std::uint64_t block_count, net::Done<std::uint64_t> done) {
  std::make_shared<Pass>(device, history, block_count, std::move(done))->next();
}

}  // namespace godwit::sim
