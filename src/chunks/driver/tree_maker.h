// Makes single nodes of an archive in folders that are open, with their attributes: each call is one node from its creation to
// its last attribute. A file that replaces another is written under a name of its own and renamed when it is whole. Several
// makers may work for one extraction, each on a thread of its own. Source: casync.md 7.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/driver/seed_files.h"
#include "chunks/driver/seed_twins.h"
#include "chunks/driver/tree_apply.h"
#include "chunks/driver/tree_attributes.h"
#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_file.h"

namespace godwit::chunks {

struct TreeExtractorOptions {
  TreeMask mask;
  bool remove_others = true;  // --delete: what the archive does not have
  bool undo_immutable = false;
  bool punch_holes = true;
  unsigned threads = 1;  // that make nodes; what is made is the same for any number
  // Folders whose files may be like those that are made,
  std::vector<std::string> seeds;
  bool reflink = true;    // which share their blocks then, where the file system can,
  bool hardlink = false;  // or are links to them, where they have the same attributes as well.
  bool sync = false;      // what was made is durable at the end
};

// What the makers of one extraction have in common.
struct TreeExtraction {
  std::string top;
  TreeExtractorOptions options;
  std::uint64_t run = 0;  // random: tells our temporary names from others'
  std::atomic<std::uint64_t> temporary_count = 0;
  std::unique_ptr<const SeedFiles> seeds = nullptr;  // null: none
  std::atomic<bool> cannot_share = false;            // blocks, on this file system
  std::atomic<std::uint64_t> linked_count = 0;
  std::atomic<std::uint64_t> bytes_shared = 0;
};

// A folder from when it is entered until everything in it is made; then it gets its own attributes, its time above all.
struct TreeFolder {
  Descriptor descriptor;
  Node node;
  std::string path;  // within the archive; empty: the top
  std::shared_ptr<TreeFolder> parent;
  bool is_new = false;    // made by us: no names but ours are in it
  bool has_node = false;  // attributes are to be set
  Inherited own;          // may be on itself
  Inherited given;        // may be on what is made in it
  // What is still to be made in it, folders included, and one until it is left.
  std::atomic<std::size_t> open = 1;
};

class TreeMaker {
 public:
  explicit TreeMaker(TreeExtraction& extraction)
      : extraction_(extraction), attributes_(extraction.options.mask), euid_(::geteuid()) {}
  // Takes a file that was begun and not ended away again: half a file is no file.
  ~TreeMaker();

  // A regular file of which all bytes are here.
  Result<void> make_file(const TreeFolder& folder, const Node& node, std::string_view name, ConstBytes bytes);
  // Another one in three steps; `folder` outlives them. After an error nothing is left of it.
  Result<void> begin_file(const TreeFolder& folder, const Node& node, std::string_view name);
  Result<void> write(ConstBytes bytes);
  Result<void> end_file();
  // Any other node but a folder.
  Result<void> make_special(const TreeFolder& folder, const Node& node, std::string_view name);
  // The attributes of a folder in which all is made.
  Result<void> finish_folder(const TreeFolder& folder);

  // Whether the mask leaves this kind of node out.
  bool is_skipped(const Node& node) const;
  bool is_allowed(FeatureFlags flags) const { return attributes_.is_allowed(flags); }

 private:
  bool may_link(const Node& node) const;
  AttributeReader& reader(const Node& node);
  Result<bool> make_link(const TreeFolder& folder, const Node& node, std::string_view name, ConstBytes bytes);
  Result<bool> end_as_link();
  Result<bool> link_into_place(const TreeFolder& folder, int twin);
  void share_blocks(ConstBytes beginning);
  Result<void> write_through(ConstBytes bytes);
  Result<void> end_open_file();
  Error abandon_file(Error error);
  Result<void> apply_special(const TreeFolder& folder, const Node& node, const std::string& made_name);
  Result<void> rename_into_place(const TreeFolder& folder, const std::string& made_name);
  // In a folder that had nothing, a node gets its name at once.
  std::string name_to_make(const TreeFolder& folder);
  std::string temporary_name();
  Error error(std::string_view what) const;  // from errno
  Error within_path(const TreeFolder& folder, std::string_view name, Error error) const;

  TreeExtraction& extraction_;
  AttributeWriter attributes_;
  const uid_t euid_;
  // Of the file that is being made.
  const TreeFolder* folder_ = nullptr;
  std::unique_ptr<TreeFile> file_;
  Node node_;
  std::string name_;
  std::string made_name_;
  // While it is not known whether a seed has a file like it.
  bool is_beginning_ = false;
  Bytes beginning_;
  SeedTwins twins_;
  std::optional<AttributeReader> reader_;
};

// "'TOP/PATH'": where in the tree an error was met.
Error within_tree_path(const TreeExtraction& extraction, std::string_view path, Error error);
// From errno; says what helps where chattr's flags are in the way.
Error tree_error(const TreeExtraction& extraction, std::string_view what);

}  // namespace godwit::chunks
