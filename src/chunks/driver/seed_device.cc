#include "chunks/driver/seed_device.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>

#include "base/hash.h"

namespace godwit::chunks {

namespace {

namespace fs = std::filesystem;

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

struct Counts {
  std::uint64_t read = 0;
  std::uint64_t written = 0;  // and discarded
};

// Documentation/block/stat: requests of reading are number 1, sectors that were written 7, discarded 14. A flush alone is a
// request of writing.
std::optional<Counts> counts_of_disk(const std::string& disk) {
  std::ifstream file(disk + "/stat");
  std::uint64_t numbers[14] = {};
  for (std::uint64_t& number : numbers)
    if (!(file >> number)) return std::nullopt;
  return Counts{.read = numbers[0], .written = numbers[6] + numbers[13]};
}

// As a number; 0 where it is not known.
std::int64_t this_boot() {
  const std::string id = first_line("/proc/sys/kernel/random/boot_id");
  if (id.empty()) return 0;
  std::int64_t number = 0;
  const Sha256 digest = sha256(as_bytes(id));
  std::memcpy(&number, digest.data(), sizeof number);
  return number;
}

}  // namespace

std::optional<SeedIdentity> seed_identity_of_device(int descriptor, const struct stat& status) {
  std::uint64_t size = 0;
  if (::ioctl(descriptor, BLKGETSIZE64, &size) != 0 || ::fsync(descriptor) != 0) return std::nullopt;
  std::error_code error;
  std::string disk = fmt::format("/sys/dev/block/{}:{}", major(status.st_rdev), minor(status.st_rdev));
  // A write to the whole disk changes its partitions, and is not counted there.
  if (fs::exists(disk + "/partition", error)) disk += "/..";
  std::uint64_t sequence = 0;
  if (!(std::ifstream(disk + "/diskseq") >> sequence)) return std::nullopt;
  const std::optional<Counts> counts = counts_of_disk(disk);
  const std::int64_t boot = this_boot();
  // Whoever counts nothing has not even seen it being read.
  if (!counts || counts->read == 0 || boot == 0) return std::nullopt;
  return SeedIdentity{.device = status.st_rdev,
                      .inode = sequence,
                      .size = size,
                      .mtime_ns = static_cast<std::int64_t>(counts->written),
                      .ctime_ns = boot};
}

}  // namespace godwit::chunks
