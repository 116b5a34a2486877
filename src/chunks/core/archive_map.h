// Where everything in an archive lies: one small entry per node, made by passing over the archive once, files' bytes left out.
// What a file system needs at once (names, modes, sizes) is in the entry; what is rare (attributes, links' targets) is read again
// from the node's head, and a file's bytes from their place. A value without I/O, for archives of any origin: all that the
// decoder checks has been checked when a map is there. Source: casync.md 6.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_decoder.h"

namespace godwit::chunks {

struct ArchiveMapEntry {
  std::uint64_t head_offset = 0;  // of ENTRY
  std::uint64_t size = 0;         // of a regular file's bytes, which follow its head; of a link's target
  std::int64_t mtime_ns = 0;
  FeatureFlags flags = 0;         // of this node: chattr, FAT
  std::uint64_t name_offset = 0;  // in the names of all
  std::uint32_t head_size = 0;
  std::uint32_t mode = 0;  // with the rights of a mode that the archive does not keep left out: see mode_shown()
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t parent = 0;       // the top's is itself
  std::uint32_t first_child = 0;  // in the children of all
  std::uint32_t child_count = 0;
  std::uint32_t device = 0;  // major << 20 | minor
  std::uint8_t name_size = 0;
  bool has_attributes = false;       // extended ones, ACLs and capabilities included
  bool has_repaired_values = false;  // see ArchiveDecoderOptions::keep_values
};

// The number on this system of an owner: by name where it is known, else by number. `has_numbers` as in the archive's features.
using OwnerNumber = std::function<std::uint32_t(const std::string& name, std::uint64_t id, bool is_group, bool has_numbers)>;

// The mode as it is shown where the archive keeps no permissions: what everybody may is not to be written by everybody.
std::uint32_t mode_shown(const Node& node);

class ArchiveMap {
 public:
  using Number = std::uint32_t;  // 0 is the top

  std::size_t size() const { return entries_.size(); }
  const ArchiveMapEntry& operator[](Number number) const { return entries_[number]; }
  std::string_view name(Number number) const;  // empty for the top
  // From the top, with slashes between; empty for the top.
  std::string path(Number number) const;
  // `place` is less than the folder's child_count; in the order of names.
  Number child(Number folder, std::uint32_t place) const;
  std::optional<Number> find(Number folder, std::string_view name) const;
  FeatureFlags features() const { return features_; }
  // Which of the features with a bit in nodes' flags, and quota projects, some node has.
  FeatureFlags used_flags() const { return used_flags_; }
  std::uint64_t file_bytes() const { return file_bytes_; }
  // What it takes in memory, about.
  std::size_t memory_bytes() const;

 private:
  friend class ArchiveMapper;
  std::vector<ArchiveMapEntry> entries_;
  std::vector<Number> children_;  // of each folder side by side
  std::string names_;
  FeatureFlags features_ = 0;
  FeatureFlags used_flags_ = 0;
  std::uint64_t file_bytes_ = 0;
};

// An archive may name the same few chunks over and over and so tell of more nodes than it has bytes in a store: this many, which
// take about a gigabyte, are the most that are taken unless more are allowed.
inline constexpr std::size_t kArchiveMapEntriesMax = 10'000'000;

class ArchiveMapper {
 public:
  // `part`: which node of the archive is the top, if not the whole's.
  explicit ArchiveMapper(OwnerNumber owner, std::size_t entries_max = kArchiveMapEntriesMax, ArchiveDecoderOptions part = {});

  // The archive's bytes at position(), as many as there are at hand; afterwards position() is where to go on, which may be behind
  // what was given: files' bytes are not looked at. ErrorKind::limit for too many nodes, and what the decoder says.
  Result<void> feed(ConstBytes bytes);
  std::uint64_t position() const { return decoder_.offset(); }
  bool is_done() const { return is_done_; }
  // When it is done, or what is mapped has ended at `end`: whether it was whole and nothing follows.
  Result<ArchiveMap> finish(std::uint64_t end);

 private:
  Result<void> enter();
  void leave();

  OwnerNumber owner_;
  std::size_t entries_max_;
  ArchiveDecoder decoder_;
  ArchiveMap map_;
  std::uint64_t repaired_so_far_ = 0;
  struct Open {
    ArchiveMap::Number number = 0;
    std::vector<ArchiveMap::Number> children;
  };
  std::vector<Open> open_;  // folders
  bool is_leaf_ = false;    // what was entered last is no folder
  bool is_done_ = false;
};

// The node whose head this is, with everything that it has. `head` are head_size bytes from head_offset on, of a folder 16 more.
Result<Node> decode_mapped_node(const ArchiveMapEntry& entry, ConstBytes head);
// How many bytes decode_mapped_node() wants.
std::uint64_t mapped_head_bytes(const ArchiveMapEntry& entry);

}  // namespace godwit::chunks
