#include "store/memory_blobs.h"

#include <map>

#include <fmt/format.h>

#include "net/lifetime.h"

namespace godwit::store {

namespace {

class MemoryBlobs final : public BlobStore {
 public:
  explicit MemoryBlobs(net::Scheduler& scheduler) : scheduler_(scheduler) {}

  const std::string& title() const override { return title_; }

  void get(std::string name, std::uint64_t size_max, Done<Bytes> done) override {
    answer(std::move(done), checked<Bytes>(name, [&]() -> Result<Bytes> {
             const auto found = blobs_.find(name);
             if (found == blobs_.end()) return fail(ErrorKind::not_found, fmt::format("{}/{}: not there", title_, name));
             if (found->second.size() > size_max)
               return fail(ErrorKind::limit, fmt::format("{}/{}: more than {} bytes", title_, name, size_max));
             return found->second;
           }));
  }

  void has(std::vector<std::string> names, Done<std::vector<bool>> done) override {
    Result<std::vector<bool>> there = std::vector<bool>();
    for (const std::string& name : names) {
      if (Result<void> plain = check_blob_name(name); !plain) {
        there = fail(plain.error());
        break;
      }
      there->push_back(blobs_.contains(name));
    }
    answer(std::move(done), std::move(there));
  }

  void put(std::string name, Bytes content, Done<bool> done) override {
    answer(std::move(done),
           checked<bool>(name, [&]() -> Result<bool> { return blobs_.try_emplace(name, std::move(content)).second; }));
  }

  void sync(Done<void> done) override { answer(std::move(done), Result<void>()); }

  void remove(std::string name, Done<void> done) override {
    answer(std::move(done), checked<void>(name, [&]() -> Result<void> {
             if (blobs_.erase(name) == 0) return fail(ErrorKind::not_found, fmt::format("{}/{}: not there", title_, name));
             return {};
           }));
  }

  void list(std::string folder, Done<std::vector<BlobEntry>> done) override {
    answer(std::move(done), checked<std::vector<BlobEntry>>(folder, [&]() -> Result<std::vector<BlobEntry>> {
             std::vector<BlobEntry> entries;
             for (const auto& [name, content] : blobs_)
               if (name.starts_with(folder + "/") && name.find('/', folder.size() + 1) == name.npos)
                 entries.push_back({.name = name, .size = content.size(), .modified_seconds = 0});
             return entries;
           }));
  }

 private:
  template <class T, class Work>
  Result<T> checked(const std::string& name, Work work) {
    if (Result<void> plain = check_blob_name(name); !plain) return fail(plain.error());
    return work();
  }
  template <class T>
  void answer(Done<T> done, Result<T> result) {
    scheduler_.post(
        lifetime_.while_alive([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); }));
  }

  net::Scheduler& scheduler_;
  std::string title_ = "memory";
  std::map<std::string, Bytes> blobs_;
  net::Lifetime lifetime_;
};

}  // namespace

std::unique_ptr<BlobStore> make_memory_blobs(net::Scheduler& scheduler) {
  return std::make_unique<MemoryBlobs>(scheduler);
}

}  // namespace godwit::store
