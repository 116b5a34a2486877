#include "store/directory_blobs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "net/descriptor.h"
#include "net/lifetime.h"

namespace godwit::store {

namespace {

// The folder as blocking calls, on any thread.
class Folder final : public BlockingBlobs {
 public:
  Folder(int descriptor, std::string path, std::uint64_t salt) : folder_(descriptor), path_(std::move(path)), salt_(salt) {}

  const std::string& path() const { return path_; }

  Result<Bytes> get(const std::string& name, std::uint64_t size_max) {
    Bytes content;
    if (const Result<std::size_t> size = read_plain(name, size_max, content); !size) return fail(size.error());
    return content;
  }

  Result<std::size_t> read(const std::string& name, std::uint64_t size_max, Bytes& into) override {
    if (Result<void> plain = check_blob_name(name); !plain) return fail(std::move(plain).error());
    return read_plain(name, size_max, into);
  }

  Result<bool> has(const std::string& name) {
    if (::faccessat(folder_.get(), name.c_str(), F_OK, 0) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return fail_errno("look for", name);
  }

  Result<bool> put(const std::string& name, ConstBytes content) {
    const std::string temporary = fmt::format("{}.{:016x}{}", name, salt_ + next_temporary_++, kBlobTemporarySuffix);
    int file = create(temporary);
    if (file < 0 && errno == ENOENT) {
      if (Result<void> made = make_folders(name); !made) return fail(made.error());
      file = create(temporary);
    }
    return put_into(file, temporary, name, content);
  }

  Result<void> sync() {
    if (::syncfs(folder_.get()) == 0) return {};
    return fail(Error::from_errno(errno, "sync the file system of " + path_));
  }

  Result<void> remove(const std::string& name) {
    if (::unlinkat(folder_.get(), name.c_str(), 0) != 0) return fail_absent("remove", name);
    return {};
  }

  Result<std::vector<BlobEntry>> list(const std::string& folder) {
    std::vector<BlobEntry> entries;
    const int descriptor = ::openat(folder_.get(), folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0 && errno == ENOENT) return entries;
    if (descriptor < 0) return fail_errno("list", folder);
    DIR* const stream = ::fdopendir(descriptor);
    if (stream == nullptr) return fail_errno("list", folder);
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) {
      const std::string_view name = entry->d_name;
      struct stat status{};
      if (!name.ends_with(kBlobTemporarySuffix) && ::fstatat(descriptor, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISREG(status.st_mode))
        entries.push_back({.name = fmt::format("{}/{}", folder, name),
                           .size = static_cast<std::uint64_t>(status.st_size),
                           .modified_seconds = status.st_mtim.tv_sec});
      errno = 0;
    }
    const int error = errno;
    ::closedir(stream);
    if (error != 0) return fail(Error::from_errno(error, "list " + full(folder)));
    return entries;
  }

 private:
  // `content` grows to the file's size where it is shorter.
  Result<std::size_t> read_plain(const std::string& name, std::uint64_t size_max, Bytes& content) {
    const net::Descriptor file(::openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.get() < 0) return fail_absent("open", name);
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) return fail_errno("open", name);
    if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, fmt::format("{}: no regular file", full(name)));
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size > size_max)
      return fail(ErrorKind::limit, fmt::format("{}: {} bytes, at most {} are possible", full(name), size, size_max));
    if (content.size() < size) content.resize(size);
    std::size_t filled = 0;
    while (filled < size) {
      const ssize_t count = ::read(file.get(), content.data() + filled, size - filled);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail_errno("read", name);
      if (count == 0) return fail(ErrorKind::truncated, fmt::format("{}: ends after {} of {} bytes", full(name), filled, size));
      filled += static_cast<std::size_t>(count);
    }
    return size;
  }

  std::string full(std::string_view name) const { return fmt::format("{}/{}", path_, name); }
  std::unexpected<Error> fail_errno(std::string_view what, std::string_view name) const {
    return fail(Error::from_errno(errno, fmt::format("{} {}", what, full(name))));
  }

  // Below a file there is nothing.
  std::unexpected<Error> fail_absent(std::string_view what, std::string_view name) const {
    if (errno == ENOTDIR) errno = ENOENT;
    return fail_errno(what, name);
  }

  int create(const std::string& name) {
    return ::openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
  }

  Result<void> make_folders(const std::string& name) {
    for (std::size_t slash = name.find('/'); slash != name.npos; slash = name.find('/', slash + 1)) {
      const std::string folder = name.substr(0, slash);
      if (::mkdirat(folder_.get(), folder.c_str(), 0777) != 0 && errno != EEXIST) return fail_errno("create", folder);
    }
    return {};
  }

  Result<bool> put_into(int descriptor, const std::string& temporary, const std::string& name, ConstBytes content) {
    const net::Descriptor file(descriptor);
    if (file.get() < 0) return fail_errno("create", temporary);
    Result<bool> stored = true;
    if (Result<void> written = write_all(file.get(), name, content); !written) stored = fail(written.error());
    if (stored) stored = rename_new(temporary, name);
    if (!stored || !*stored) ::unlinkat(folder_.get(), temporary.c_str(), 0);
    return stored;
  }

  Result<void> write_all(int file, const std::string& name, ConstBytes content) {
    while (!content.empty()) {
      const ssize_t count = ::write(file, content.data(), content.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail_errno("write", name);
      content = content.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }

  Result<bool> rename_new(const std::string& from, const std::string& to) {
    if (::renameat2(folder_.get(), from.c_str(), folder_.get(), to.c_str(), RENAME_NOREPLACE) == 0) return true;
    if (errno == EEXIST) return false;
    if (errno != EINVAL) return fail_errno("rename to", to);
    // A file system that cannot rename so can still refuse to link.
    if (::linkat(folder_.get(), from.c_str(), folder_.get(), to.c_str(), 0) != 0) {
      if (errno == EEXIST) return false;
      return fail_errno("link to", to);
    }
    ::unlinkat(folder_.get(), from.c_str(), 0);
    return true;
  }

  const net::Descriptor folder_;
  const std::string path_;
  const std::uint64_t salt_;
  std::atomic<std::uint64_t> next_temporary_ = 0;
};

class DirectoryBlobs final : public BlobStore {
 public:
  DirectoryBlobs(std::shared_ptr<Folder> folder, net::Workers& workers, net::Scheduler& scheduler)
      : folder_(std::move(folder)), workers_(workers), scheduler_(scheduler) {}

  const std::string& title() const override { return folder_->path(); }

  void get(std::string name, std::uint64_t size_max, Done<Bytes> done) override {
    run<Bytes>(check_blob_name(name), [name, size_max](Folder& folder) { return folder.get(name, size_max); }, std::move(done));
  }
  void has(std::vector<std::string> names, Done<std::vector<bool>> done) override {
    Result<void> plain;
    for (const std::string& name : names)
      if (plain) plain = check_blob_name(name);
    run<std::vector<bool>>(
        std::move(plain),
        [names = std::move(names)](Folder& folder) -> Result<std::vector<bool>> {
          std::vector<bool> there;
          there.reserve(names.size());
          for (const std::string& name : names) {
            const Result<bool> one = folder.has(name);
            if (!one) return fail(one.error());
            there.push_back(*one);
          }
          return there;
        },
        std::move(done));
  }
  void put(std::string name, Bytes content, Done<bool> done) override {
    Result<void> plain = check_blob_name(name);
    run<bool>(
        std::move(plain),
        [name = std::move(name), content = std::move(content)](Folder& folder) { return folder.put(name, content); },
        std::move(done));
  }
  void sync(Done<void> done) override {
    run<void>({}, [](Folder& folder) { return folder.sync(); }, std::move(done));
  }
  void remove(std::string name, Done<void> done) override {
    run<void>(check_blob_name(name), [name](Folder& folder) { return folder.remove(name); }, std::move(done));
  }
  std::shared_ptr<BlockingBlobs> blocking() override { return folder_; }
  void list(std::string folder_name, Done<std::vector<BlobEntry>> done) override {
    run<std::vector<BlobEntry>>(
        check_blob_name(folder_name), [folder_name](Folder& folder) { return folder.list(folder_name); }, std::move(done));
  }

 private:
  template <class T, class Work>
  void run(Result<void> plain, Work work, Done<T> done) {
    if (!plain) {
      scheduler_.post(
          lifetime_.while_alive([done = std::move(done), error = plain.error()]() mutable { done(fail(std::move(error))); }));
      return;
    }
    auto result = std::make_shared<Result<T>>(fail(ErrorKind::cancelled, "not run"));
    workers_.run([folder = folder_, result, work = std::move(work)]() mutable { *result = work(*folder); },
                 lifetime_.while_alive([result, done = std::move(done)]() mutable { done(std::move(*result)); }));
  }

  std::shared_ptr<Folder> folder_;
  net::Workers& workers_;
  net::Scheduler& scheduler_;
  net::Lifetime lifetime_;
};

}  // namespace

Result<std::unique_ptr<BlobStore>> make_directory_blobs(const std::string& path, bool create, net::Workers& workers,
                                                        net::Scheduler& scheduler) {
  if (create && ::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) return fail(Error::from_errno(errno, "create " + path));
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
  // Temporary names of two processes must differ; nothing else depends on this number.
  std::uint64_t salt = 0;
  if (::getrandom(&salt, sizeof(salt), 0) != sizeof(salt)) salt = static_cast<std::uint64_t>(::getpid()) << 32;
  return std::make_unique<DirectoryBlobs>(std::make_shared<Folder>(descriptor, path, salt), workers, scheduler);
}

}  // namespace godwit::store
