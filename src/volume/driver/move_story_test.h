// A story: one volume at A, everybody who uses it, and what is told of them step by step.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "volume/driver/move_cast_test.h"
#include "volume/driver/scene_seeds_test.h"

namespace godwit::volume {

inline constexpr std::uint64_t kBlocks = 48;

// One volume at A, and everybody who uses it.
struct Story {
  explicit Story(std::uint64_t seed, HostOptions options = quick_options(), std::vector<std::string> servers = {"a"},
                 Duration pause_max = Duration::microseconds(500))
      : scene(seed, std::move(options), std::getenv("GODWIT_SEEDS_FROM") ? 400 : 0) {
    scene.create("a", kBlocks * kBlock);
    cast = std::make_unique<Cast>(scene, "disk", kBlocks, std::move(servers), 0, pause_max);
    cast->start();
    scene.run_for(Duration::milliseconds(10));
  }
  const Record& durable(const std::string& host) { return scene.volume(host)->ownership().durable_record(); }
  bool run_until(const std::function<bool()>& done, Duration limit = Duration::seconds(20)) {
    return scene.run_until(done, limit);
  }
  void move(const std::string& from, const std::string& to) {
    scene.pull(to, from);
    cast->start_early_reads(to);
    ASSERT_TRUE(run_until([&] { return scene.owns(to) && durable(from).heard; })) << from << " to " << to << scene.why();
    scene.run_for(Duration::milliseconds(15));
    ASSERT_FALSE(scene.world.failed()) << scene.why();
  }
  void end(const std::string& owner) {
    scene.run_for(Duration::milliseconds(15));
    cast->stop();
    ASSERT_TRUE(run_until([&] { return cast->is_idle(); })) << "a client's request hangs" << scene.why();
    cast->check_all(owner);
    ASSERT_FALSE(scene.world.failed()) << scene.why();
  }
  void expect_nobody_noticed() {
    EXPECT_EQ(cast->count_failed(), 0u) << scene.why();
    EXPECT_EQ(cast->user().count_connections(), 1u) << scene.why();
  }

  Scene scene;
  std::unique_ptr<Cast> cast;
};

#define STORY(code)                          \
  do {                                       \
    code;                                    \
    if (testing::Test::HasFailure()) return; \
  } while (false)

}  // namespace godwit::volume
