// How many worlds each story of moves is run in; those under faults say it in their rows (move_faults_test.cc), where a test adds
// all of them up.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "sim/world.h"

namespace godwit::volume {

struct SceneSeeds {
  std::string_view story;
  std::uint64_t count = 0;
};
inline constexpr SceneSeeds kSceneSeeds[] = {
    {"a writer through the hand-over", 60},
    {"there and back", 20},
    {"there and back and there again", 20},
    {"a peer stands still under the lock", 5},
    {"a chain of three", 20},
    {"a chain that ends where it began", 20},
    {"a chain back from its third", 20},
    {"a cancel at the source", 5},
    {"a cancel at the destination", 5},
    {"a third host", 5},
    {"a full disk", 5},
    {"a cut relay", 10},
    {"refusal after the hand-over", 10},
    {"a destination dies before the grant", 10},
    {"a stuck disk at the destination", 5},
    {"a destination loses power", 5},
    {"a source loses power", 5},
    {"a source loses power before the grant", 5},
    {"an owner loses power under a relay", 5},
    {"a dead wire", 5},
    {"an original ends behind the last answer", 20},
    {"an original ends before its last event", 20},
};

inline sim::Seeds seeds_of(std::string_view story) {
  for (const SceneSeeds& one : kSceneSeeds)
    if (one.story == story) return sim::scenario_seeds(one.count);
  GODWIT_CHECK(false);
  return {};
}

}  // namespace godwit::volume
