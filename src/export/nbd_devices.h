// The block devices that this machine's kernel has for its NBD client (/dev/nbd0, /dev/nbd1, …), and which of them somebody uses:
// what sysfs tells of them. A device in use has a file `pid` in its folder there, with the thread that runs it. The folder's path
// is an argument, "/sys" but in tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace godwit::exports {

struct NbdDevice {
  unsigned number = 0;
  std::optional<std::int64_t> user;  // the thread's id; 0 where the kernel tells none
  friend bool operator==(const NbdDevice&, const NbdDevice&) = default;
};

// Of "nbd12" 12; nothing for a partition's name ("nbd12p1") and everything else.
std::optional<unsigned> nbd_number_of(std::string_view name);
// "/dev/nbd12".
std::string nbd_node_of(unsigned number);

// All of them, by number. ErrorKind::not_found where the kernel has none: then its module is not loaded, which the message says.
Result<std::vector<NbdDevice>> nbd_devices(const std::string& sysfs);
// The numbers of those nobody uses; ErrorKind::busy if there is none.
Result<std::vector<unsigned>> free_nbd_devices(const std::vector<NbdDevice>& devices);
// The device that a node stands for, by the node's device number. ErrorKind::invalid where that is none of the kernel's NBD
// devices, or a partition of one.
Result<unsigned> nbd_number_of_device(const std::string& sysfs, unsigned major, unsigned minor);
// Somebody uses it, and it has this many sectors of 512 bytes: requests are answered from now on.
bool is_nbd_device_ready(const std::string& sysfs, unsigned number, std::uint64_t sectors);

}  // namespace godwit::exports
