// What of TreeMaker has to do with files of seeds: links to them, and blocks shared with them.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "chunks/driver/tree_maker.h"

namespace godwit::chunks {

// Smaller files are written sooner than shared, and take hardly more room.
static constexpr std::uint64_t kSharedBytesMin = 4096;

// A link has all attributes of its file: one that the mask leaves out could not be left out, and no owner can be shifted.
bool TreeMaker::may_link(const Node& node) const {
  const TreeExtractorOptions& options = extraction_.options;
  const bool is_shifted = options.mask.shift.shift != 0 || options.mask.shift.range != 0;
  return extraction_.seeds && options.hardlink && !is_shifted && (node.features & feature::kWithAll & ~options.mask.allowed) == 0;
}

AttributeReader& TreeMaker::reader(const Node& node) {
  if (!reader_) reader_.emplace(node.features, UidShift());  // all nodes of an archive have the same
  return *reader_;
}

// False where there is nothing to link to.
Result<bool> TreeMaker::make_link(const TreeFolder& folder, const Node& node, std::string_view name, ConstBytes bytes) {
  if (!may_link(node)) return false;
  SeedTwins twins(extraction_.seeds->twins_of(node, bytes));
  twins.compare(bytes);
  const int twin = twins.find(node, reader(node));
  if (twin < 0) return false;
  name_ = name;
  Result<bool> linked = link_into_place(folder, twin);
  if (!linked) return fail(within_path(folder, name, std::move(linked).error()));
  return linked;
}

// Of a file that was written meanwhile, as its bytes came: it goes when a link takes its place.
Result<bool> TreeMaker::end_as_link() {
  if (twins_.empty()) return false;
  const int twin = twins_.find(node_, reader(node_));
  if (twin < 0) return false;
  const Result<bool> linked = link_into_place(*folder_, twin);
  if (!linked || !*linked) return linked;
  if (made_name_ != name_) ::unlinkat(folder_->descriptor.get(), made_name_.c_str(), 0);
  file_.reset();
  return true;
}

// By its descriptor: what was compared is what is linked. False where it cannot be: on another file system, with too many links
// already, or because we may not. Then the file is copied.
Result<bool> TreeMaker::link_into_place(const TreeFolder& folder, int twin) {
  const int number = folder.descriptor.get();
  const std::string made_name = file_ ? temporary_name() : name_to_make(folder);
  if (::linkat(AT_FDCWD, path_of_descriptor(twin).c_str(), number, made_name.c_str(), AT_SYMLINK_FOLLOW) != 0) return false;
  if (made_name != name_) {
    Result<void> renamed = rename_into_place(folder, made_name);
    // Renamed over another link to the same file, it is still there.
    ::unlinkat(number, made_name.c_str(), 0);
    if (!renamed) return fail(std::move(renamed).error());
  }
  ++extraction_.linked_count;
  return true;
}

void TreeMaker::share_blocks(ConstBytes beginning) {
  if (!extraction_.options.reflink || extraction_.cannot_share || node_.payload_size < kSharedBytesMin) return;
  const std::string path = folder_->path.empty() ? name_ : folder_->path + "/" + name_;
  const Descriptor source = extraction_.seeds->alike(node_, beginning, path);
  if (source.is_open() && file_->share(source.get(), node_.payload_size) == TreeFile::Sharing::never)
    extraction_.cannot_share = true;
}

}  // namespace godwit::chunks
