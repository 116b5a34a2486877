// The simulated disk passes what the real devices and folders pass.
#include <gtest/gtest.h>

#include "sim/host.h"
#include "store/block_device_conformance.h"
#include "store/directory_conformance.h"

namespace godwit::sim {
namespace {

namespace conformance = store::conformance;

TEST(SimConformance, ADiskIsADirectory) {
  for (const std::uint64_t seed : scenario_seeds(10)) {
    World world(seed);
    Fabric fabric(world);
    Host host(fabric, "a");
    conformance::check_directory(host.directory(), [&] { world.step(); });
    EXPECT_TRUE(host.disk().names("data").empty());
  }
}

TEST(SimConformance, AFileOfADiskIsABlockDevice) {
  for (const std::uint64_t seed : scenario_seeds(3)) {
    World world(seed);
    Fabric fabric(world);
    Host host(fabric, "a");
    const conformance::Pump pump = [&] { world.step(); };
    conformance::BlockingDirectory directory(host.directory(), pump);
    conformance::check_block_device([&](std::uint64_t size) { return directory.create_device("v", size).value(); }, pump);
  }
}

}  // namespace
}  // namespace godwit::sim
