// A folder of this system as the tree that ArchiveEncoder reads: names in their order, attributes, the bytes of files. Every
// step goes from a folder's own descriptor to a single name and follows no symlink, so that a tree that is changed meanwhile
// gives an error or other contents, never files from elsewhere. Holes are not read. Sources: casync.md 6.3, 7.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "chunks/core/archive_encoder.h"
#include "chunks/core/archive_exclude.h"
#include "chunks/driver/tree_attributes.h"
#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_payload.h"

namespace godwit::chunks {

struct TreeWalkerOptions {
  FeatureFlags features = kDefaultArchiveFlags;  // normalized
  UidShift shift;
  // Files get a state (FileState) where their file system tells every change of them, and the last one came before this time, in
  // nanoseconds since 1970. What has changed later might change again without another time. Nothing: no file gets one.
  std::optional<std::int64_t> settled_before_ns = std::nullopt;
  // Each file gets one, wherever it lies and whenever it changed: for those who verify what they take for known by it.
  bool every_state = false;
};

class TreeWalker final : public LazyArchiveTree {
 public:
  // A symlink as `path` itself is followed, as for every command that is given one.
  static Result<std::unique_ptr<TreeWalker>> open(const std::string& path, const TreeWalkerOptions& options);

  Result<Step> next() override;
  const Node& node() const override { return node_; }
  std::string_view name() const override { return name_; }
  Result<void> read_payload(MutableBytes into) override;
  std::unique_ptr<ArchivePayload> take_payload() override { return std::move(file_); }

  // Relative to the top, of the node entered last.
  const std::string& path() const { return path_; }
  std::uint64_t node_count() const { return node_count_; }

 private:
  struct Folder {
    Descriptor descriptor;
    std::vector<DirectoryName> names;
    std::size_t next = 0;
    std::size_t path_size = 0;  // of its own path in path_
    dev_t device = 0;
    std::uint64_t mount = 0;
    FileSystemTraits traits;
    ExcludeRules rules;
    bool has_rules = false;
  };
  // A child as found, before it is known whether the archive takes it.
  struct Found {
    Descriptor descriptor;
    struct stat status{};
    std::uint32_t chattr = 0;
    FileSystemTraits traits;
    std::uint64_t mount = 0;
  };

  TreeWalker(std::string top, const TreeWalkerOptions& options)
      : top_(std::move(top)), options_(options), reader_(options.features, options.shift) {}

  bool wants(FeatureFlags flag) const { return (options_.features & flag) != 0; }
  bool wants_type(std::uint32_t mode) const;
  // Opens the child and looks at it; nothing when it is not to be in the archive.
  Result<bool> find(const Folder& folder, const DirectoryName& name, Found& found);
  Result<void> open_child(const Folder& folder, const DirectoryName& name, Found& found);
  bool is_excluded(bool is_folder) const;
  Result<bool> enter_child(const DirectoryName& name);
  Result<void> enter_folder(Found found);
  void prepare_file(Found found);
  std::optional<FileState> state_of(const Found& found) const;
  Result<void> read_rules(Folder& folder);
  Result<void> read_link(int descriptor, const char* name);
  Result<FileSystemTraits> traits_of(dev_t device, int descriptor);
  Error error(std::string_view what) const;  // from errno, about path_

  std::string top_;
  TreeWalkerOptions options_;
  AttributeReader reader_;
  std::unordered_map<dev_t, FileSystemTraits> traits_;
  std::vector<Folder> folders_;
  Node node_;
  std::string name_;
  std::string path_;
  std::unique_ptr<TreePayload> file_;
  std::uint64_t file_offset_ = 0;
  bool started_ = false;
  std::uint64_t node_count_ = 0;
};

}  // namespace godwit::chunks
