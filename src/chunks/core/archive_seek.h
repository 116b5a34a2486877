// Finds a sub-tree of an archive by the tables of contents at its folders' ends, without reading what lies between. Everything
// found is checked to lie inside of its folder, so that a hostile table can lead astray but not out. Source: casync.md 6.4.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "chunks/core/archive_goodbye.h"

namespace godwit::chunks {

// An archive that can be read anywhere: a file, or an index with its chunks.
class ArchiveBytes {
 public:
  virtual ~ArchiveBytes() = default;
  virtual std::uint64_t size() const = 0;
  // All of `into`, which lies within size().
  virtual Result<void> read(std::uint64_t offset, MutableBytes into) = 0;
  // All of [start, end) will now be read, in its order, and nothing else. A hint: what is far away is then fetched ahead, and no
  // further.
  virtual void will_read(std::uint64_t start, std::uint64_t end) { (void)start, (void)end; }
};

struct ArchiveSubtree {
  std::uint64_t start = 0;  // of its ENTRY
  std::uint64_t end = 0;    // behind its node
  std::string path;         // without empty parts; empty for the whole archive
};

// `path` is relative to the archive's top; empty parts and "." are skipped, a leading slash too. ErrorKind::not_found when there
// is no such node; invalid for a ".." or an archive whose tables are wrong; limit when a table repeats one hash absurdly often.
Result<ArchiveSubtree> find_subtree(ArchiveBytes& archive, std::string_view path);

}  // namespace godwit::chunks
