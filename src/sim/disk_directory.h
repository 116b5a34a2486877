// A folder of a simulated disk. An implementation detail of disk.h.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sim/disk.h"

namespace godwit::sim {

class SimDirectory final : public store::Directory {
 public:
  SimDirectory(Disk& disk, Disk::Files& files, Group group) : disk_(disk), files_(files), group_(group) {}

  void list(net::Done<std::vector<std::string>> done) override;
  void read_file(const std::string& name, net::Done<Bytes> done) override;
  void replace_file(const std::string& name, Bytes content, net::Done<void> done) override;
  void write_slot(const std::string& name, std::uint64_t offset, Bytes content, net::Done<void> done) override;
  void rename(const std::string& from, const std::string& to, net::Done<void> done) override;
  void remove(const std::string& name, net::Done<void> done) override;
  void create_device(const std::string& name, std::uint64_t size, net::Done<std::unique_ptr<store::BlockDevice>> done) override;
  void open_device(const std::string& name, bool read_only, net::Done<std::unique_ptr<store::BlockDevice>> done) override;

 private:
  // Runs `effect` when the operation's time has come and tells what it gave. With `on_crash`, a crash before that may have done
  // it; an operation that fails may have done it as well.
  enum class Partly { never, on_crash };
  template <class T>
  void run(DiskOp op, std::uint64_t bytes, Partly partly, std::function<Result<T>()> effect, net::Done<T> done);
  Result<std::shared_ptr<DiskFile>> find(const std::string& name) const;

  Disk& disk_;
  Disk::Files& files_;
  const Group group_;
};

}  // namespace godwit::sim
