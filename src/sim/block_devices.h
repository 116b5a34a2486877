// The block devices of a simulated machine: the files of its folder "dev", each with one holder at a time in a life of the
// process. What is on them outlives crashes as the disk says.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "sim/host.h"
#include "store/block_devices.h"

namespace godwit::sim {

class SimBlockDevices final : public store::BlockDevices {
 public:
  // Made anew in each life of the machine's program; the machine outlives it.
  explicit SimBlockDevices(Host& host) : host_(host) {}

  static std::string path_of(const std::string& name) { return "/dev/" + name; }

  void open(const std::string& path, std::uint64_t size, net::Done<std::unique_ptr<store::BlockDevice>> done) override;
  std::optional<std::uint64_t> identify(const std::string& path) const override;

 private:
  class Held;

  Host& host_;
  std::shared_ptr<std::set<std::string>> held_ = std::make_shared<std::set<std::string>>();
};

}  // namespace godwit::sim
