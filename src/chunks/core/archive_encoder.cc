#include "chunks/core/archive_encoder.h"

#include <algorithm>
#include <utility>

namespace godwit::chunks {

Result<std::size_t> ArchiveEncoder::read(MutableBytes out) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    const MutableBytes room = out.subspan(filled);
    std::size_t count = 0;
    if (pending_taken_ < pending_.size()) {
      count = std::min(room.size(), pending_.size() - pending_taken_);
      std::copy_n(pending_.begin() + static_cast<std::ptrdiff_t>(pending_taken_), count, room.begin());
      pending_taken_ += count;
    } else if (payload_left_ > 0) {
      count = static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), payload_left_));
      if (Result<void> read = tree_.read_payload(room.first(count)); !read) return fail(std::move(read).error());
      payload_left_ -= count;
    } else if (is_done()) {
      break;
    } else {
      pending_.clear();
      pending_taken_ = 0;
      if (Result<void> stepped = step(); !stepped) return fail(std::move(stepped).error());
    }
    filled += count;
    offset_ += count;
  }
  return filled;
}

Result<std::optional<ArchiveEncoder::Part>> ArchiveEncoder::next_part() {
  if (is_done()) return std::nullopt;
  pending_.clear();
  pending_taken_ = 0;
  if (Result<void> stepped = step(); !stepped) return fail(std::move(stepped).error());
  const Part part{.records = pending_, .payload_size = std::exchange(payload_left_, 0)};
  pending_taken_ = pending_.size();
  offset_ += part.records.size() + part.payload_size;
  return part;
}

// A file's item in its folder can be written as soon as its head is known: where its bytes will end is known then.
Result<void> ArchiveEncoder::step() {
  const Result<ArchiveTree::Step> next = tree_.next();
  if (!next) return fail(next.error());
  if (*next == ArchiveTree::Step::enter) return enter();
  return leave();
}

Result<void> ArchiveEncoder::enter() {
  const Node& node = tree_.node();
  Folder entered;
  entered.name_offset = written();
  const std::string_view name = tree_.name();
  if (started_) {
    Folder& parent = folders_.back();
    if (Result<void> checked = check_file_name(name); !checked) return checked;
    if (!parent.children.empty() && name <= parent.last_name)
      return fail(ErrorKind::invalid, "'" + escaped(name) + "' comes behind '" + escaped(parent.last_name) + "', out of order");
    parent.last_name = name;
    entered.name_hash = hash_of_file_name(name);
    append_file_name(pending_, name);
  } else if (!node.is_directory()) {
    return fail(ErrorKind::invalid, "the top of an archive is a folder");
  }
  started_ = true;
  entered.entry_offset = written();
  if (Result<void> checked = check_node(node); !checked) return fail(std::move(checked).error().within(escaped(name)));
  append_node_head(pending_, node);
  if (node.is_directory()) {
    if (folders_.size() >= kArchiveDepthMax)
      return fail(ErrorKind::limit, "'" + escaped(name) + "' lies deeper than 2000 folders");
    folders_.push_back(std::move(entered));
    return {};
  }
  payload_left_ = node.is_regular() ? node.payload_size : 0;
  folders_.back().children.push_back({entered.name_offset, written() + payload_left_, entered.name_hash});
  return {};
}

Result<void> ArchiveEncoder::leave() {
  if (folders_.empty()) return fail(ErrorKind::invalid, "a folder ends that was not entered");
  Folder left = std::move(folders_.back());
  folders_.pop_back();
  append_goodbye(pending_, left.children, left.entry_offset, written());
  if (!folders_.empty()) folders_.back().children.push_back({left.name_offset, written(), left.name_hash});
  return {};
}

}  // namespace godwit::chunks
