#include "homa/core/cutoffs.h"

#include <algorithm>

namespace godwit::homa {

namespace {

constexpr std::uint32_t kFineStep = 64, kFineEnd = 4096;
constexpr std::uint32_t kCoarseStep = 1024, kCoarseEnd = 131072;
constexpr std::size_t kFineBuckets = kFineEnd / kFineStep;
constexpr std::size_t kCoarseBuckets = (kCoarseEnd - kFineEnd) / kCoarseStep;
constexpr std::size_t kLarge = kFineBuckets + kCoarseBuckets;

// What the bytes of a bucket mean in messages, whose true number is not kept on purpose (homa.md 6.3).
std::uint64_t estimated_count(std::uint64_t bytes, std::uint32_t upper, std::uint32_t upper_before) {
  return 2 * bytes / (std::uint64_t{upper} + upper_before);
}

double change(std::uint32_t before, std::uint32_t now) {
  const std::uint32_t larger = std::max(before, now);
  return larger == 0 ? 0 : static_cast<double>(larger - std::min(before, now)) / larger;
}

std::uint8_t scheduled_priority(const Config& config, const Cutoffs& cutoffs) {
  return config.max_scheduled_priority ? *config.max_scheduled_priority : max_scheduled_priority(cutoffs);
}

}  // namespace

Cutoffs assumed_cutoffs(std::uint8_t num_priorities) {
  Cutoffs cutoffs;
  cutoffs.longest[num_priorities >= 2 ? num_priorities - 2 : 0] = UINT32_MAX;
  cutoffs.longest[0] = UINT32_MAX;
  return cutoffs;
}

Cutoffs own_cutoffs(const Config& config) {
  Cutoffs cutoffs{config.cutoffs, 1};
  for (std::size_t i = config.num_priorities; i < kPriorityCount; ++i) cutoffs.longest[i] = 0;
  return cutoffs;
}

Cutoffs received_cutoffs(const CutoffsUpdate& update, std::uint8_t num_priorities) {
  Cutoffs cutoffs{update.longest, update.version};
  for (std::size_t i = num_priorities; i < kPriorityCount; ++i) cutoffs.longest[i] = 0;
  cutoffs.longest[0] = UINT32_MAX;
  return cutoffs;
}

std::uint8_t unscheduled_priority(const Cutoffs& cutoffs, std::uint32_t length, std::uint8_t num_priorities) {
  for (std::uint8_t i = num_priorities; i-- > 1;)
    if (cutoffs.longest[i] >= kCutoffInfinite || cutoffs.longest[i] >= length) return i;
  return 0;
}

std::uint8_t max_scheduled_priority(const Cutoffs& cutoffs) {
  for (std::uint8_t i = kPriorityCount; i-- > 1;)
    if (cutoffs.longest[i] >= kCutoffInfinite) return i - 1;
  return 0;
}

std::array<std::uint32_t, kPriorityCount> allocate_levels(std::span<const LengthBucket> buckets, std::uint64_t bytes_total,
                                                          std::uint64_t unscheduled_total, std::uint8_t num_priorities,
                                                          std::optional<std::uint32_t> levels_wanted) {
  const std::uint64_t priorities = num_priorities;
  // floor(P*U/T + 0.5) in whole numbers.
  const std::uint64_t by_share = bytes_total == 0 ? 1 : (2 * priorities * unscheduled_total + bytes_total) / (2 * bytes_total);
  const std::uint64_t levels = levels_wanted ? *levels_wanted : std::max<std::uint64_t>(1, by_share);
  const std::uint64_t per_level = 1 + (levels < priorities ? unscheduled_total / levels : bytes_total / priorities);

  std::array<std::uint32_t, kPriorityCount> longest{};
  std::size_t left = num_priorities;  // levels that have no cutoff yet: left-1 … 0
  std::uint64_t sum = 0, next = per_level;
  for (const LengthBucket& bucket : buckets) {
    sum += bucket.unscheduled_bytes;
    if (sum >= unscheduled_total || left == 0) break;
    if (sum < next) continue;
    longest[--left] = bucket.upper;
    next = sum + per_level;
    if (next >= unscheduled_total) break;
  }
  while (left > 0) longest[--left] = kCutoffInfinite;
  return longest;
}

LengthHistogram::LengthHistogram() : bytes_(kLarge + 1), counts_(kLarge + 1) {}

std::size_t LengthHistogram::bucket_of(std::uint32_t length) {
  if (length <= kFineEnd) return length == 0 ? 0 : (length - 1) / kFineStep;
  if (length <= kCoarseEnd) return kFineBuckets + (length - kFineEnd - 1) / kCoarseStep;
  return kLarge;
}

std::uint32_t LengthHistogram::upper_of(std::size_t bucket) {
  const auto index = static_cast<std::uint32_t>(bucket);
  return bucket < kFineBuckets ? (index + 1) * kFineStep
                               : kFineEnd + (index + 1 - static_cast<std::uint32_t>(kFineBuckets)) * kCoarseStep;
}

void LengthHistogram::add(std::uint32_t length) {
  const std::size_t bucket = bucket_of(length);
  bytes_[bucket] += length;
  ++counts_[bucket];
  ++messages_;
}

std::vector<LengthBucket> LengthHistogram::buckets(std::uint32_t rtt_bytes) const {
  std::vector<LengthBucket> out;
  std::uint32_t before = 0;
  for (std::size_t i = 0; i < kLarge; ++i) {
    const std::uint32_t upper = upper_of(i);
    const std::uint64_t count = estimated_count(bytes_[i], upper, before);
    out.push_back({upper, bytes_[i], upper <= rtt_bytes ? bytes_[i] : std::min(count * rtt_bytes, bytes_[i])});
    before = upper;
  }
  return out;
}

std::uint64_t LengthHistogram::bytes_total() const {
  std::uint64_t total = 0;
  for (const std::uint64_t bytes : bytes_) total += bytes;
  return total;
}

std::uint64_t LengthHistogram::unscheduled_total(std::uint32_t rtt_bytes) const {
  std::uint64_t total = counts_[kLarge] * rtt_bytes;
  for (const LengthBucket& bucket : buckets(rtt_bytes)) total += bucket.unscheduled_bytes;
  return total;
}

std::array<std::uint32_t, 9> LengthHistogram::deciles() const {
  std::array<std::uint32_t, 9> out{};
  std::uint64_t seen = 0;
  std::size_t decile = 0;
  for (std::size_t i = 0; i <= kLarge && decile < out.size(); ++i) {
    seen += counts_[i];
    while (decile < out.size() && 10 * seen >= (decile + 1) * messages_)
      out[decile++] = i == kLarge ? kCutoffInfinite : upper_of(i);
  }
  return out;
}

void LengthHistogram::clear() {
  std::fill(bytes_.begin(), bytes_.end(), 0);
  std::fill(counts_.begin(), counts_.end(), 0);
  messages_ = 0;
}

CutoffAllocator::CutoffAllocator(const Config& config)
    : config_(config), current_(own_cutoffs(config)), max_scheduled_(scheduled_priority(config, current_)) {}

bool CutoffAllocator::handle_time(Instant now) {
  if (!config_.allocate_cutoffs) return false;
  if (!next_) next_ = now + config_.allocate_interval;
  if (now < *next_) return false;
  next_ = now + config_.allocate_interval;
  if (histogram_.messages() < config_.allocate_messages_min) return false;
  const std::array<std::uint32_t, 9> deciles = histogram_.deciles();
  double changed = deciles_used_ ? 0 : 9;
  for (std::size_t i = 0; i < deciles.size() && deciles_used_; ++i) changed += change((*deciles_used_)[i], deciles[i]);
  const bool worth_it = changed >= 1.0;
  if (worth_it) {
    deciles_used_ = deciles;
    install(allocate_levels(histogram_.buckets(config_.rtt_bytes), histogram_.bytes_total(),
                            histogram_.unscheduled_total(config_.rtt_bytes), config_.num_priorities));
  }
  histogram_.clear();
  return worth_it;
}

void CutoffAllocator::install(const std::array<std::uint32_t, kPriorityCount>& longest) {
  current_.longest = longest;
  ++current_.version;
  if (current_.version == 0) current_.version = 1;  // 0 on the wire means: none known
  max_scheduled_ = scheduled_priority(config_, current_);
}

}  // namespace godwit::homa
