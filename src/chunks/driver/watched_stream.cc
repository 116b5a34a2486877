#include "chunks/driver/watched_stream.h"

#include <utility>

namespace godwit::chunks {

WatchedStream::WatchedStream(std::unique_ptr<ArchiveStream> source, std::uint64_t size, std::shared_ptr<StreamWatch> watch)
    : source_(std::move(source)), watch_(std::move(watch)) {
  watch_->bytes_total = size;
}

Result<std::size_t> WatchedStream::read(MutableBytes into) {
  if (watch_->is_stopped) return fail(ErrorKind::cancelled, "interrupted");
  Result<std::size_t> count = source_->read(into);
  if (count) watch_->bytes_read += *count;
  return count;
}

}  // namespace godwit::chunks
