// Puts the nodes of an archive into a folder. It never leaves that folder: every step goes from a descriptor it opened itself, by
// one checked name, and follows no symlink, also not one that somebody puts there meanwhile. A file that replaces another is
// written under a name of its own and renamed when it is whole. Source: casync.md 7.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/driver/tree_apply.h"
#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_file.h"

namespace godwit::chunks {

struct TreeExtractorOptions {
  TreeMask mask;
  bool remove_others = true;  // --delete: what the archive does not have
  bool undo_immutable = false;
  bool punch_holes = true;
};

class TreeExtractor {
 public:
  // `path` is made if it is not there. With `is_subtree`, the top node becomes a child of `path` called `subtree_name`, and
  // nothing else in `path` is touched; else `path` becomes the top node.
  static Result<std::unique_ptr<TreeExtractor>> open(const std::string& path, const TreeExtractorOptions& options,
                                                     std::string_view subtree_name = {});
  ~TreeExtractor();

  // In the order of ArchiveDecoder's steps, which has checked the name.
  Result<void> enter(const Node& node, std::string_view name);
  Result<void> payload(ConstBytes bytes);
  Result<void> leave();
  // After the top node was left.
  Result<void> finish();

  std::uint64_t node_count() const { return node_count_; }

 private:
  struct Folder {
    Descriptor descriptor;
    Node node;
    std::vector<DirectoryName> others;  // what was there, in order; empty in a new folder
    std::size_t others_next = 0;
    std::size_t path_size = 0;  // of its own path in path_
    bool is_new = false;        // made by us: no names but ours are in it
    bool has_node = false;      // attributes are to be set when it is left
    Inherited own;              // may be on itself
    Inherited given;            // may be on what is made in it
  };
  // The leaf that is being made: where, and under which name until it is whole.
  struct Leaf {
    bool is_open = false;
    std::unique_ptr<TreeFile> file;  // null for other nodes and for skipped ones
    Node node;
    std::string made_name;
  };

  TreeExtractor(std::string top, const TreeExtractorOptions& options)
      : top_(std::move(top)), options_(options), attributes_(options.mask) {}

  Result<void> enter_top(const Node& node);
  Result<void> enter_folder(const Node& node);
  Result<bool> make_folder(const Folder& parent, const Node& node);
  Result<void> look_into(Folder& folder);
  Result<void> leave_folder();
  Result<void> begin_file(const Node& node);
  Result<void> leave_file();
  Result<void> make_special(const Node& node);
  Result<void> apply_special(const Folder& folder, const Node& node, const std::string& made_name);
  // Removes what was in the folder before `up_to` and is not in the archive.
  Result<void> pass_others(Folder& folder, std::string_view up_to);
  Result<void> rename_into_place(const Folder& folder, const std::string& made_name);
  bool is_skipped(const Node& node) const;
  // In a folder that had nothing, a node gets its name at once.
  std::string name_to_make(const Folder& folder);
  Error within_path(Error error) const;
  Error error(std::string_view what) const;  // from errno, about path_

  std::string top_;
  TreeExtractorOptions options_;
  AttributeWriter attributes_;
  std::string subtree_name_;
  std::vector<Folder> folders_;
  std::string path_;
  std::string name_;  // of the node entered last
  Leaf leaf_;
  std::uint64_t run_ = 0;  // random: tells our temporary names from others'
  std::uint64_t temporary_count_ = 0;
  std::uint64_t node_count_ = 0;
};

}  // namespace godwit::chunks
