#include "chunks/core/archive_pieces.h"

#include <algorithm>

#include "base/check.h"
#include "base/cursor.h"

namespace godwit::chunks {

namespace {

// What stands behind each part of what is hashed. Read from the back, it says what the parts were, so no two stretches are the
// same text.
enum class PrintMark : std::uint8_t { records = 1, payload = 2, end = 3 };

void mark_records(Sha256Stream& stream, std::uint64_t& length) {
  if (length == 0) return;
  Bytes mark;
  Writer writer(mark);
  writer.u64_le(length);
  writer.u8(static_cast<std::uint8_t>(PrintMark::records));
  stream.update(mark);
  length = 0;
}

void mark_payload(Sha256Stream& stream, const FileState& state, std::uint64_t begin, std::uint64_t length) {
  Bytes mark;
  Writer writer(mark);
  writer.u64_le(state.file_system);
  writer.u64_le(state.device);
  writer.u64_le(state.inode);
  writer.u64_le(state.size);
  writer.i64_le(state.mtime_ns);
  writer.i64_le(state.ctime_ns);
  writer.i64_le(state.born_ns);
  writer.u64_le(begin);
  writer.u64_le(length);
  writer.u8(static_cast<std::uint8_t>(PrintMark::payload));
  stream.update(mark);
}

}  // namespace

Result<void> ArchivePieces::look_ahead(std::uint64_t length) {
  while (known_ < length && !ended_) {
    const Result<std::optional<ArchiveEncoder::Part>> part = encoder_.next_part();
    if (!part) return fail(part.error());
    if (!*part) {
      ended_ = true;
      break;
    }
    if (const ConstBytes records = (*part)->records; !records.empty()) {
      if (watcher_ != nullptr)
        if (Result<void> watched = watcher_->watch_records(records); !watched) return watched;
      Piece piece;
      piece.length = records.size();
      piece.records = to_bytes(records);
      pieces_.push_back(std::move(piece));
      known_ += records.size();
    }
    if ((*part)->payload_size == 0) continue;
    if (watcher_ != nullptr) watcher_->watch_payload((*part)->payload_size);
    Piece piece;
    piece.length = (*part)->payload_size;
    piece.is_payload = true;
    piece.payload = tree_.take_payload();
    piece.state = piece.payload->state();
    pieces_.push_back(std::move(piece));
    known_ += (*part)->payload_size;
    ++open_files_;
    if (open_files_ <= kOpenFilesMax) continue;
    // The last one is only looked at; of those before, the first is in the way.
    std::uint64_t up_to = 0;
    for (const Piece& before : pieces_) {
      up_to += before.length;
      if (before.payload != nullptr) break;
    }
    if (Result<void> loaded = load_known(up_to); !loaded) return loaded;
  }
  return {};
}

std::optional<Sha256> ArchivePieces::print(std::uint64_t length) const {
  GODWIT_CHECK(length <= known_);
  Sha256Stream stream;
  std::uint64_t records = 0;
  std::uint64_t left = length;
  for (const Piece& piece : pieces_) {
    if (left == 0) break;
    const std::uint64_t taken = std::min(left, piece.length);
    if (!piece.is_payload) {
      stream.update(ConstBytes(piece.records).subspan(piece.begin, taken));
      records += taken;
    } else {
      if (!piece.state) return std::nullopt;
      mark_records(stream, records);
      mark_payload(stream, *piece.state, piece.begin, taken);
    }
    left -= taken;
  }
  mark_records(stream, records);
  if (ends_at(length)) {
    const std::byte end{static_cast<std::uint8_t>(PrintMark::end)};
    stream.update({&end, 1});
  }
  return stream.finish();
}

Result<void> ArchivePieces::load(std::uint64_t length) {
  if (Result<void> looked = look_ahead(length); !looked) return looked;
  return load_known(std::min(length, known_));
}

Result<void> ArchivePieces::load_known(std::uint64_t length) {
  while (loaded_.size() < length) {
    Piece& piece = pieces_[loaded_pieces_];
    const std::uint64_t count = std::min(length - loaded_.size(), piece.length - loaded_more_);
    const std::size_t before = loaded_.size();
    loaded_.resize(before + count);
    if (Result<void> done = read(piece, piece.begin + loaded_more_, MutableBytes(loaded_).subspan(before)); !done) return done;
    loaded_more_ += count;
    if (loaded_more_ < piece.length) continue;
    close(piece);
    ++loaded_pieces_;
    loaded_more_ = 0;
  }
  return {};
}

Result<void> ArchivePieces::read(Piece& piece, std::uint64_t from, MutableBytes into) {
  if (piece.is_payload) return piece.payload->read(from, into);
  std::ranges::copy(ConstBytes(piece.records).subspan(from, into.size()), into.begin());
  return {};
}

void ArchivePieces::close(Piece& piece) {
  if (piece.payload == nullptr) return;
  piece.payload.reset();
  --open_files_;
}

void ArchivePieces::drop(std::uint64_t length) {
  GODWIT_CHECK(length <= known_);
  known_ -= length;
  loaded_.erase(loaded_.begin(), loaded_.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(length, loaded_.size())));
  while (length > 0) {
    Piece& piece = pieces_.front();
    const std::uint64_t taken = std::min(length, piece.length);
    piece.begin += taken;
    piece.length -= taken;
    length -= taken;
    if (loaded_pieces_ == 0) loaded_more_ -= std::min(loaded_more_, taken);
    if (piece.length > 0) continue;
    close(piece);
    pieces_.pop_front();
    if (loaded_pieces_ > 0) --loaded_pieces_;
  }
}

}  // namespace godwit::chunks
