#include "sim/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace godwit::sim {

History::History(World& world, std::uint32_t writer, std::uint64_t block_bytes)
    : world_(world), writer_(writer), block_bytes_(block_bytes) {
  GODWIT_CHECK(block_bytes > 0 && block_bytes % kStampBytes == 0);
}

// ---- writes

std::uint64_t History::begin_write(std::uint64_t first, MutableBytes content) {
  GODWIT_CHECK(content.size() % block_bytes_ == 0);
  const std::uint64_t count = content.size() / block_bytes_;
  const std::uint64_t sequence = begin_change(first, count, false);
  for (std::uint64_t i = 0; i < count; ++i)
    put_stamp({writer_, sequence, first + i}, content.subspan(i * block_bytes_, block_bytes_));
  return sequence;
}

std::uint64_t History::begin_zero(std::uint64_t first, std::uint64_t count) {
  return begin_change(first, count, true);
}

std::uint64_t History::begin_change(std::uint64_t first, std::uint64_t count, bool zero) {
  const std::uint64_t sequence = next_sequence_++;
  const Tick begin = now_++;
  for (std::uint64_t block = first; block < first + count; ++block) {
    Values& values = values_of(block);
    forget_old(values);
    Value value;
    value.sequence = sequence;
    value.zero = zero;
    value.begin = begin;
    values.push_back(value);
  }
  changes_[sequence] = {first, count, begin};
  if (world_.tracing()) world_.trace(fmt::format("writer {}: {} blocks {}+{}", writer_, sequence, first, count));
  return sequence;
}

void History::end_write(std::uint64_t operation, bool ok, bool durable) {
  const auto found = changes_.find(operation);
  if (found == changes_.end()) return;  // begun before a power loss
  const Operation change = found->second;
  changes_.erase(found);
  if (world_.tracing()) world_.trace(fmt::format("writer {}: {} {}", writer_, operation, ok ? "acknowledged" : "failed"));
  if (!ok) return;
  ++writes_acknowledged_;
  const Tick end = now_++;
  for (std::uint64_t block = change.first; block < change.first + change.count; ++block) {
    for (Value& value : values_of(block)) {
      if (value.sequence != operation) continue;
      value.acknowledged = end;
      value.happened = std::min(value.happened, end);
      value.durable = durable;
    }
  }
}

std::uint64_t History::begin_flush() {
  const Tick begin = now_++;
  flushes_[begin] = {0, 0, begin};
  return begin;
}

void History::end_flush(std::uint64_t operation, bool ok) {
  if (flushes_.erase(operation) > 0 && ok) flushed_before_ = std::max(flushed_before_, operation);
}

History::Values& History::values_of(std::uint64_t block) {
  Values& values = blocks_[block];
  if (values.empty()) {
    Value first;
    first.zero = first.durable = true;
    first.acknowledged = first.happened = 0;
    values.push_back(first);
  }
  return values;
}

bool History::is_stale(const Values& values, const Value& value, Tick read_begin) {
  return std::any_of(values.begin(), values.end(),
                     [&](const Value& other) { return other.begin > value.latest_happening() && other.happened < read_begin; });
}

// Whether a durable write came wholly after this one, and ended before `limit`.
bool History::is_overwritten_durably(const Values& values, const Value& value, Tick limit) const {
  return std::any_of(values.begin(), values.end(), [&](const Value& other) {
    return is_durable(other) && other.begin > value.latest_happening() && other.happened < limit;
  });
}

// Drops what no read and no power loss can show any more.
void History::forget_old(Values& values) {
  const Tick oldest_read = reads_.empty() ? kOpen : reads_.begin()->second.begin;
  std::erase_if(values, [&, copy = values](const Value& value) { return is_overwritten_durably(copy, value, oldest_read); });
}

// ---- reads

std::uint64_t History::begin_read(std::uint64_t first, std::uint64_t count) {
  const Tick begin = now_++;
  reads_[begin] = {first, count, begin};
  return begin;
}

void History::end_read_failed(std::uint64_t operation) {
  reads_.erase(operation);
}

void History::end_read(std::uint64_t operation, ConstBytes content) {
  const auto found = reads_.find(operation);
  if (found == reads_.end()) return;  // begun before a power loss
  const Operation read = found->second;
  GODWIT_CHECK(content.size() == read.count * block_bytes_);
  for (std::uint64_t i = 0; i < read.count && !world_.failed(); ++i)
    check_block(read.first + i, content.subspan(i * block_bytes_, block_bytes_), read.begin);
  ++now_;
  reads_.erase(operation);
}

void History::check_block(std::uint64_t block, ConstBytes content, Tick read_begin) {
  ++blocks_checked_;
  const Result<std::vector<std::uint64_t>> sequences = find_sequences(content, writer_, block);
  if (!sequences) return fail(block, sequences.error().message(), values_of(block));
  if (sequences->size() == 1)
    check_value(block, sequences->front(), read_begin);
  else
    check_torn(block, *sequences, read_begin);
}

void History::check_value(std::uint64_t block, std::uint64_t sequence, Tick read_begin) {
  Values& values = values_of(block);
  std::vector<std::size_t> fitting;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (sequence == 0 ? values[i].zero : values[i].sequence == sequence) fitting.push_back(i);
  }
  if (fitting.empty()) {
    return fail(block,
                sequence == 0                ? "reads as zeros, which it can not be any more"
                : sequence >= next_sequence_ ? fmt::format("holds sequence {}, which nobody wrote", sequence)
                                             : fmt::format("went back to sequence {} after durable newer writes", sequence),
                values);
  }
  if (fitting.size() == 1) return saw(values, fitting.front(), block, read_begin);
  // Zeros look alike: one of them must fit, and which it was stays open.
  const bool any =
      std::any_of(fitting.begin(), fitting.end(), [&](std::size_t i) { return !is_stale(values, values[i], read_begin); });
  if (!any) fail(block, "reads as zeros, older than what was acknowledged", values);
}

// A read of the value at `index` has ended now. Its zone has grown: does it still fit with the others?
void History::saw(Values& values, std::size_t index, std::uint64_t block, Tick read_begin) {
  if (values[index].survivor) {
    const std::uint64_t sequence = values[index].sequence;
    std::erase_if(values, [&](const Value& other) { return other.survivor && other.sequence != sequence; });
    index = static_cast<std::size_t>(
        std::find_if(values.begin(), values.end(), [&](const Value& v) { return v.sequence == sequence; }) - values.begin());
    values[index].survivor = false;
  }
  Value& value = values[index];
  value.happened = std::min(now_, value.latest_happening());
  value.last_read_begin = std::max(value.last_read_begin, read_begin);
  const auto zone = [](const Value& v) -> std::pair<Tick, Tick> { return std::minmax({v.happened, v.latest_begin()}); };
  const auto is_forward = [](const Value& v) { return v.happened < v.latest_begin(); };
  for (const Value& other : values) {
    if (&other == &value) continue;
    const auto [low, high] = zone(value);
    const auto [other_low, other_high] = zone(other);
    bool clash = false;
    if (is_forward(value) && is_forward(other))
      clash = low < other_high && other_low < high;
    else if (is_forward(value))
      clash = low < other_low && other_high < high;
    else if (is_forward(other))
      clash = other_low < low && high < other_high;
    if (clash) {
      return fail(block,
                  fmt::format("holds sequence {}, which can not be together with sequence {}", value.sequence, other.sequence),
                  values);
    }
  }
}

void History::check_torn(std::uint64_t block, const std::vector<std::uint64_t>& sequences, Tick read_begin) {
  ++torn_;
  const Values& values = values_of(block);
  bool in_doubt = false;
  for (const std::uint64_t sequence : sequences) {
    const auto found = std::find_if(values.begin(), values.end(), [&](const Value& v) {
      const bool is_it = sequence == 0 ? v.zero : v.sequence == sequence;
      return is_it && !is_stale(values, v, read_begin);
    });
    if (found == values.end())
      return fail(block, fmt::format("is torn, and sequence {} can not be there any more", sequence), values);
    in_doubt |= found->survivor || found->acknowledged > read_begin;
  }
  if (!in_doubt)
    fail(block, fmt::format("is torn between sequences {} and {}, both acknowledged", sequences[0], sequences[1]), values);
}

// ---- crashes

void History::power_loss() {
  const Tick loss = now_++;
  for (auto& [block, values] : blocks_) {
    std::erase_if(values, [&, copy = values](const Value& value) { return is_overwritten_durably(copy, value, kOpen); });
    for (Value& value : values) {
      // One of them is what the disk holds now, and it is durable; which one, the first read tells.
      value.survivor = values.size() > 1;
      value.durable = true;
      value.begin = value.acknowledged = value.happened = value.closed = loss;
      value.last_read_begin = 0;
    }
  }
  changes_.clear();
  flushes_.clear();
  reads_.clear();
}

void History::writers_are_gone() {
  const Tick end = now_++;
  for (auto& [block, values] : blocks_) {
    for (Value& value : values) value.closed = std::min(value.closed, end);
  }
  changes_.clear();
}

void History::fail(std::uint64_t block, const std::string& what, const Values& values) {
  std::string text = fmt::format("writer {}: block {} {}; known of it:", writer_, block, what);
  for (const Value& value : values) {
    text += fmt::format(" [{}{}{}{} {}-{}]", value.sequence, value.zero ? " zero" : "", is_durable(value) ? " durable" : "",
                        value.survivor ? " survivor" : "", value.begin,
                        value.acknowledged == kOpen ? std::string("?") : std::to_string(value.acknowledged));
  }
  world_.fail(std::move(text));
}

}  // namespace godwit::sim
