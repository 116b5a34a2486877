// Puts the nodes of an archive into a folder. It never leaves that folder: every step goes from a descriptor it opened itself, by
// one checked name, and follows no symlink, also not one that somebody puts there meanwhile. A file that replaces another is
// written under a name of its own and renamed when it is whole. Folders are made and cleared in the archive's order, leaves by
// several threads. Source: casync.md 7.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_maker.h"
#include "chunks/driver/tree_makers.h"

namespace godwit::chunks {

class TreeExtractor {
 public:
  // `path` is made if it is not there. With `is_subtree`, the top node becomes a child of `path` called `subtree_name`, and
  // nothing else in `path` is touched; else `path` becomes the top node.
  static Result<std::unique_ptr<TreeExtractor>> open(const std::string& path, const TreeExtractorOptions& options,
                                                     std::string_view subtree_name = {});

  // In the order of ArchiveDecoder's steps, which has checked the name.
  Result<void> enter(const Node& node, std::string_view name);
  Result<void> payload(ConstBytes bytes);
  Result<void> leave();
  // After the top node was left. Not all is there before.
  Result<void> finish();
  // Instead, where the archive ends too early or is damaged: what came whole is made. The error of that, where there is one.
  Result<void> settle() { return makers_.settle(); }

  std::uint64_t node_count() const { return node_count_; }
  // What was had from seeds: files that are links to theirs, and bytes in blocks that are theirs as well.
  std::uint64_t linked_count() const { return extraction_.linked_count; }
  std::uint64_t bytes_shared() const { return extraction_.bytes_shared; }

 private:
  // A folder that was entered and not left.
  struct Level {
    std::shared_ptr<TreeFolder> folder;
    std::vector<DirectoryName> others;  // what was there, in order; empty in a new folder
    std::size_t others_next = 0;
  };
  // Where the bytes of the leaf that was entered go.
  enum class Leaf { none, skipped, handed_over, own };

  TreeExtractor(std::string top, const TreeExtractorOptions& options)
      : extraction_{std::move(top), options}, makers_(extraction_) {}

  Result<void> enter_top(const Node& node);
  Result<void> look_into_seeds(const Node& node);
  Result<void> enter_folder(const Node& node);
  Result<bool> make_folder(const TreeFolder& parent, const Node& node);
  Result<void> look_into(Level& level);
  Result<void> leave_folder();
  Result<void> enter_leaf(const Node& node);
  // Removes what was in the folder before `up_to` and is not in the archive.
  Result<void> pass_others(Level& level, std::string_view up_to);
  Error within_path(Error error) const;
  Error error(std::string_view what) const;  // from errno, about path_

  TreeExtraction extraction_;
  Descriptor top_;  // where it is waited for the disk at the end
  std::string subtree_name_;
  std::vector<Level> levels_;
  std::string path_;
  std::string name_;  // of the node entered last
  Leaf leaf_ = Leaf::none;
  std::uint64_t node_count_ = 0;
  TreeMakers makers_;  // last, so that it ends first: it works in the folders above
};

}  // namespace godwit::chunks
