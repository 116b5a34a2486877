#include "chunks/driver/index_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

namespace godwit::chunks {

namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;

Result<void> write_all(int descriptor, ConstBytes bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Error::from_errno(errno, "write " + name));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace

Result<Index> read_index_file(const std::string& path) {
  const bool standard = path == "-";
  const int descriptor = standard ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open index " + path));
  Index index;
  IndexDecoder decoder;
  Bytes piece(kPieceBytes);
  Result<void> state;
  while (state) {
    const ssize_t count = ::read(descriptor, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0)
      state = fail(Error::from_errno(errno, "read index " + path));
    else if (count == 0)
      break;
    else
      state = decoder.feed(ConstBytes(piece).first(static_cast<std::size_t>(count)), index.entries);
  }
  if (!standard) ::close(descriptor);
  if (state) state = decoder.finish();
  if (!state) return fail(std::move(state.error()).within(path));
  index.header = *decoder.header();
  return index;
}

std::string temporary_beside(const std::string& path) {
  std::uint64_t number = 0;
  // What can not be drawn stays 0: then a second process finds the name taken and says so.
  (void)!::getrandom(&number, sizeof(number), 0);
  const std::filesystem::path whole(path);
  const std::string name = fmt::format(".#{}{:016x}", whole.filename().string(), number);
  return (whole.parent_path() / name).string();
}

Result<std::unique_ptr<IndexFileWriter>> IndexFileWriter::create(const std::string& path, const IndexHeader& header,
                                                                 unsigned mode) {
  std::unique_ptr<IndexFileWriter> writer;
  if (path == "-") {
    writer.reset(new IndexFileWriter(path, "", STDOUT_FILENO));
  } else {
    const std::string temporary = temporary_beside(path);
    const int descriptor = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0666);
    if (descriptor < 0) return fail(Error::from_errno(errno, fmt::format("create index {}", path)));
    writer.reset(new IndexFileWriter(path, temporary, descriptor));
  }
  encode_index_head(header, writer->pending_);
  return writer;
}

IndexFileWriter::~IndexFileWriter() {
  if (temporary_.empty()) return;
  ::close(descriptor_);
  if (!finished_) ::unlink(temporary_.c_str());
}

Result<void> IndexFileWriter::append(const IndexEntry& entry) {
  encode_index_entry(entry, pending_);
  ++entry_count_;
  return pending_.size() < kPieceBytes ? Result<void>() : write_out();
}

Result<void> IndexFileWriter::write_out() {
  Result<void> written = write_all(descriptor_, pending_, "index " + path_);
  pending_.clear();
  return written;
}

Result<void> IndexFileWriter::finish(bool sync) {
  encode_index_tail(entry_count_, pending_);
  if (Result<void> written = write_out(); !written) return written;
  if (temporary_.empty()) return {};
  if (sync && ::fsync(descriptor_) != 0) return fail(Error::from_errno(errno, "sync index " + path_));
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return fail(Error::from_errno(errno, "rename index to " + path_));
  finished_ = true;
  return sync ? sync_folder_of(path_) : Result<void>();
}

Result<void> sync_folder_of(const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return fail(Error::from_errno(errno, "open " + folder));
  const int synced = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (synced != 0) return fail(Error::from_errno(error, "sync " + folder));
  return {};
}

}  // namespace godwit::chunks
