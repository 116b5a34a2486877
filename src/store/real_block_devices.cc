#include "store/real_block_devices.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "store/file_device.h"

namespace godwit::store {

namespace {

std::optional<std::uint64_t> identity_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISBLK(status.st_mode)) return std::nullopt;
  return status.st_rdev;
}

Result<std::unique_ptr<DiskFile>> open_exclusively(const std::string& path, std::uint64_t size) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return fail(Error::from_errno(errno, "open the device " + path));
  if (!S_ISBLK(status.st_mode)) return fail(ErrorKind::invalid, path + " is no block device");
  Result<std::unique_ptr<DiskFile>> file = DiskFile::open(path, false);
  if (!file && file.error().kind() == ErrorKind::busy)
    return fail(ErrorKind::busy, fmt::format("the device {} is in use: it is mounted, or another process has it; one volume and "
                                             "one process may use a device",
                                             path));
  if (!file) return file;
  const std::uint64_t has = (*file)->size();
  if (has < size)
    return fail(ErrorKind::no_space, fmt::format("the device {} has {} bytes, the volume {}: it does not fit", path, has, size));
  if (size > 0) (*file)->limit_size(size);
  return file;
}

class RealBlockDevices final : public BlockDevices {
 public:
  RealBlockDevices(net::Scheduler& scheduler, net::Workers& workers) : scheduler_(scheduler), workers_(workers) {}

  void open(const std::string& path, std::uint64_t size, Done<std::unique_ptr<BlockDevice>> done) override {
    auto file = std::make_shared<Result<std::unique_ptr<DiskFile>>>(fail(ErrorKind::cancelled, "not run"));
    workers_.run([file, path, size] { *file = open_exclusively(path, size); },
                 [file, &scheduler = scheduler_, &workers = workers_, done = std::move(done)]() mutable {
                   if (!*file) return done(fail(std::move(*file).error()));
                   done(make_file_device(std::move(**file), scheduler, workers));
                 });
  }
  std::optional<std::uint64_t> identify(const std::string& path) const override { return identity_of(path); }

 private:
  net::Scheduler& scheduler_;
  net::Workers& workers_;
};

}  // namespace

std::unique_ptr<BlockDevices> make_block_devices(net::Scheduler& scheduler, net::Workers& workers) {
  return std::make_unique<RealBlockDevices>(scheduler, workers);
}

}  // namespace godwit::store
