#include "chunks/driver/tree_file.h"

#include <algorithm>
#include <cerrno>

namespace godwit::chunks {

static constexpr std::size_t kBlockSize = 4096;

Result<void> TreeFile::write(ConstBytes bytes) {
  if (!punch_holes_) return write_data(bytes);
  ConstBytes data;  // the run of blocks before `bytes` that are not zero
  while (!bytes.empty()) {
    const std::uint64_t at = size_ + data.size();
    const std::size_t count = std::min<std::size_t>(bytes.size(), kBlockSize - at % kBlockSize);
    const bool is_hole = count == kBlockSize && is_zero(bytes.first(count));
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
  if (ends_in_hole_ && ::ftruncate(descriptor_.get(), static_cast<off_t>(size_)) != 0)
    return fail(Error::from_errno(errno, "set the size"));
  return {};
}

}  // namespace godwit::chunks
