#include "homa/driver/time_slice.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

namespace godwit::homa {
namespace {

ScheduleAttributes attributes_now() {
  ScheduleAttributes attributes;
  EXPECT_EQ(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0), 0);
  return attributes;
}

bool has_slices() {
  utsname name{};
  int major = 0;
  int minor = 0;
  return uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
         (major > 6 || (major == 6 && minor >= 12));
}

TEST(TimeSlice, IsTheShortestForTheThreadThatAsksAndNothingElseChanges) {
  const ScheduleAttributes before = attributes_now();
  ScheduleAttributes after;
  std::thread([&] {
    ask_for_short_slices();
    after = attributes_now();
  }).join();
  EXPECT_EQ(after.policy, before.policy);
  EXPECT_EQ(after.nice, before.nice);
  if (before.policy == SCHED_OTHER && has_slices()) {
    EXPECT_EQ(after.runtime, 100'000U);
  }
  EXPECT_EQ(attributes_now().runtime, before.runtime);
}

}  // namespace
}  // namespace godwit::homa
