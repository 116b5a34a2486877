#include "export/nbd_devices.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

namespace godwit::exports {

namespace {

// The number that a file of sysfs consists of.
template <class Number>
std::optional<Number> number_in(const std::string& path) {
  std::ifstream file(path);
  Number number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

std::string folder_of(const std::string& sysfs, unsigned number) {
  return fmt::format("{}/block/nbd{}", sysfs, number);
}

std::optional<std::int64_t> user_of(const std::string& sysfs, unsigned number) {
  const std::string path = folder_of(sysfs, number) + "/pid";
  std::error_code ignored;  // of a file that is not there, or is going
  if (!std::filesystem::exists(path, ignored)) return std::nullopt;
  return number_in<std::int64_t>(path).value_or(0);
}

}  // namespace

std::optional<unsigned> nbd_number_of(std::string_view name) {
  if (!name.starts_with("nbd")) return std::nullopt;
  name.remove_prefix(3);
  if (name.empty() || (name.size() > 1 && name[0] == '0')) return std::nullopt;
  unsigned number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

std::string nbd_node_of(unsigned number) {
  return fmt::format("/dev/nbd{}", number);
}

Result<std::vector<NbdDevice>> nbd_devices(const std::string& sysfs) {
  std::vector<NbdDevice> devices;
  std::error_code error;
  std::filesystem::directory_iterator entries(sysfs + "/block", error);
  if (error) return fail(Error::from_errno(error.value(), fmt::format("look for NBD devices in {}/block", sysfs)));
  while (entries != std::filesystem::directory_iterator()) {
    if (const std::optional<unsigned> number = nbd_number_of(entries->path().filename().string()))
      devices.push_back({*number, user_of(sysfs, *number)});
    entries.increment(error);
    if (error) return fail(Error::from_errno(error.value(), fmt::format("look for NBD devices in {}/block", sysfs)));
  }
  if (devices.empty())
    return fail(ErrorKind::not_found,
                "this machine's kernel has no NBD devices: its module is not loaded, `modprobe nbd` (as root) loads it");
  std::ranges::sort(devices, {}, &NbdDevice::number);
  return devices;
}

Result<std::vector<unsigned>> free_nbd_devices(const std::vector<NbdDevice>& devices) {
  std::vector<unsigned> numbers;
  for (const NbdDevice& device : devices)
    if (!device.user) numbers.push_back(device.number);
  if (numbers.empty())
    return fail(ErrorKind::busy, fmt::format("all NBD devices of this machine's kernel are in use, {} of them: end one of their "
                                             "users, or load the module with more (`modprobe nbd nbds_max=N`)",
                                             devices.size()));
  return numbers;
}

Result<unsigned> nbd_number_of_device(const std::string& sysfs, unsigned major, unsigned minor) {
  std::error_code error;
  const auto place = std::filesystem::read_symlink(fmt::format("{}/dev/block/{}:{}", sysfs, major, minor), error);
  // Not even a device that the kernel has.
  const std::string name = error ? std::string() : place.filename().string();
  if (const std::optional<unsigned> number = nbd_number_of(name)) return *number;
  return fail(ErrorKind::invalid, "it is no NBD device like /dev/nbd0" + (name.empty() ? std::string() : ", it is " + name));
}

bool is_nbd_device_ready(const std::string& sysfs, unsigned number, std::uint64_t sectors) {
  return user_of(sysfs, number) && number_in<std::uint64_t>(folder_of(sysfs, number) + "/size") == sectors;
}

}  // namespace godwit::exports
