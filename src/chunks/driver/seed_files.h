// The regular files of seed folders, by their size, their first bytes and their attributes: where to look for one that may be
// what an extraction is about to make. It is only a hint: a seed may change at any time, so whoever is given one of its files
// compares all of it before it counts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_node.h"
#include "chunks/driver/tree_attributes.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

class SeedFiles {
 public:
  // What two files must have in common before more of them is looked at.
  static constexpr std::uint64_t kBeginningBytes = 4096;
  // Files with the same size, attributes and beginning that are tried for one: where a tree has more, some links are not found.
  static constexpr std::size_t kTwinsMax = 16;

  // `features` are the archive's. Attributes are read only `with_twins`.
  SeedFiles(FeatureFlags features, bool with_twins);

  // Blocking: walks through the folder and reads the beginning of every file.
  Result<void> add_folder(const std::string& path);

  // `beginning` holds the first kBeginningBytes of a file, or all of it. Any thread; what is given is open for reading.
  // Files that may be the same, attributes included, in the order in which they were found.
  std::vector<Descriptor> twins_of(const Node& node, ConstBytes beginning) const;
  // One that may have the same bytes; else, for a larger file, the one at the same `path`, which may have some of them. None: not
  // open.
  Descriptor alike(const Node& node, ConstBytes beginning, std::string_view path) const;

 private:
  struct File {
    std::size_t folder = 0;
    std::string path;
  };
  struct Entry {
    std::uint64_t key = 0;
    std::size_t file = 0;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };

  static std::uint64_t content_key(const Node& node, ConstBytes beginning);
  static std::uint64_t twin_key(const Node& node, ConstBytes beginning);
  Descriptor open(std::size_t folder, const std::string& path) const;

  FeatureFlags features_;
  bool with_twins_;
  std::vector<Descriptor> folders_;
  std::vector<File> files_;
  std::vector<Entry> by_content_;  // sorted, so that what is found does not depend on a table's order
  std::vector<Entry> by_twin_;
};

// The file as the archive would have it: nothing where it is no regular file or cannot be looked at.
std::optional<Node> read_file_node(int descriptor, AttributeReader& reader);

}  // namespace godwit::chunks
