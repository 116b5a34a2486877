// Draws message lengths. What follows from a distribution: its mean, and the cutoffs that a receiver who knew it would choose.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "homa/core/packet.h"
#include "homa/simulation/workload_points.h"

namespace godwit::homa::simulation {

class Workload {
 public:
  // 1 to 5; lengths above `length_max` become it (0: none do).
  explicit Workload(int number, std::uint32_t length_max = 0);

  int number() const { return number_; }
  double mean() const { return mean_; }
  std::span<const WorkloadPoint> points() const { return points_; }

  struct Drawn {
    std::uint32_t length = 0;
    double u = 0;  // in [0, 1): the place of the message among all, shortest first
  };
  Drawn draw(Random& random) const;

  // By the rule of CUTOFFS from the true distribution, with so many unscheduled levels.
  std::array<std::uint32_t, kPriorityCount> cutoffs(std::uint32_t rtt_bytes, std::uint8_t num_priorities,
                                                    std::uint32_t unscheduled_levels) const;

 private:
  int number_;
  std::vector<WorkloadPoint> points_;
  std::vector<std::uint16_t> first_point_;  // by u in steps: where to begin to look
  double mean_ = 0;
};

// In [0, 1), 53 bits.
double draw_fraction(Random& random);
// An exponential gap; at least 1.
std::int64_t draw_gap_ns(Random& random, double mean_ns);

}  // namespace godwit::homa::simulation
