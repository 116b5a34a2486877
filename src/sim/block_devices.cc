#include "sim/block_devices.h"

#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "store/request_range.h"

namespace godwit::sim {

namespace {

constexpr std::string_view kFolder = "/dev/";

std::string name_of(const std::string& path) {
  return path.starts_with(kFolder) ? path.substr(kFolder.size()) : "";
}

}  // namespace

// The first bytes of an opened device, which is free again when this goes.
class SimBlockDevices::Held final : public store::BlockDevice {
 public:
  Held(std::string name, std::unique_ptr<store::BlockDevice> device, std::uint64_t size,
       std::shared_ptr<std::set<std::string>> held)
      : name_(std::move(name)), device_(std::move(device)), size_(size), held_(std::move(held)) {}
  ~Held() override { held_->erase(name_); }

  std::uint64_t size() const override { return size_; }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, store::Done<void> done) override {
    if (refuses("read", offset, into.size(), done)) return;
    device_->read(offset, into, std::move(done));
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, store::Done<void> done) override {
    if (refuses("write", offset, from.size(), done)) return;
    device_->write(offset, from, durability, std::move(done));
  }
  void flush(store::Done<void> done) override { device_->flush(std::move(done)); }
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            store::Done<void> done) override {
    if (refuses("zero", offset, length, done)) return;
    device_->zero(offset, length, mode, durability, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t length, store::Done<void> done) override {
    if (refuses("discard", offset, length, done)) return;
    device_->discard(offset, length, std::move(done));
  }
  void extents(std::uint64_t offset, std::uint64_t length, store::Done<std::vector<store::Extent>> done) override {
    if (refuses("extents of", offset, length, done)) return;
    device_->extents(offset, length, std::move(done));
  }

 private:
  // What is past the end of the part that is open goes past the end of the whole: the device says so, in its own time.
  template <class T>
  bool refuses(std::string_view what, std::uint64_t offset, std::uint64_t length, store::Done<T>& done) {
    std::optional<Error> error = store::range_error(what, name_, offset, length, size_);
    if (!error) return false;
    device_->flush([error = std::move(*error), done = std::move(done)](Result<void>) mutable { done(fail(std::move(error))); });
    return true;
  }

  const std::string name_;
  std::unique_ptr<store::BlockDevice> device_;
  const std::uint64_t size_;
  std::shared_ptr<std::set<std::string>> held_;
};

void SimBlockDevices::open(const std::string& path, std::uint64_t size, net::Done<std::unique_ptr<store::BlockDevice>> done) {
  const std::string name = name_of(path);
  if (!held_->insert(name).second) {
    host_.scheduler().post([path, done = std::move(done)]() mutable { done(fail(ErrorKind::busy, path + " is in use")); });
    return;
  }
  host_.directory("dev").open_device(
      name, false,
      [name, size, held = held_, done = std::move(done)](Result<std::unique_ptr<store::BlockDevice>> device) mutable {
        if (device && (*device)->size() < size) device = fail(ErrorKind::no_space, "/dev/" + name + " is too small");
        if (!device) {
          held->erase(name);
          return done(std::move(device));
        }
        const std::uint64_t part = size > 0 ? size : (*device)->size();
        done(std::make_unique<Held>(name, std::move(*device), part, std::move(held)));
      });
}

std::optional<std::uint64_t> SimBlockDevices::identify(const std::string& path) const {
  const std::string name = name_of(path);
  if (host_.disk().find("dev", name) == nullptr) return std::nullopt;
  return crc32c(as_bytes(name));
}

}  // namespace godwit::sim
