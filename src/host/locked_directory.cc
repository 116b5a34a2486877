#include "host/locked_directory.h"

#include <utility>

namespace godwit::host {

Result<void> LockedDirectory::lock(const std::string& record_name) {
  if (locks_.contains(record_name)) return {};
  Result<store::FileLock> lock = store::FileLock::take(path_ + "/" + record_name);
  if (!lock && lock.error().kind() == ErrorKind::busy)
    return fail(ErrorKind::busy, path_ + "/" + record_name + " is in use by another godwit process");
  if (!lock) return fail(std::move(lock).error());
  locks_.emplace(record_name, std::move(*lock));
  return {};
}

void LockedDirectory::replace_file(const std::string& name, Bytes content, net::Done<void> done) {
  if (!name.ends_with(".own")) return directory_->replace_file(name, std::move(content), while_alive(std::move(done)));
  locks_.erase(name);  // the file it held is replaced by another
  net::Done<void> lock_again = [this, name, done = std::move(done)](Result<void> replaced) mutable {
    done(replaced ? lock(name) : std::move(replaced));
  };
  directory_->replace_file(name, std::move(content), while_alive(std::move(lock_again)));
}

void LockedDirectory::remove(const std::string& name, net::Done<void> done) {
  net::Done<void> unlocked = [this, name, done = std::move(done)](Result<void> removed) mutable {
    if (removed) unlock(name);
    done(std::move(removed));
  };
  directory_->remove(name, while_alive(std::move(unlocked)));
}

}  // namespace godwit::host
