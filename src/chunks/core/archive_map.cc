#include "chunks/core/archive_map.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace godwit::chunks {

static_assert(kFileNameSizeMax <= std::numeric_limits<std::uint8_t>::max());
static_assert(kDeviceMajorEnd * kDeviceMinorEnd <= std::uint64_t{1} << 32);

std::uint32_t mode_shown(const Node& node) {
  if ((node.features & (feature::kPermissions | feature::kAcl)) != 0 || node.is_symlink()) return node.mode;
  return node.mode & ~std::uint32_t{022};
}

std::string_view ArchiveMap::name(Number number) const {
  const ArchiveMapEntry& entry = entries_[number];
  return std::string_view(names_).substr(entry.name_offset, entry.name_size);
}

std::string ArchiveMap::path(Number number) const {
  std::vector<std::string_view> names;
  for (; number != 0; number = entries_[number].parent) names.push_back(name(number));
  std::string path;
  for (; !names.empty(); names.pop_back()) path.append(path.empty() ? "" : "/").append(names.back());
  return path;
}

ArchiveMap::Number ArchiveMap::child(Number folder, std::uint32_t place) const {
  GODWIT_CHECK(place < entries_[folder].child_count);
  return children_[entries_[folder].first_child + place];
}

std::optional<ArchiveMap::Number> ArchiveMap::find(Number folder, std::string_view wanted) const {
  const auto begin = children_.begin() + entries_[folder].first_child;
  const auto end = begin + entries_[folder].child_count;
  const auto found = std::lower_bound(begin, end, wanted, [this](Number n, std::string_view w) { return name(n) < w; });
  if (found == end || name(*found) != wanted) return std::nullopt;
  return *found;
}

std::size_t ArchiveMap::memory_bytes() const {
  return entries_.capacity() * sizeof(ArchiveMapEntry) + children_.capacity() * sizeof(Number) + names_.capacity();
}

ArchiveMapper::ArchiveMapper(OwnerNumber owner, std::size_t entries_max, ArchiveDecoderOptions part)
    : owner_(std::move(owner)),
      entries_max_(std::min<std::size_t>(entries_max, std::numeric_limits<std::uint32_t>::max())),
      decoder_(part) {}

Result<void> ArchiveMapper::feed(ConstBytes bytes) {
  while (!is_done_) {
    const Result<ArchiveDecoder::Step> step = decoder_.next(bytes);
    if (!step) return fail(step.error());
    switch (*step) {
      case ArchiveDecoder::Step::need_input: return {};
      case ArchiveDecoder::Step::enter:
        if (Result<void> entered = enter(); !entered) return entered;
        break;
      case ArchiveDecoder::Step::payload:
        if (decoder_.payload_left() == 0) break;
        decoder_.skip_payload();
        return {};
      case ArchiveDecoder::Step::leave: leave(); break;
      case ArchiveDecoder::Step::end: is_done_ = true; break;
    }
  }
  return {};
}

Result<void> ArchiveMapper::enter() {
  const Node& node = decoder_.node();
  if (map_.entries_.size() >= entries_max_)
    return fail(ErrorKind::limit,
                fmt::format("archive, offset {}: it has more than {} nodes", decoder_.node_offset(), entries_max_));
  const auto number = static_cast<ArchiveMap::Number>(map_.entries_.size());
  const bool has_numbers = (node.features & feature::kUidBits) != 0;
  ArchiveMapEntry entry;
  entry.head_offset = decoder_.node_offset();
  entry.head_size = static_cast<std::uint32_t>(decoder_.node_head().size());
  entry.size = node.is_symlink() ? node.symlink_target.size() : node.payload_size;
  entry.mtime_ns = node.mtime_ns;
  entry.flags = node.flags;
  entry.mode = mode_shown(node);
  entry.uid = owner_(node.user_name, node.uid, false, has_numbers);
  entry.gid = owner_(node.group_name, node.gid, true, has_numbers);
  entry.parent = open_.empty() ? 0 : open_.back().number;
  entry.device = static_cast<std::uint32_t>(node.device_major * kDeviceMinorEnd + node.device_minor);
  entry.name_offset = map_.names_.size();
  entry.name_size = static_cast<std::uint8_t>(decoder_.name().size());
  entry.has_attributes =
      !node.xattrs.empty() || !node.acl.empty() || node.default_acl || !node.selinux.empty() || node.fcaps.has_value();
  entry.has_repaired_values = decoder_.repaired_value_count() != std::exchange(repaired_so_far_, decoder_.repaired_value_count());
  map_.names_ += decoder_.name();
  map_.file_bytes_ += node.payload_size;
  map_.features_ = node.features;
  map_.used_flags_ |= node.flags | (node.quota_project_id != 0 ? feature::kQuotaProjectId : 0);
  map_.entries_.push_back(entry);
  if (!open_.empty()) open_.back().children.push_back(number);
  is_leaf_ = !node.is_directory();
  if (!is_leaf_) open_.push_back({number, {}});
  return {};
}

void ArchiveMapper::leave() {
  if (std::exchange(is_leaf_, false)) return;
  const Open& folder = open_.back();
  ArchiveMapEntry& entry = map_.entries_[folder.number];
  entry.first_child = static_cast<std::uint32_t>(map_.children_.size());
  entry.child_count = static_cast<std::uint32_t>(folder.children.size());
  map_.children_.insert(map_.children_.end(), folder.children.begin(), folder.children.end());
  open_.pop_back();
}

Result<ArchiveMap> ArchiveMapper::finish(std::uint64_t end) {
  // A file that is the top ends behind bytes that nobody looked at.
  if (Result<void> fed = feed({}); !fed) return fail(std::move(fed).error());
  if (!is_done_) return fail(decoder_.finish({}).error());
  if (position() != end)
    return fail(ErrorKind::invalid,
                fmt::format("archive, offset {}: it is complete, but {} bytes follow it", position(), end - position()));
  return std::move(map_);
}

std::uint64_t mapped_head_bytes(const ArchiveMapEntry& entry) {
  // A folder's head ends where another record begins.
  return entry.head_size + (S_ISDIR(entry.mode) ? kRecordHeadSize : 0);
}

Result<Node> decode_mapped_node(const ArchiveMapEntry& entry, ConstBytes head) {
  ArchiveDecoder decoder({.start_offset = entry.head_offset,
                          .end_offset = entry.head_offset + entry.head_size,
                          .keep_values = !entry.has_repaired_values});
  const Result<ArchiveDecoder::Step> step = decoder.next(head);
  if (!step) return fail(step.error());
  if (*step != ArchiveDecoder::Step::enter)
    return fail(ErrorKind::invalid, fmt::format("archive, offset {}: it is not what it was before", entry.head_offset));
  return decoder.node();
}

}  // namespace godwit::chunks
