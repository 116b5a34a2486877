// Who else has a file: a lock of our own kind, held while the object lives and gone with the process, and a look at whether any
// process has the file open, lock or not.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace godwit::store {

class FileLock {
 public:
  // Creates the file (mode 0600) where there is none. ErrorKind::busy when another FileLock holds it, in whatever process.
  static Result<FileLock> take(const std::string& path);
  ~FileLock();
  FileLock(FileLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

 private:
  explicit FileLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

// ErrorKind::busy when the file is open anywhere, here included; ErrorKind::unsupported where the system does not tell (another
// user's file, some file systems). By a lease taken and given back (fcntl(2), F_SETLEASE). Regular files only.
Result<void> check_not_open_elsewhere(const std::string& path);

}  // namespace godwit::store
