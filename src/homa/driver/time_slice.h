// How long the kernel lets a thread run before others have their turn. Who waits for packets runs often and briefly: with short
// slices it is not kept waiting for a processor by those that compute.
#pragma once

#include <cstdint>

namespace godwit::homa {

// What sched_setattr(2) takes; <linux/sched/types.h> can not be had beside <sched.h>.
struct ScheduleAttributes {
  std::uint32_t size = sizeof(ScheduleAttributes);
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // of SCHED_OTHER: the slice, ns
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

// Asks for the shortest slice there is (0.1 ms) for the calling thread, if it is one of the ordinary class. Linux from 6.12 on;
// where it is not to be had nothing changes. Source: sched_setattr(2).
void ask_for_short_slices();

}  // namespace godwit::homa
