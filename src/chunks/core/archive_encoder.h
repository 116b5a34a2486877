// A tree as the byte stream of an archive, pulled piece by piece: the encoder asks a port for the next node, or for bytes of a
// file, only when its reader has room. Payload goes from the port straight into the reader's buffer. Source: casync.md 6.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_goodbye.h"
#include "chunks/core/archive_node.h"

namespace godwit::chunks {

// Who has a tree: a walker over a file system, a test.
class ArchiveTree {
 public:
  enum class Step { enter, leave };

  virtual ~ArchiveTree() = default;
  // First the root, a folder; then, inside a folder, each child in the bytewise order of names, and `leave` where it ends. The
  // leave of the root is the last. A node that is no folder has no leave.
  virtual Result<Step> next() = 0;
  // Of the node last entered, until the next next(). The root's name is not looked at.
  virtual const Node& node() const = 0;
  virtual std::string_view name() const = 0;
  // The next bytes of the file last entered, `into.size()` of them; never more in all than its node's payload_size. A file that
  // ends before is an error.
  virtual Result<void> read_payload(MutableBytes into) = 0;
};

// What a file's bytes depend on, as it was when it was opened: a change of them shows in one of these.
struct FileState {
  std::uint64_t file_system = 0;
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;  // since 1970, as all three
  std::int64_t ctime_ns = 0;
  std::int64_t born_ns = 0;

  friend bool operator==(const FileState&, const FileState&) = default;
};

// A file's bytes, to be read later or never.
class ArchivePayload {
 public:
  virtual ~ArchivePayload() = default;
  // Nothing where a change might not show.
  virtual std::optional<FileState> state() const = 0;
  // `into.size()` bytes from `offset` on; offsets rise from call to call. A file that ends before is an error.
  virtual Result<void> read(std::uint64_t offset, MutableBytes into) = 0;
};

// Who gives files away instead of reading them when it is their turn.
class LazyArchiveTree : public ArchiveTree {
 public:
  // Of the file last entered, once, in place of read_payload().
  virtual std::unique_ptr<ArchivePayload> take_payload() = 0;
};

class ArchiveEncoder {
 public:
  // Borrows the tree for its own life.
  explicit ArchiveEncoder(ArchiveTree& tree) : tree_(tree) {}

  // Fills `out` from its front; fewer bytes than it holds only at the end, 0 when all is told. After an error it is spent.
  // ErrorKind::invalid for a tree that breaks ArchiveTree's promises or the format; else what the tree says.
  Result<std::size_t> read(MutableBytes out);
  // In place of read(), for one who takes payload from the tree: the records up to a file's payload, or all of some node, and the
  // size of the payload behind them, 0 where there is none. Nothing at the end. The records live until the next call.
  struct Part {
    ConstBytes records;
    std::uint64_t payload_size = 0;
  };
  Result<std::optional<Part>> next_part();
  // Bytes given out so far.
  std::uint64_t offset() const { return offset_; }

 private:
  struct Folder {
    std::uint64_t entry_offset = 0;
    std::uint64_t name_offset = 0;  // of its own FILENAME
    std::uint64_t name_hash = 0;
    std::string last_name;  // of its children
    std::vector<ArchiveChild> children;
  };

  Result<void> step();
  Result<void> enter();
  Result<void> leave();
  std::uint64_t written() const { return offset_ + pending_.size() - pending_taken_; }
  bool is_done() const { return started_ && folders_.empty(); }

  ArchiveTree& tree_;
  std::vector<Folder> folders_;
  Bytes pending_;  // records not yet given out
  std::size_t pending_taken_ = 0;
  std::uint64_t payload_left_ = 0;
  std::uint64_t offset_ = 0;
  bool started_ = false;
};

}  // namespace godwit::chunks
