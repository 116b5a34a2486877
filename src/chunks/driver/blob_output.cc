#include "chunks/driver/blob_output.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "chunks/driver/index_file.h"
#include "store/disk_file.h"

namespace godwit::chunks {

namespace {

// Runs of zeros shorter than this are written: a hole smaller than a file system's block saves nothing.
constexpr std::size_t kHoleBytesMin = 4096;

std::string name_of(int descriptor) {
  return fmt::format("/proc/self/fd/{}", descriptor);
}

class FileOutput final : public BlobOutput {
 public:
  // `descriptor` is the file's. `temporary` is the name that the file has until it is finished, or gets just before if it is
  // nameless; "" for one that is written in place.
  FileOutput(std::unique_ptr<store::DiskFile> file, int descriptor, std::string path, std::string temporary, bool is_nameless,
             const FileOutputOptions& options)
      : file_(std::move(file)),
        descriptor_(descriptor),
        path_(std::move(path)),
        temporary_(std::move(temporary)),
        is_nameless_(is_nameless),
        options_(options) {
    struct stat status{};
    if (descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0 && status.st_blksize > 0)
      block_bytes_ = static_cast<std::uint64_t>(status.st_blksize);
  }

  ~FileOutput() override {
    if (!temporary_.empty() && !is_nameless_ && !finished_) ::unlink(temporary_.c_str());
  }

  bool is_ordered() const override { return false; }

  Result<void> write(std::uint64_t offset, ConstBytes data) override {
    if (!options_.punch_holes) return file_->write(offset, data, store::Durability::written);
    std::size_t written = 0;
    std::size_t at = 0;
    while (at < data.size()) {
      // Holes lie on multiples of the smallest one in the file.
      const std::size_t part = std::min<std::size_t>(data.size() - at, kHoleBytesMin - (offset + at) % kHoleBytesMin);
      if (part == kHoleBytesMin && is_zero(data.subspan(at, part))) {
        std::size_t end = at + part;
        while (data.size() - end >= kHoleBytesMin && is_zero(data.subspan(end, kHoleBytesMin))) end += kHoleBytesMin;
        if (Result<void> done = write_part(offset, data, written, at); !done) return done;
        if (Result<void> done = zeros(offset + at, end - at); !done) return done;
        written = at = end;
      } else {
        at += part;
      }
    }
    return write_part(offset, data, written, at);
  }

  Result<void> zeros(std::uint64_t offset, std::uint64_t length) override {
    if (!temporary_.empty() && options_.punch_holes) return {};  // a new file is all holes
    return file_->zero(offset, length, options_.punch_holes ? store::ZeroMode::may_punch : store::ZeroMode::keep_allocated,
                       store::Durability::written);
  }

  bool is_in_place() const override { return temporary_.empty(); }
  Result<void> read(std::uint64_t offset, MutableBytes into) override { return file_->read(offset, into); }

  // Not in place: what is there would be gone before the new was verified.
  bool can_share() const override { return options_.reflink && !temporary_.empty() && !cannot_share_; }

  bool share(std::uint64_t offset, int source, std::uint64_t source_offset, std::uint64_t length) override {
    if (!can_share() || offset % block_bytes_ != source_offset % block_bytes_) return false;
    const std::uint64_t lead = (block_bytes_ - offset % block_bytes_) % block_bytes_;
    if (length < lead + block_bytes_) return false;
    const std::uint64_t middle = (length - lead) / block_bytes_ * block_bytes_;
    const file_clone_range range{
        .src_fd = source, .src_offset = source_offset + lead, .src_length = middle, .dest_offset = offset + lead};
    if (::ioctl(descriptor_, FICLONERANGE, &range) != 0) {
      // Other errors are about this source or this place.
      if (errno == EOPNOTSUPP || errno == ENOTTY || errno == ENOSYS) cannot_share_ = true;
      return false;
    }
    const std::uint64_t tail = lead + middle;
    const bool copied =
        copy(offset, source, source_offset, lead) && copy(offset + tail, source, source_offset + tail, length - tail);
    if (!copied) (void)take_back(offset, length);  // it is written over, zeros included, or the extraction fails
    return copied;
  }

  Result<void> take_back(std::uint64_t offset, std::uint64_t length) override {
    return file_->zero(offset, length, store::ZeroMode::may_punch, store::Durability::written);
  }

  Result<void> finish() override {
    if (options_.sync)
      if (Result<void> synced = file_->sync(); !synced) return synced;
    if (temporary_.empty()) return {};
    if (is_nameless_) {
      // No link can take another's name: hence both.
      if (::linkat(AT_FDCWD, name_of(descriptor_).c_str(), AT_FDCWD, temporary_.c_str(), AT_SYMLINK_FOLLOW) != 0)
        return fail(Error::from_errno(errno, "give the new file the name " + temporary_));
      is_nameless_ = false;
    }
    if (::rename(temporary_.c_str(), path_.c_str()) != 0)
      return fail(Error::from_errno(errno, fmt::format("rename {} to {}", temporary_, path_)));
    finished_ = true;
    return options_.sync ? sync_folder_of(path_) : Result<void>();
  }

 private:
  // Less than a block.
  bool copy(std::uint64_t offset, int source, std::uint64_t source_offset, std::uint64_t length) {
    if (length == 0) return true;
    Bytes bytes(length);
    const ssize_t count = ::pread(source, bytes.data(), bytes.size(), static_cast<off_t>(source_offset));
    return count == static_cast<ssize_t>(length) && file_->write(offset, bytes, store::Durability::written);
  }

  Result<void> write_part(std::uint64_t offset, ConstBytes data, std::size_t from, std::size_t to) {
    if (from == to) return {};
    return file_->write(offset + from, data.subspan(from, to - from), store::Durability::written);
  }

  std::unique_ptr<store::DiskFile> file_;
  const int descriptor_;  // file_'s; -1 where it is written in place
  const std::string path_;
  const std::string temporary_;  // empty: written in place
  bool is_nameless_;
  const FileOutputOptions options_;
  std::uint64_t block_bytes_ = 4096;
  std::atomic<bool> cannot_share_ = false;
  bool finished_ = false;
};

class StreamOutput final : public BlobOutput {
 public:
  explicit StreamOutput(int descriptor) : descriptor_(descriptor) {}
  bool is_ordered() const override { return true; }
  Result<void> write(std::uint64_t offset, ConstBytes data) override {
    while (!data.empty()) {
      const ssize_t count = ::write(descriptor_, data.data(), data.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(Error::from_errno(errno, fmt::format("write to standard output at offset {}", offset)));
      data = data.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return {};
  }
  Result<void> zeros(std::uint64_t offset, std::uint64_t length) override {
    const Bytes nothing(std::min<std::uint64_t>(length, 64 * 1024));
    while (length > 0) {
      const std::uint64_t part = std::min<std::uint64_t>(length, nothing.size());
      if (Result<void> written = write(offset, ConstBytes(nothing).first(part)); !written) return written;
      offset += part;
      length -= part;
    }
    return {};
  }
  Result<void> finish() override { return {}; }

 private:
  int descriptor_;
};

class DigestOutput final : public BlobOutput {
 public:
  DigestOutput(Digest digest, std::optional<ChunkId>& into) : stream_(digest), into_(into) {}
  bool is_ordered() const override { return true; }
  Result<void> write(std::uint64_t, ConstBytes data) override {
    stream_.update(data);
    return {};
  }
  Result<void> zeros(std::uint64_t, std::uint64_t length) override {
    stream_.update_zeros(length);
    return {};
  }
  Result<void> finish() override {
    into_ = stream_.finish();
    return {};
  }

 private:
  DigestStream stream_;
  std::optional<ChunkId>& into_;
};

// Below the folder that `name` is to be in; -1 where that does not go, or where it could not get a name later.
int open_nameless(const std::string& name, unsigned mode) {
  const std::string folder = std::filesystem::path(name).parent_path().string();
  const int descriptor = ::open(folder.empty() ? "." : folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, mode);
  if (descriptor >= 0 && ::access(name_of(descriptor).c_str(), F_OK) != 0) {
    ::close(descriptor);
    return -1;
  }
  return descriptor;
}

Result<std::unique_ptr<BlobOutput>> open_in_place(const std::string& path, std::uint64_t size, const FileOutputOptions& options,
                                                  bool device) {
  if (!device) {
    // To its size first; holes where it was shorter.
    const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0) return fail(Error::from_errno(errno, "open " + path));
    const int cut = ::ftruncate(descriptor, static_cast<off_t>(size));
    const int error = errno;
    ::close(descriptor);
    if (cut != 0) return fail(Error::from_errno(error, fmt::format("make {} {} bytes long", path, size)));
  }
  Result<std::unique_ptr<store::DiskFile>> file = store::DiskFile::open(path, false);
  if (!file) return fail(file.error());
  if ((*file)->size() < size)
    return fail(ErrorKind::no_space, fmt::format("{} has {} bytes, the blob {}", path, (*file)->size(), size));
  return std::make_unique<FileOutput>(std::move(*file), -1, path, "", false, options);
}

}  // namespace

Result<std::unique_ptr<BlobOutput>> make_file_output(const std::string& path, std::uint64_t size,
                                                     const FileOutputOptions& options) {
  struct stat status{};
  const bool there = ::stat(path.c_str(), &status) == 0;
  if (!there && errno != ENOENT) return fail(Error::from_errno(errno, "open " + path));
  if (there && !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    return fail(ErrorKind::invalid, path + " is neither a regular file nor a block device");
  const bool device = there && S_ISBLK(status.st_mode);
  if (device || options.in_place) return open_in_place(path, size, options, device);
  const std::string temporary = temporary_beside(path);
  const unsigned mode = there ? status.st_mode & 0777 : 0666;
  // Where the file system can, it has no name until it is whole, and nothing stays of a process that is killed.
  int descriptor = open_nameless(temporary, mode);
  const bool is_nameless = descriptor >= 0;
  if (!is_nameless) descriptor = ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (descriptor < 0) return fail(Error::from_errno(errno, "create a file beside " + path));
  if (there) (void)::fchmod(descriptor, mode);  // past the umask; where it fails the file is merely less open
  if (::ftruncate(descriptor, static_cast<off_t>(size)) != 0) {
    const int error = errno;
    ::close(descriptor);
    if (!is_nameless) ::unlink(temporary.c_str());
    return fail(Error::from_errno(error, fmt::format("make {} {} bytes long", path, size)));
  }
  Result<std::unique_ptr<store::DiskFile>> file = store::DiskFile::adopt(descriptor, path, false);
  if (!file) {
    if (!is_nameless) ::unlink(temporary.c_str());
    return fail(file.error());
  }
  return std::make_unique<FileOutput>(std::move(*file), descriptor, path, temporary, is_nameless, options);
}

std::unique_ptr<BlobOutput> make_stream_output(int descriptor) {
  return std::make_unique<StreamOutput>(descriptor);
}

std::unique_ptr<BlobOutput> make_digest_output(Digest digest, std::optional<ChunkId>& into) {
  return std::make_unique<DigestOutput>(digest, into);
}

}  // namespace godwit::chunks
