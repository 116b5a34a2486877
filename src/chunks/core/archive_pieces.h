// An archive that is known before it is read: the records of its nodes as they are, the bytes of files as what says which these
// are. Of a stretch of it there is a print, taken without reading a file; bytes of files are read when somebody asks for them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/hash.h"
#include "chunks/core/archive_encoder.h"

namespace godwit::chunks {

// Who wants to know where in the archive what lies: is told all of it once, in order, when it becomes known.
class ArchiveWatcher {
 public:
  virtual ~ArchiveWatcher() = default;
  // The next bytes, which are no file's.
  virtual Result<void> watch_records(ConstBytes bytes) = 0;
  // So many of the file that the tree has entered last.
  virtual void watch_payload(std::uint64_t size) = 0;
};

class ArchivePieces {
 public:
  // Files that are open at once. When there are more, the first of them is read.
  static constexpr std::size_t kOpenFilesMax = 256;

  // Borrows the tree for its own life, and the watcher, which may be null.
  explicit ArchivePieces(LazyArchiveTree& tree, ArchiveWatcher* watcher = nullptr)
      : tree_(tree), encoder_(tree), watcher_(watcher) {}

  // Looks ahead until `length` bytes are known, or all to the end.
  Result<void> look_ahead(std::uint64_t length);
  // What is known from here on.
  std::uint64_t known() const { return known_; }
  bool ends_at(std::uint64_t length) const { return ended_ && length == known_; }

  // Of the next `length` bytes, which are known, and of the end if it is known to be there: who takes prints of a stretch looks
  // ahead beyond it. Nothing where a file's state does not say what its bytes are.
  std::optional<Sha256> print(std::uint64_t length) const;

  // Reads until `length` bytes, or all to the end, lie in loaded().
  Result<void> load(std::uint64_t length);
  // The next bytes, as far as they are read; until the next load(), look_ahead() or drop().
  ConstBytes loaded() const { return loaded_; }

  // Goes on by `length` bytes, which are known.
  void drop(std::uint64_t length);

 private:
  struct Piece {
    std::uint64_t begin = 0;   // in the records, or in the file
    std::uint64_t length = 0;  // from there on
    bool is_payload = false;
    Bytes records;
    std::unique_ptr<ArchivePayload> payload;  // null when it has been read
    std::optional<FileState> state;
  };

  Result<void> load_known(std::uint64_t length);
  Result<void> read(Piece& piece, std::uint64_t from, MutableBytes into);
  void close(Piece& piece);

  LazyArchiveTree& tree_;
  ArchiveEncoder encoder_;
  ArchiveWatcher* watcher_;
  std::deque<Piece> pieces_;
  std::uint64_t known_ = 0;
  bool ended_ = false;
  std::size_t open_files_ = 0;
  Bytes loaded_;                   // the first bytes of the pieces:
  std::size_t loaded_pieces_ = 0;  // all of so many,
  std::uint64_t loaded_more_ = 0;  // and so much of the next
};

}  // namespace godwit::chunks
