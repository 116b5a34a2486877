// A host's data directory: who it is (`host`), the lock that makes one process of it, and where its other things lie: `volumes`,
// `control`, `nbd`. Opening it counts a start, durably, before anything is opened or sent. Source: ownership.md 1 and 16.
#pragma once

#include <string>
#include <utility>

#include "host/host_file.h"
#include "store/file_lock.h"

namespace godwit::host {

class DataDirectory {
 public:
  // What --data stands for when it is not given: /var/lib/godwit for root, else ~/.local/state/godwit.
  static Result<std::string> default_path();

  // Makes what is missing (mode 0700), takes the lock and counts the start. ErrorKind::busy where another process is that host.
  static Result<DataDirectory> open(const std::string& path);

  const std::string& path() const { return path_; }
  const HostFile& host() const { return host_; }
  std::string volumes_folder() const { return path_ + "/volumes"; }
  std::string nbd_socket() const { return path_ + "/nbd"; }
  std::string control_socket() const { return control_socket_of(path_); }
  // For those who only want to speak to the process that has it.
  static std::string control_socket_of(const std::string& path) { return path + "/control"; }

 private:
  DataDirectory(std::string path, HostFile host, store::FileLock lock)
      : path_(std::move(path)), host_(host), lock_(std::move(lock)) {}

  std::string path_;
  HostFile host_;
  store::FileLock lock_;
};

}  // namespace godwit::host
