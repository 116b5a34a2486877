// A machine's block devices for tests: the files of a folder, each open to one holder at a time, as O_EXCL makes it for real
// ones.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "net/worker_pool.h"
#include "store/block_devices.h"
#include "store/file_device.h"

namespace godwit::host {

class SimulatedDevices final : public store::BlockDevices {
 public:
  SimulatedDevices(net::Scheduler& scheduler, net::Workers& workers, const std::string& folder)
      : scheduler_(scheduler), workers_(workers), folder_(folder) {
    std::filesystem::create_directory(folder);
    folder_ = std::filesystem::canonical(folder).string();
  }

  // A new device, full of what others have left on it.
  std::string add(const std::string& name, std::uint64_t size) {
    std::ofstream(path(name), std::ios::binary) << std::string(size, 'g');
    return path(name);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string content(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  void open(const std::string& path, std::uint64_t size, store::Done<std::unique_ptr<store::BlockDevice>> done) override {
    scheduler_.post([this, file = open_now(path, size), done = std::move(done)]() mutable {
      if (!file) return done(fail(std::move(file).error()));
      done(store::make_file_device(std::move(*file), scheduler_, workers_));
    });
  }
  std::optional<std::uint64_t> identify(const std::string& path) const override {
    std::error_code error;
    struct stat status{};
    if (!std::filesystem::canonical(path, error).string().starts_with(folder_ + "/") || ::stat(path.c_str(), &status) != 0)
      return std::nullopt;
    return status.st_ino;
  }

 private:
  Result<std::unique_ptr<store::DiskFile>> open_now(const std::string& path, std::uint64_t size) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      ::close(descriptor);
      return fail(ErrorKind::busy, "the device " + path + " is in use");
    }
    Result<std::unique_ptr<store::DiskFile>> file = store::DiskFile::adopt(descriptor, path, false);
    if (!file) return file;
    if ((*file)->size() < size) return fail(ErrorKind::no_space, "the device " + path + " is too small: it does not fit");
    if (size > 0) (*file)->limit_size(size);
    return file;
  }

  net::Scheduler& scheduler_;
  net::Workers& workers_;
  std::string folder_;
};

}  // namespace godwit::host
