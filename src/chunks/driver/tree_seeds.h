// Folders whose files may be what an archive is about to make again: a file of the same bytes shares its blocks (a reflink), one
// that is the same in everything may become a second name of it (a hard link). A file is digested only when one of its size
// comes, and shared as the descriptor that was digested, so that nobody can put another in its place. Source: casync.md 7.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/core/chunk_id.h"
#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_owners.h"

namespace godwit::chunks {

class TreeSeeds {
 public:
  TreeSeeds(std::vector<std::string> folders, UidShift shift) : folders_(std::move(folders)), shift_(shift) {}

  // Lists the folders; `features` are the archive's. A folder that is not there is an error.
  Result<void> load(FeatureFlags features);
  bool has_size(std::uint64_t size) const { return size > 0 && files_.contains(size); }

  // A file with these bytes.
  std::optional<Descriptor> find(std::uint64_t size, const ChunkId& payload);
  // Whether the file is the node in all that the archive would say of it.
  bool is_same_node(int descriptor, const Node& node);

 private:
  struct File {
    std::string path;
    std::optional<ChunkId> payload;  // once it was asked for
    std::int64_t changed_ns = 0;     // when that was true
  };
  std::optional<Descriptor> open_if_same(File& file, std::uint64_t size, const ChunkId& payload);

  std::vector<std::string> folders_;
  UidShift shift_;
  FeatureFlags features_ = 0;
  std::unordered_map<std::uint64_t, std::vector<File>> files_;  // by size
};

}  // namespace godwit::chunks
