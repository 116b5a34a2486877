#include "homa/simulation/workload.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "homa/core/cutoffs.h"

namespace godwit::homa::simulation {

namespace {
constexpr std::size_t kSteps = 1024;
constexpr double kMessagesForCutoffs = 1e9;
}  // namespace

Workload::Workload(int number, std::uint32_t length_max) : number_(number) {
  for (const WorkloadPoint& point : workload_points(number)) {
    const std::uint32_t length = length_max == 0 ? point.length : std::min(point.length, length_max);
    if (!points_.empty() && points_.back().length == length)
      points_.back().fraction = point.fraction;
    else
      points_.push_back({length, point.fraction});
  }
  GODWIT_CHECK(!points_.empty());
  double before = 0;
  for (const WorkloadPoint& point : points_) {
    mean_ += point.length * (point.fraction - before);
    before = point.fraction;
  }
  for (std::size_t step = 0, at = 0; step < kSteps; ++step) {
    while (at + 1 < points_.size() && points_[at].fraction < static_cast<double>(step) / kSteps) ++at;
    first_point_.push_back(static_cast<std::uint16_t>(at));
  }
}

Workload::Drawn Workload::draw(Random& random) const {
  const double u = draw_fraction(random);
  std::size_t at = first_point_[static_cast<std::size_t>(u * kSteps)];
  while (at + 1 < points_.size() && points_[at].fraction < u) ++at;
  return {points_[at].length, u};
}

std::array<std::uint32_t, kPriorityCount> Workload::cutoffs(std::uint32_t rtt_bytes, std::uint8_t num_priorities,
                                                            std::uint32_t unscheduled_levels) const {
  std::vector<LengthBucket> buckets;
  std::uint64_t bytes = 0, unscheduled = 0;
  double before = 0;
  for (const WorkloadPoint& point : points_) {
    const auto count = static_cast<std::uint64_t>(std::llround((point.fraction - before) * kMessagesForCutoffs));
    before = point.fraction;
    buckets.push_back({point.length, count * point.length, count * std::min(point.length, rtt_bytes)});
    bytes += buckets.back().bytes;
    unscheduled += buckets.back().unscheduled_bytes;
  }
  return allocate_levels(buckets, bytes, unscheduled, num_priorities, unscheduled_levels);
}

double draw_fraction(Random& random) {
  return static_cast<double>(random.next() >> 11) * 0x1.0p-53;
}

std::int64_t draw_gap_ns(Random& random, double mean_ns) {
  return std::max<std::int64_t>(1, std::llround(-std::log(1 - draw_fraction(random)) * mean_ns));
}

}  // namespace godwit::homa::simulation
