#include "chunks/driver/tree_payload.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace godwit::chunks {
namespace {

constexpr std::uint64_t kReadAheadFrom = std::uint64_t{1} << 20;

}  // namespace

TreePayload::TreePayload(Descriptor descriptor, std::string path, const struct stat& status, std::uint64_t size,
                         std::optional<FileState> state)
    : descriptor_(std::move(descriptor)),
      path_(std::move(path)),
      size_(size),
      is_sparse_(static_cast<std::uint64_t>(status.st_blocks) * 512 < size),
      state_(state) {
  if (size_ >= kReadAheadFrom) (void)::posix_fadvise(descriptor_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
}

Result<void> TreePayload::look_for_data(std::uint64_t offset) {
  const off_t data = ::lseek(descriptor_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0 && errno != ENXIO) return fail(errno_error("look for data in", path_));
  // No data behind: a hole up to the end, if that is where it was.
  struct stat status{};
  if (data < 0 && ::fstat(descriptor_.get(), &status) != 0) return fail(errno_error("look at", path_));
  if (data < 0 && static_cast<std::uint64_t>(status.st_size) < size_)
    return fail(ErrorKind::truncated,
                fmt::format("'{}' shrank while it was read: {} bytes, it had {}", escaped(path_), status.st_size, size_));
  data_start_ = data < 0 ? size_ : static_cast<std::uint64_t>(data);
  const off_t hole = data < 0 ? -1 : ::lseek(descriptor_.get(), data, SEEK_HOLE);
  data_end_ = hole < 0 ? size_ : static_cast<std::uint64_t>(hole);
  return {};
}

Result<void> TreePayload::read(std::uint64_t offset, MutableBytes into) {
  while (!into.empty()) {
    std::size_t wanted = into.size();
    if (is_sparse_ && offset >= data_end_)
      if (Result<void> looked = look_for_data(offset); !looked) return looked;
    if (is_sparse_ && offset < data_start_) {
      wanted = static_cast<std::size_t>(std::min<std::uint64_t>(wanted, data_start_ - offset));
      std::memset(into.data(), 0, wanted);
    } else {
      const ssize_t count = ::pread(descriptor_.get(), into.data(), wanted, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(errno_error("read", path_));
      if (count == 0)
        return fail(ErrorKind::truncated,
                    fmt::format("'{}' shrank while it was read: {} bytes, it had {}", escaped(path_), offset, size_));
      wanted = static_cast<std::size_t>(count);
    }
    into = into.subspan(wanted);
    offset += wanted;
  }
  return {};
}

}  // namespace godwit::chunks
