#include "export/device_tree.h"

#include <sys/stat.h>

#include <utility>

namespace godwit::exports {

namespace {

constexpr FileId kFile{2};

class DeviceTree final : public FileTree {
 public:
  DeviceTree(std::string name, store::BlockDevice& device, const FileStatus& file, net::Scheduler& scheduler)
      : name_(std::move(name)), device_(device), file_(file), top_(file), scheduler_(scheduler) {
    file_.size = device.size();
    // Who may read the file may look at the folder.
    top_.mode = S_IFDIR | (file.mode & 0444) | (file.mode & 0444) >> 2;
    top_.size = 0;
  }

  std::optional<FileStatus> status(FileId file) const override {
    if (file == kTopFile) return top_;
    if (file == kFile) return file_;
    return std::nullopt;
  }
  FileId parent(FileId) const override { return kTopFile; }
  std::optional<FileId> find(FileId folder, std::string_view name) const override {
    return folder == kTopFile && name == name_ ? std::optional(kFile) : std::nullopt;
  }
  std::optional<FileChild> child(FileId folder, std::uint64_t place) const override {
    if (folder != kTopFile || place != 0) return std::nullopt;
    return FileChild{name_, kFile, file_.mode};
  }
  void read(FileId, std::uint64_t offset, MutableBytes into, net::Done<void> done) override {
    device_.read(offset, into, std::move(done));
  }
  void read_link(FileId, net::Done<std::string> done) override {
    scheduler_.post([done = std::move(done)]() mutable { done(fail(ErrorKind::invalid, "no symbolic link")); });
  }
  void attributes(FileId, net::Done<std::vector<FileAttribute>> done) override {
    scheduler_.post([done = std::move(done)]() mutable { done(std::vector<FileAttribute>()); });
  }
  std::optional<std::uint32_t> flags(FileId) const override { return std::nullopt; }
  std::optional<std::uint32_t> fat_attributes(FileId) const override { return std::nullopt; }
  std::string path(FileId file) const override { return file == kFile ? name_ : ""; }
  std::uint64_t file_count() const override { return 2; }
  std::uint64_t byte_count() const override { return file_.size; }

 private:
  const std::string name_;
  store::BlockDevice& device_;
  FileStatus file_;
  FileStatus top_;
  net::Scheduler& scheduler_;
};

}  // namespace

std::unique_ptr<FileTree> make_device_tree(std::string name, store::BlockDevice& device, const FileStatus& file,
                                           net::Scheduler& scheduler) {
  return std::make_unique<DeviceTree>(std::move(name), device, file, scheduler);
}

}  // namespace godwit::exports
