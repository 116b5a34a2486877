// The calls that an application has under way, each in a slot that its id names. Slots are taken on any thread and stay where
// they are; apart from that a slot belongs to whoever was handed its number: the caller until it submits the call, then the
// transport's thread until it is over.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <godwit/homa.hpp>

#include "base/time.h"
#include "homa/core/ids.h"

namespace godwit::homa {

struct CallSlot {
  std::uint32_t generation = 0;
  bool in_use = false;
  bool is_started = false;  // the core has it as `rpc`
  bool has_deadline = false;
  Address to;
  std::uint16_t port = 0;
  Message request;
  Transport::Completion done;
  RpcHandle rpc;
  Instant made;
  Instant deadline;
};

class CallTable {
 public:
  // Nothing when there are too many.
  std::optional<std::uint32_t> take() {
    std::scoped_lock lock(mutex_);
    if (free_.empty()) {
      if (end_ == kChunk * kChunks) return std::nullopt;
      if (end_ % kChunk == 0) chunks_[end_ / kChunk] = std::make_unique<CallSlot[]>(kChunk);
      free_.push_back(end_++);
    }
    const std::uint32_t index = free_.back();
    free_.pop_back();
    CallSlot& slot = at(index);
    ++slot.generation;
    slot.in_use = true;
    slot.is_started = slot.has_deadline = false;
    return index;
  }
  void give_back(std::uint32_t index) {
    CallSlot& slot = at(index);
    slot.request = {};
    slot.done = nullptr;
    std::scoped_lock lock(mutex_);
    slot.in_use = false;
    free_.push_back(index);
  }

  CallSlot& at(std::uint32_t index) { return chunks_[index / kChunk][index % kChunk]; }
  CallId id_of(std::uint32_t index) { return (std::uint64_t{at(index).generation} << 32) | (index + 1); }
  // The slot that the id names, if that call is not over. On the transport's thread.
  std::optional<std::uint32_t> find(CallId id) {
    const auto number = static_cast<std::uint32_t>(id);
    std::scoped_lock lock(mutex_);
    if (number == 0 || number > end_) return std::nullopt;
    const CallSlot& slot = at(number - 1);
    if (!slot.in_use || slot.generation != static_cast<std::uint32_t>(id >> 32)) return std::nullopt;
    return number - 1;
  }
  // Every slot that was ever taken has a lower index.
  std::uint32_t index_end() {
    std::scoped_lock lock(mutex_);
    return end_;
  }

 private:
  static constexpr std::uint32_t kChunk = 1024;
  static constexpr std::uint32_t kChunks = 1024;

  std::mutex mutex_;
  std::array<std::unique_ptr<CallSlot[]>, kChunks> chunks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t end_ = 0;
};

}  // namespace godwit::homa
