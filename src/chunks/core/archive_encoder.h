// A tree as the byte stream of an archive, pulled piece by piece: the encoder asks a port for the next node, or for bytes of a
// file, only when its reader has room. Payload goes from the port straight into the reader's buffer. Source: casync.md 6.
#pragma once

#include <cstdint>
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

class ArchiveEncoder {
 public:
  // Borrows the tree for its own life.
  explicit ArchiveEncoder(ArchiveTree& tree) : tree_(tree) {}

  // Fills `out` from its front; fewer bytes than it holds only at the end, 0 when all is told. After an error it is spent.
  // ErrorKind::invalid for a tree that breaks ArchiveTree's promises or the format; else what the tree says.
  Result<std::size_t> read(MutableBytes out);
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
