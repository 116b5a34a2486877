#include "store/real_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>

#include <fmt/format.h>

#include "net/descriptor.h"
#include "store/file_device.h"

namespace godwit::store {

namespace {

constexpr std::uint64_t kFileBytesMax = 64 * 1024 * 1024;
constexpr std::string_view kTemporary = ".tmp";

// The folder as blocking calls, on any thread.
class Folder {
 public:
  Folder(int descriptor, std::string path) : folder_(descriptor), path_(std::move(path)) {}

  Result<std::vector<std::string>> list() {
    // A descriptor of its own: the reading position belongs to the open file.
    DIR* entries = ::fdopendir(::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (entries == nullptr) return fail(Error::from_errno(errno, "list " + path_));
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(entries)) {
      const std::string_view name = entry->d_name;
      const bool file =
          entry->d_type == DT_REG || entry->d_type == DT_LNK || entry->d_type == DT_BLK || entry->d_type == DT_UNKNOWN;
      if (file && name != "." && name != ".." && !name.ends_with(kTemporary)) names.emplace_back(name);
    }
    const int error = errno;
    ::closedir(entries);
    if (error != 0) return fail(Error::from_errno(error, "list " + path_));
    std::ranges::sort(names);
    return names;
  }

  Result<Bytes> read_file(const std::string& name) {
    const net::Descriptor file(::openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) return fail_errno("open", name);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) return fail_errno("open", name);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size > kFileBytesMax)
      return fail(ErrorKind::limit, fmt::format("read {}: {} bytes are more than {}", full(name), size, kFileBytesMax));
    Bytes content(size);
    std::size_t filled = 0;
    while (filled < content.size()) {
      const ssize_t count = ::read(file.get(), content.data() + filled, content.size() - filled);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail_errno("read", name);
      if (count == 0) break;
      filled += static_cast<std::size_t>(count);
    }
    content.resize(filled);
    return content;
  }

  Result<void> replace_file(const std::string& name, ConstBytes content) {
    const std::string temporary = temporary_name(name);
    Result<void> replaced = write_new(temporary, content);
    if (replaced && ::renameat(folder_.get(), temporary.c_str(), folder_.get(), name.c_str()) != 0)
      replaced = fail_errno("rename to", name);
    if (!replaced) {
      ::unlinkat(folder_.get(), temporary.c_str(), 0);
      return fail(std::move(replaced.error()).within("replace " + name));
    }
    return sync_names("replace", name);
  }

  Result<void> write_slot(const std::string& name, std::uint64_t offset, ConstBytes content) {
    const net::Descriptor file(::openat(folder_.get(), name.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0) return fail_errno("open", name);
    if (Result<void> written = write_all(file.get(), name, offset, content); !written) return written;
    if (::fdatasync(file.get()) != 0) return fail_errno("sync", name);
    return {};
  }

  Result<void> rename(const std::string& from, const std::string& to) {
    if (Result<void> renamed = rename_new(from, to); !renamed) return renamed;
    return sync_names("rename", to);
  }

  Result<void> remove(const std::string& name) {
    if (::unlinkat(folder_.get(), name.c_str(), 0) != 0) return fail_errno("remove", name);
    return sync_names("remove", name);
  }

  // Complete under a temporary name first, so that a crash never leaves a file of another size.
  Result<std::unique_ptr<DiskFile>> create(const std::string& name, std::uint64_t size) {
    const std::string temporary = temporary_name(name);
    net::Descriptor file(::openat(folder_.get(), temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0) return fail_errno("create", name);
    Result<void> created;
    if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0 || ::fsync(file.get()) != 0) created = fail_errno("create", name);
    if (created) created = rename_new(temporary, name);
    if (!created) {
      ::unlinkat(folder_.get(), temporary.c_str(), 0);
      return fail(created.error());
    }
    if (Result<void> synced = sync_names("create", name); !synced) return fail(synced.error());
    return DiskFile::adopt(file.release(), full(name), false);
  }

  Result<std::unique_ptr<DiskFile>> open(const std::string& name, bool read_only) {
    return DiskFile::open(full(name), read_only);
  }

  // A name of one plain file here.
  Result<void> check_name(std::string_view name) const {
    if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos ||
        name.ends_with(kTemporary))
      return fail(ErrorKind::invalid, fmt::format("{}: no plain file name: \"{}\"", path_, escaped(name)));
    return {};
  }

 private:
  std::string full(std::string_view name) const { return fmt::format("{}/{}", path_, name); }
  std::unexpected<Error> fail_errno(std::string_view what, std::string_view name) const {
    return fail(Error::from_errno(errno, fmt::format("{} {}", what, full(name))));
  }
  // Left-overs of a crash are overwritten as the numbers come round again after a start.
  std::string temporary_name(const std::string& name) { return fmt::format("{}.{}{}", name, next_temporary_++, kTemporary); }

  Result<void> write_new(const std::string& name, ConstBytes content) {
    const net::Descriptor file(::openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (file.get() < 0) return fail_errno("create", name);
    if (Result<void> written = write_all(file.get(), name, 0, content); !written) return written;
    if (::fsync(file.get()) != 0) return fail_errno("sync", name);
    return {};
  }

  Result<void> write_all(int file, std::string_view name, std::uint64_t offset, ConstBytes content) {
    while (!content.empty()) {
      const ssize_t count = ::pwrite(file, content.data(), content.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(Error::from_errno(errno, fmt::format("write {} at offset {}", full(name), offset)));
      content = content.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return {};
  }

  Result<void> rename_new(const std::string& from, const std::string& to) {
    if (::renameat2(folder_.get(), from.c_str(), folder_.get(), to.c_str(), RENAME_NOREPLACE) == 0) return {};
    // A file system that cannot rename so can still refuse to link; for a moment the file then has both names.
    if (errno == EINVAL && ::linkat(folder_.get(), from.c_str(), folder_.get(), to.c_str(), 0) == 0 &&
        ::unlinkat(folder_.get(), from.c_str(), 0) == 0)
      return {};
    return fail_errno(fmt::format("rename {} to", from), to);
  }

  Result<void> sync_names(std::string_view what, std::string_view name) {
    if (::fsync(folder_.get()) == 0) return {};
    return fail(Error::from_errno(errno, fmt::format("{} {}: sync of the folder", what, full(name))));
  }

  const net::Descriptor folder_;
  const std::string path_;
  std::atomic<std::uint64_t> next_temporary_ = 0;
};

class RealDirectory final : public Directory {
 public:
  RealDirectory(std::shared_ptr<Folder> folder, net::Workers& workers, net::Scheduler& scheduler)
      : folder_(std::move(folder)), workers_(workers), scheduler_(scheduler) {}

  void list(Done<std::vector<std::string>> done) override {
    run<std::vector<std::string>>([](Folder& folder) { return folder.list(); }, std::move(done));
  }
  void read_file(const std::string& name, Done<Bytes> done) override {
    run<Bytes>({&name}, [name](Folder& folder) { return folder.read_file(name); }, std::move(done));
  }
  void replace_file(const std::string& name, Bytes content, Done<void> done) override {
    run<void>(
        {&name}, [name, content = std::move(content)](Folder& folder) { return folder.replace_file(name, content); },
        std::move(done));
  }
  void write_slot(const std::string& name, std::uint64_t offset, Bytes content, Done<void> done) override {
    run<void>(
        {&name},
        [name, offset, content = std::move(content)](Folder& folder) { return folder.write_slot(name, offset, content); },
        std::move(done));
  }
  void rename(const std::string& from, const std::string& to, Done<void> done) override {
    run<void>({&from, &to}, [from, to](Folder& folder) { return folder.rename(from, to); }, std::move(done));
  }
  void remove(const std::string& name, Done<void> done) override {
    run<void>({&name}, [name](Folder& folder) { return folder.remove(name); }, std::move(done));
  }
  void create_device(const std::string& name, std::uint64_t size, Done<std::unique_ptr<BlockDevice>> done) override {
    run<std::unique_ptr<DiskFile>>(
        {&name}, [name, size](Folder& folder) { return folder.create(name, size); }, as_device(std::move(done)));
  }
  void open_device(const std::string& name, bool read_only, Done<std::unique_ptr<BlockDevice>> done) override {
    run<std::unique_ptr<DiskFile>>(
        {&name}, [name, read_only](Folder& folder) { return folder.open(name, read_only); }, as_device(std::move(done)));
  }

 private:
  template <class T, class Work>
  void run(Work work, Done<T> done) {
    auto result = std::make_shared<Result<T>>(fail(ErrorKind::cancelled, "not run"));
    workers_.run([folder = folder_, result, work = std::move(work)]() mutable { *result = work(*folder); },
                 [result, done = std::move(done)]() mutable { done(std::move(*result)); });
  }

  template <class T, class Work>
  void run(std::initializer_list<const std::string*> names, Work work, Done<T> done) {
    for (const std::string* name : names) {
      if (Result<void> plain = folder_->check_name(*name); !plain) {
        scheduler_.post([done = std::move(done), error = plain.error()]() mutable { done(fail(std::move(error))); });
        return;
      }
    }
    run<T>(std::move(work), std::move(done));
  }

  Done<std::unique_ptr<DiskFile>> as_device(Done<std::unique_ptr<BlockDevice>> done) {
    return
        [&scheduler = scheduler_, &workers = workers_, done = std::move(done)](Result<std::unique_ptr<DiskFile>> file) mutable {
          if (!file) return done(fail(std::move(file.error())));
          done(make_file_device(std::move(*file), scheduler, workers));
        };
  }

  std::shared_ptr<Folder> folder_;
  net::Workers& workers_;
  net::Scheduler& scheduler_;
};

}  // namespace

Result<std::unique_ptr<Directory>> make_directory(const std::string& path, net::Workers& workers, net::Scheduler& scheduler) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
  return std::make_unique<RealDirectory>(std::make_shared<Folder>(descriptor, path), workers, scheduler);
}

}  // namespace godwit::store
