#include "chunks/driver/tree_archive.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/cursor.h"
#include "chunks/driver/index_file.h"

namespace godwit::chunks {
namespace {

constexpr std::size_t kPieceSize = std::size_t{1} << 20;
constexpr std::size_t kPieceCount = 4;

// Pieces on their way from the thread that reads to the one that digests and writes.
class Pieces {
 public:
  // The next piece to be filled; null when the other side has given up.
  Bytes* to_fill() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return filled_ - taken_ < kPieceCount || stopped_; });
    return stopped_ ? nullptr : &pieces_[filled_ % kPieceCount];
  }
  void put() {
    change([&] { ++filled_; });
  }
  void end() {
    change([&] { ended_ = true; });
  }
  // The next full piece; null at the end.
  Bytes* to_take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return taken_ < filled_ || ended_; });
    return taken_ < filled_ ? &pieces_[taken_ % kPieceCount] : nullptr;
  }
  void give_back() {
    change([&] { ++taken_; });
  }
  void stop() {
    change([&] { stopped_ = true; });
  }

 private:
  template <class Change>
  void change(Change&& make) {
    {
      const std::lock_guard lock(mutex_);
      make();
    }
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Bytes, kPieceCount> pieces_;
  std::size_t filled_ = 0;
  std::size_t taken_ = 0;
  bool ended_ = false;
  bool stopped_ = false;
};

Result<void> fill(ArchiveStream& source, Pieces& pieces) {
  while (Bytes* piece = pieces.to_fill()) {
    piece->resize(kPieceSize);
    const Result<std::size_t> count = source.read(*piece);
    if (!count) return fail(count.error());
    if (*count == 0) break;
    piece->resize(*count);
    pieces.put();
  }
  return {};
}

class ExtractVisitor final : public ArchiveVisitor {
 public:
  explicit ExtractVisitor(TreeExtractor& extractor) : extractor_(extractor) {}

  Result<Go> enter(const ArchiveDecoder& decoder) override { return on(extractor_.enter(decoder.node(), decoder.name())); }
  Result<void> payload(ConstBytes bytes) override { return extractor_.payload(bytes); }
  Result<Go> leave(const ArchiveDecoder&) override { return on(extractor_.leave()); }

 private:
  static Result<Go> on(Result<void> done) {
    if (!done) return fail(std::move(done).error());
    return Go::on;
  }
  TreeExtractor& extractor_;
};

// What a decoder sees goes into a digest as well; which one, the first ENTRY says.
class DigestedSource final : public ArchiveStream {
 public:
  explicit DigestedSource(ArchiveStream& source) : source_(source) {}

  Result<std::size_t> read(MutableBytes into) override {
    const Result<std::size_t> count = source_.read(into);
    if (!count) return count;
    if (!stream_) {
      Cursor cursor(into.first(*count));
      cursor.take(kRecordHeadSize);
      stream_.emplace(digest_of(cursor.u64_le()));
    }
    stream_->update(into.first(*count));
    return count;
  }
  ChunkId finish() { return stream_->finish(); }

 private:
  ArchiveStream& source_;
  std::optional<DigestStream> stream_;
};

class DigestVisitor final : public ArchiveVisitor {
 public:
  Result<Go> enter(const ArchiveDecoder& decoder) override {
    const Node& node = decoder.node();
    if (decoder.depth() == 0 && node.is_regular()) payload_.emplace(digest_of(node.features));
    if (decoder.depth() == 0 && !node.has_flags())
      return fail(ErrorKind::invalid, "only a regular file or a folder has a digest");
    return Go::on;
  }
  Result<void> payload(ConstBytes bytes) override {
    if (payload_) payload_->update(bytes);
    return {};
  }
  Result<Go> leave(const ArchiveDecoder&) override { return Go::on; }

  bool is_file() const { return payload_.has_value(); }
  ChunkId finish() { return payload_->finish(); }

 private:
  std::optional<DigestStream> payload_;
};

}  // namespace

Result<std::unique_ptr<TreeSource>> TreeSource::open(const std::string& path, const TreeWalkerOptions& options) {
  Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(path, options);
  if (!walker) return fail(std::move(walker).error());
  return std::unique_ptr<TreeSource>(new TreeSource(std::move(*walker)));
}

Result<std::unique_ptr<ArchiveFile>> ArchiveFile::open(const std::string& path) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!descriptor.is_open()) return fail(errno_error("open archive", path));
  struct stat status{};
  if (::fstat(descriptor.get(), &status) != 0) return fail(errno_error("look at archive", path));
  if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, "'" + escaped(path) + "' is no regular file, so no archive");
  return std::unique_ptr<ArchiveFile>(new ArchiveFile(std::move(descriptor), path, static_cast<std::uint64_t>(status.st_size)));
}

Result<void> ArchiveFile::read(std::uint64_t offset, MutableBytes into) {
  while (!into.empty()) {
    const ssize_t count = ::pread(descriptor_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error(fmt::format("read at offset {} of archive", offset), path_));
    if (count == 0)
      return fail(ErrorKind::truncated,
                  fmt::format("archive '{}' shrank while it was read: nothing at offset {}", escaped(path_), offset));
    offset += static_cast<std::uint64_t>(count);
    into = into.subspan(static_cast<std::size_t>(count));
  }
  return {};
}

Result<std::size_t> ArchiveRange::read(MutableBytes into) {
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), end_ - next_));
  if (count > 0)
    if (Result<void> read = archive_.read(next_, into.first(count)); !read) return fail(std::move(read).error());
  next_ += count;
  return count;
}

Result<void> visit_archive(ArchiveStream& source, const ArchiveDecoderOptions& options, ArchiveVisitor& visitor) {
  ArchiveDecoder decoder(options);
  Bytes piece(kPieceSize);
  ConstBytes input;
  for (;;) {
    const Result<ArchiveDecoder::Step> step = decoder.next(input);
    if (!step) return fail(step.error());
    Result<ArchiveVisitor::Go> go = ArchiveVisitor::Go::on;
    switch (*step) {
      case ArchiveDecoder::Step::need_input: {
        const Result<std::size_t> count = source.read(piece);
        // What was read of the archive so far tells in which file it is.
        if (!count && count.error().kind() != ErrorKind::cancelled && decoder.path() != ".")
          return fail(Error(count.error()).within(fmt::format("in or behind '{}'", decoder.path())));
        if (!count) return fail(count.error());
        if (*count == 0) return decoder.finish({});
        input = ConstBytes(piece).first(*count);
        break;
      }
      case ArchiveDecoder::Step::enter: go = visitor.enter(decoder); break;
      case ArchiveDecoder::Step::payload:
        if (Result<void> taken = visitor.payload(decoder.payload()); !taken) return taken;
        break;
      case ArchiveDecoder::Step::leave: go = visitor.leave(decoder); break;
      case ArchiveDecoder::Step::end: {
        if (!input.empty()) return decoder.finish(input);
        const Result<std::size_t> more = source.read(MutableBytes(piece).first(1));
        if (!more) return fail(more.error());
        return decoder.finish(ConstBytes(piece).first(*more));
      }
    }
    if (!go) return fail(std::move(go).error());
    if (*go == ArchiveVisitor::Go::stop) return {};
  }
}

Result<ChunkId> copy_and_digest(ArchiveStream& source, Digest digest, const ByteSink& sink) {
  Pieces pieces;
  Result<void> read;
  std::thread reader([&] {
    read = fill(source, pieces);
    pieces.end();
  });
  Result<void> written;
  DigestStream stream(digest);
  while (Bytes* piece = pieces.to_take()) {
    stream.update(*piece);
    if (sink && written) written = sink(*piece);
    if (!written) pieces.stop();
    pieces.give_back();
  }
  reader.join();
  if (!written) return fail(std::move(written).error());
  if (!read) return fail(std::move(read).error());
  return stream.finish();
}

Result<ChunkId> write_archive_file(ArchiveStream& source, Digest digest, const std::string& path) {
  const std::string partial = fmt::format("{}.{}.partial", path, ::getpid());
  TreeFile file(Descriptor(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666)), false);
  if (file.descriptor() < 0) return fail(errno_error("make", partial));
  Result<ChunkId> id = copy_and_digest(source, digest, [&](ConstBytes bytes) {
    Result<void> written = file.write(bytes);
    return written ? written : Result<void>(fail(std::move(written).error().within(escaped(partial))));
  });
  if (id && ::fdatasync(file.descriptor()) != 0) id = fail(errno_error("make durable", partial));
  if (id && ::rename(partial.c_str(), path.c_str()) != 0) id = fail(errno_error("rename into place", path));
  if (!id) {
    ::unlink(partial.c_str());
    return id;
  }
  if (Result<void> synced = sync_folder_of(path); !synced) return fail(std::move(synced).error());
  return id;
}

Result<ChunkId> digest_tree(ArchiveStream& source, const ArchiveDecoderOptions& options) {
  DigestedSource digested(source);
  DigestVisitor visitor;
  if (Result<void> visited = visit_archive(digested, options, visitor); !visited) return fail(std::move(visited).error());
  return visitor.is_file() ? visitor.finish() : digested.finish();
}

Result<void> extract_tree(ArchiveStream& source, const ArchiveDecoderOptions& options, TreeExtractor& extractor) {
  ExtractVisitor visitor(extractor);
  if (Result<void> visited = visit_archive(source, options, visitor); !visited) {
    // What comes earlier in the archive is told before.
    Result<void> settled = extractor.settle();
    return settled ? visited : settled;
  }
  return extractor.finish();
}

}  // namespace godwit::chunks
