// A folder of volumes in which every ownership record in use is locked (ownership.md 16), so that no process of a copied data
// directory can open it too. A record that is written for the first time is locked once it is there.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "store/directory.h"
#include "store/file_lock.h"

namespace godwit::host {

// What is under way when it is destroyed happens, and ends without `done`: its users go with it.
class LockedDirectory final : public store::Directory {
 public:
  LockedDirectory(std::string path, std::unique_ptr<store::Directory> directory)
      : path_(std::move(path)), directory_(std::move(directory)) {}

  // Before an existing record is read. ErrorKind::busy where another process has it.
  Result<void> lock(const std::string& record_name);
  void unlock(const std::string& record_name) { locks_.erase(record_name); }

  void list(net::Done<std::vector<std::string>> done) override { directory_->list(while_alive(std::move(done))); }
  void read_file(const std::string& name, net::Done<Bytes> done) override {
    directory_->read_file(name, while_alive(std::move(done)));
  }
  void replace_file(const std::string& name, Bytes content, net::Done<void> done) override;
  void write_slot(const std::string& name, std::uint64_t offset, Bytes content, net::Done<void> done) override {
    directory_->write_slot(name, offset, std::move(content), while_alive(std::move(done)));
  }
  void rename(const std::string& from, const std::string& to, net::Done<void> done) override {
    directory_->rename(from, to, while_alive(std::move(done)));
  }
  void remove(const std::string& name, net::Done<void> done) override;
  void create_device(const std::string& name, std::uint64_t size, net::Done<std::unique_ptr<store::BlockDevice>> done) override {
    directory_->create_device(name, size, while_alive(std::move(done)));
  }
  void open_device(const std::string& name, bool read_only, net::Done<std::unique_ptr<store::BlockDevice>> done) override {
    directory_->open_device(name, read_only, while_alive(std::move(done)));
  }

 private:
  template <class T>
  net::Done<T> while_alive(net::Done<T> done) {
    return [alive = std::weak_ptr<const bool>(alive_), done = std::move(done)](Result<T> result) mutable {
      if (alive.lock()) done(std::move(result));
    };
  }

  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
  std::string path_;
  std::unique_ptr<store::Directory> directory_;
  std::map<std::string, store::FileLock> locks_;
};

}  // namespace godwit::host
