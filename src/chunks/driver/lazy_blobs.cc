#include "chunks/driver/lazy_blobs.h"

#include <optional>
#include <utility>

#include "chunks/driver/local_store_sweep.h"
#include "net/lifetime.h"
#include "store/directory_blobs.h"

namespace godwit::chunks {

using net::Done;

namespace {

class LazyBlobs final : public store::BlobStore {
 public:
  LazyBlobs(std::string path, net::Workers& workers, net::Scheduler& scheduler)
      : path_(std::move(path)), workers_(workers), scheduler_(scheduler) {}

  const std::string& title() const override { return path_; }

  void get(std::string name, std::uint64_t size_max, Done<Bytes> done) override {
    with(
        false, std::move(done), [&](BlobStore& blobs, auto d) { blobs.get(std::move(name), size_max, std::move(d)); },
        absent<Bytes>(name));
  }
  void has(std::vector<std::string> names, Done<std::vector<bool>> done) override {
    Result<std::vector<bool>> none = std::vector<bool>(names.size());
    for (const std::string& name : names)
      if (Result<void> valid = store::check_blob_name(name); !valid) none = fail(std::move(valid).error());
    with(false, std::move(done), [&](BlobStore& blobs, auto d) { blobs.has(std::move(names), std::move(d)); }, std::move(none));
  }
  void put(std::string name, Bytes content, Done<bool> done) override {
    if (Result<void> valid = store::check_blob_name(name); !valid)
      return later(std::move(done), Result<bool>(fail(valid.error())));
    with(
        true, std::move(done), [&](BlobStore& blobs, auto d) { blobs.put(std::move(name), std::move(content), std::move(d)); },
        Result<bool>(false));
  }
  void sync(Done<void> done) override {
    with(false, std::move(done), [&](BlobStore& blobs, auto d) { blobs.sync(std::move(d)); }, Result<void>());
  }
  void remove(std::string name, Done<void> done) override {
    with(
        false, std::move(done), [&](BlobStore& blobs, auto d) { blobs.remove(std::move(name), std::move(d)); },
        absent<void>(name));
  }
  void list(std::string folder, Done<std::vector<store::BlobEntry>> done) override {
    Result<std::vector<store::BlobEntry>> none = std::vector<store::BlobEntry>();
    if (Result<void> valid = store::check_blob_name(folder); !valid) none = fail(std::move(valid).error());
    with(false, std::move(done), [&](BlobStore& blobs, auto d) { blobs.list(std::move(folder), std::move(d)); }, std::move(none));
  }

 private:
  // Opening looks at one folder, and is done on the spot.
  template <class T, class Use>
  void with(bool create, Done<T> done, Use use, Result<T> otherwise) {
    if (!blobs_)
      if (Result<void> opened = open(create); !opened && (create || opened.error().kind() != ErrorKind::not_found))
        otherwise = fail(std::move(opened).error());
    if (blobs_) return use(*blobs_, std::move(done));
    later(std::move(done), std::move(otherwise));
  }

  template <class T>
  void later(Done<T> done, Result<T> result) {
    scheduler_.post(
        lifetime_.while_alive([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); }));
  }

  // What there is to say of a blob while there is no folder.
  template <class T>
  Result<T> absent(const std::string& name) const {
    if (Result<void> valid = store::check_blob_name(name); !valid) return fail(std::move(valid).error());
    return fail(ErrorKind::not_found, path_ + "/" + name + " is not there");
  }

  // The lock comes before anybody is told what is there: what was seen must stay.
  Result<void> open(bool create) {
    Result<std::unique_ptr<store::BlobStore>> opened = store::make_directory_blobs(path_, create, workers_, scheduler_);
    if (!opened) return fail(std::move(opened).error());
    Result<StoreLock> lock = StoreLock::take(path_, StoreLock::Kind::adding);
    if (lock)
      lock_ = std::move(*lock);
    else if (lock.error().kind() == ErrorKind::busy)
      return fail(std::move(lock).error());
    blobs_ = std::move(*opened);
    return {};
  }

  const std::string path_;
  net::Workers& workers_;
  net::Scheduler& scheduler_;
  std::unique_ptr<store::BlobStore> blobs_;
  std::optional<StoreLock> lock_;  // none where the file system has none
  net::Lifetime lifetime_;
};

}  // namespace

std::unique_ptr<store::BlobStore> make_lazy_blobs(std::string path, net::Workers& workers, net::Scheduler& scheduler) {
  return std::make_unique<LazyBlobs>(std::move(path), workers, scheduler);
}

}  // namespace godwit::chunks
