// What tests plant below a host's drivers: a disk that fails a record write, or that says it did what it did not.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/scheduler.h"
#include "store/block_device.h"
#include "store/directory.h"

namespace godwit::volume {

using store::Done;

// Everything passes through to another device.
class ForwardingDevice : public store::BlockDevice {
 public:
  std::uint64_t size() const override { return target()->size(); }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override {
    target()->read(base() + offset, into, std::move(done));
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) override {
    target()->write(base() + offset, from, durability, std::move(done));
  }
  void flush(Done<void> done) override { target()->flush(std::move(done)); }
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            Done<void> done) override {
    target()->zero(base() + offset, length, mode, durability, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override {
    target()->discard(base() + offset, length, std::move(done));
  }
  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) override {
    target()->extents(base() + offset, length, std::move(done));
  }
  MutableBytes memory() override { return target()->memory(); }

 protected:
  virtual store::BlockDevice* target() const = 0;
  virtual std::uint64_t base() const { return 0; }
};

// Mistakes and failures of a host's disk that a test plants; shared by all its lives.
struct DiskHooks {
  std::uint64_t record_writes = 0;      // how many there were
  std::uint64_t fail_record_write = 0;  // the write of this number fails, done or not by its parity; 0: none
  bool loses_record_writes = false;     // a planted mistake: acknowledged without being done
  bool loses_flushes = false;           // likewise
};

class HookedDevice final : public ForwardingDevice {
 public:
  HookedDevice(std::unique_ptr<store::BlockDevice> device, DiskHooks& hooks, net::Scheduler& scheduler)
      : device_(std::move(device)), hooks_(hooks), scheduler_(scheduler) {}
  void flush(Done<void> done) override {
    if (!hooks_.loses_flushes) return device_->flush(std::move(done));
    scheduler_.post([done = std::move(done)]() mutable { done({}); });
  }

 private:
  store::BlockDevice* target() const override { return device_.get(); }
  std::unique_ptr<store::BlockDevice> device_;
  DiskHooks& hooks_;
  net::Scheduler& scheduler_;
};

class HookedDirectory final : public store::Directory {
 public:
  HookedDirectory(store::Directory& directory, DiskHooks& hooks, net::Scheduler& scheduler)
      : directory_(directory), hooks_(hooks), scheduler_(scheduler) {}
  void list(Done<std::vector<std::string>> done) override { directory_.list(std::move(done)); }
  void read_file(const std::string& name, Done<Bytes> done) override { directory_.read_file(name, std::move(done)); }
  // The first write of a record is a file made new; it fails like the others.
  void replace_file(const std::string& name, Bytes content, Done<void> done) override {
    if (++hooks_.record_writes != hooks_.fail_record_write)
      return directory_.replace_file(name, std::move(content), std::move(done));
    done(fail(ErrorKind::io, "planned by the test"));
  }
  void write_slot(const std::string& name, std::uint64_t offset, Bytes content, Done<void> done) override {
    ++hooks_.record_writes;
    if (hooks_.loses_record_writes) return scheduler_.post([done = std::move(done)]() mutable { done({}); });
    if (hooks_.record_writes != hooks_.fail_record_write)
      return directory_.write_slot(name, offset, std::move(content), std::move(done));
    auto failed = [done = std::move(done)](Result<void>) mutable { done(fail(ErrorKind::io, "planned by the test")); };
    if (hooks_.record_writes % 2 == 0) return failed({});
    directory_.write_slot(name, offset, std::move(content), std::move(failed));
  }
  void rename(const std::string& from, const std::string& to, Done<void> done) override {
    directory_.rename(from, to, std::move(done));
  }
  void remove(const std::string& name, Done<void> done) override { directory_.remove(name, std::move(done)); }
  void create_device(const std::string& name, std::uint64_t size, Done<std::unique_ptr<store::BlockDevice>> done) override {
    directory_.create_device(name, size, hooked(std::move(done)));
  }
  void open_device(const std::string& name, bool read_only, Done<std::unique_ptr<store::BlockDevice>> done) override {
    directory_.open_device(name, read_only, hooked(std::move(done)));
  }

 private:
  Done<std::unique_ptr<store::BlockDevice>> hooked(Done<std::unique_ptr<store::BlockDevice>> done) {
    return [this, done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
      if (!device) return done(std::move(device));
      done(std::make_unique<HookedDevice>(std::move(*device), hooks_, scheduler_));
    };
  }
  store::Directory& directory_;
  DiskHooks& hooks_;
  net::Scheduler& scheduler_;
};

}  // namespace godwit::volume
