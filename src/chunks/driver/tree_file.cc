#include "chunks/driver/tree_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace godwit::chunks {
namespace {

constexpr std::size_t kBlockSize = 4096;
// Bounds the memory, whatever the pieces are.
constexpr std::size_t kCompareBytes = std::size_t{256} << 10;
// A source of which so much was different has nothing more to give: what is left of it would only be in the way.
constexpr std::uint64_t kUnlikeBytes = std::uint64_t{1} << 20;

bool means_never(int error) {
  return error == EOPNOTSUPP || error == ENOTTY || error == ENOSYS;
}

// Blocks lie on multiples of their size in the file.
std::size_t block_at(std::uint64_t offset, std::size_t size) {
  return std::min<std::size_t>(size, kBlockSize - offset % kBlockSize);
}

// How many bytes at the front, by the block, are alike in both; or are not.
std::size_t run_of_blocks(ConstBytes a, ConstBytes b, std::uint64_t offset, bool alike) {
  std::size_t at = 0;
  while (at < a.size()) {
    const std::size_t count = block_at(offset + at, a.size() - at);
    if ((std::memcmp(a.data() + at, b.data() + at, count) == 0) != alike) break;
    at += count;
  }
  return at;
}

}  // namespace

TreeFile::Sharing TreeFile::share(int source, std::uint64_t size) {
  struct stat theirs{};
  struct stat ours{};
  if (::fstat(source, &theirs) != 0 || ::fstat(descriptor(), &ours) != 0) return Sharing::not_here;
  // All of it with its last, partial block, where it is not too long.
  file_clone_range range{.src_fd = source, .src_offset = 0, .src_length = 0, .dest_offset = 0};
  if (static_cast<std::uint64_t>(theirs.st_size) > size) {
    const auto block = std::max<std::uint64_t>(kBlockSize, static_cast<std::uint64_t>(ours.st_blksize));
    range.src_length = size / block * block;
    if (range.src_length == 0) return Sharing::not_here;
  }
  if (::ioctl(descriptor(), FICLONERANGE, &range) != 0) {
    const Sharing failed = means_never(errno) ? Sharing::never : Sharing::not_here;
    // Some of it may have come all the same.
    if (::ftruncate(descriptor(), 0) != 0) expect_content(size);
    return failed;
  }
  // What came counts, not what the source was before.
  expect_content(::fstat(descriptor(), &ours) == 0 ? std::min(size, static_cast<std::uint64_t>(ours.st_size)) : size);
  return Sharing::shared;
}

Result<void> TreeFile::write(ConstBytes bytes) {
  while (!bytes.empty() && size_ < content_end_) {
    const ConstBytes part = bytes.first(std::min({bytes.size(), kCompareBytes, content_end_ - size_}));
    if (Result<void> written = write_over(part); !written) return written;
    bytes = bytes.subspan(part.size());
    if (kept_bytes_ == 0 && size_ >= kUnlikeBytes && ::ftruncate(descriptor(), static_cast<off_t>(size_)) == 0) content_end_ = 0;
  }
  return write_new(bytes);
}

Result<void> TreeFile::write_over(ConstBytes bytes) {
  present_.resize(bytes.size());
  if (!read_all_at(descriptor(), size_, present_)) return write_new(bytes);
  ConstBytes present = present_;
  for (bool alike = true; !bytes.empty(); alike = !alike) {
    const std::size_t run = run_of_blocks(bytes, present, size_, alike);
    if (alike) {
      size_ += run;
      kept_bytes_ += run;
    } else if (Result<void> written = write_new(bytes.first(run)); !written) {
      return written;
    }
    bytes = bytes.subspan(run);
    present = present.subspan(run);
  }
  return {};
}

Result<void> TreeFile::write_new(ConstBytes bytes) {
  if (!punch_holes_) return write_data(bytes);
  ConstBytes data;  // the run of blocks before `bytes` that are not zero
  while (!bytes.empty()) {
    const std::uint64_t at = size_ + data.size();
    const std::size_t count = block_at(at, bytes.size());
    const bool is_hole = is_zero(bytes.first(count)) && make_hole(at, count);
    if (is_hole) {
      if (Result<void> written = write_data(data); !written) return written;
      data = {};
      size_ += count;
      ends_in_hole_ = true;
    } else {
      data = data.empty() ? bytes.first(count) : ConstBytes(data.data(), data.size() + count);
    }
    bytes = bytes.subspan(count);
  }
  return write_data(data);
}

// Where nothing was, one is there: also of a part of a block, as pieces that begin and end anywhere have it at their edges.
bool TreeFile::make_hole(std::uint64_t offset, std::size_t size) {
  if (offset >= content_end_) return true;
  return size == kBlockSize && ::fallocate(descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                                           static_cast<off_t>(size)) == 0;
}

Result<void> TreeFile::write_data(ConstBytes bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(size_));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Error::from_errno(errno, "write"));
    size_ += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
    ends_in_hole_ = false;
  }
  return {};
}

Result<void> TreeFile::finish() {
  if ((ends_in_hole_ || content_end_ > 0) && ::ftruncate(descriptor_.get(), static_cast<off_t>(size_)) != 0)
    return fail(Error::from_errno(errno, "set the size"));
  return {};
}

// A file without a name takes the blocks of another: none, but a file system that has no such call says so.
bool may_share_blocks(int folder) {
  constexpr int kFlags = O_TMPFILE | O_RDWR | O_CLOEXEC;
  const Descriptor from(::openat(folder, ".", kFlags, 0600));
  const Descriptor into(::openat(folder, ".", kFlags, 0600));
  if (!from.is_open() || !into.is_open()) return true;
  return ::ioctl(into.get(), FICLONE, from.get()) == 0 || !means_never(errno);
}

}  // namespace godwit::chunks
