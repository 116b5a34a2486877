// An archive as a tree of files that is read where it lies: a .catar in a file, or an index with its chunks, seen as a block
// device. Opening it passes over the archive once, without the files' bytes; afterwards names and modes lie in memory, about 100
// bytes and the name for each node, and everything else is read when it is asked for.
#pragma once

#include <memory>
#include <optional>

#include "chunks/core/archive_map.h"
#include "chunks/core/archive_seek.h"
#include "chunks/driver/tree_owners.h"
#include "export/file_tree.h"
#include "store/block_device.h"

namespace godwit::chunks {

class ArchiveFiles final : public exports::FileTree {
 public:
  struct Options {
    UidShift shift;
    std::size_t entries_max = kArchiveMapEntriesMax;
    std::optional<ArchiveSubtree> subtree = std::nullopt;  // only this, which is then the top; as find_subtree() gives it
  };
  // `archive` and `scheduler` outlive what it gives. `done` is not called when the files are not wanted any more and the loop has
  // ended before. Errors: the device's, and what is wrong with the archive, with the offset.
  static void open(store::BlockDevice& archive, net::Scheduler& scheduler, const Options& options,
                   net::Done<std::unique_ptr<ArchiveFiles>> done);

  const ArchiveMap& map() const { return map_; }

  std::optional<exports::FileStatus> status(exports::FileId file) const override;
  exports::FileId parent(exports::FileId file) const override;
  std::optional<exports::FileId> find(exports::FileId folder, std::string_view name) const override;
  std::optional<exports::FileChild> child(exports::FileId folder, std::uint64_t place) const override;
  void read(exports::FileId file, std::uint64_t offset, MutableBytes into, net::Done<void> done) override;
  void read_link(exports::FileId file, net::Done<std::string> done) override;
  void attributes(exports::FileId file, net::Done<std::vector<exports::FileAttribute>> done) override;
  std::optional<std::uint32_t> flags(exports::FileId file) const override;
  std::optional<std::uint32_t> fat_attributes(exports::FileId file) const override;
  std::string path(exports::FileId file) const override;
  std::uint64_t file_count() const override { return map_.size(); }
  std::uint64_t byte_count() const override { return map_.file_bytes(); }

 private:
  struct Owners;
  class Walk;
  ArchiveFiles(store::BlockDevice& archive, net::Scheduler& scheduler, std::shared_ptr<Owners> owners, ArchiveMap map);
  void with_node(exports::FileId file, std::move_only_function<void(Result<Node>)> use);

  store::BlockDevice& archive_;
  net::Scheduler& scheduler_;
  std::shared_ptr<Owners> owners_;
  ArchiveMap map_;
};

}  // namespace godwit::chunks
