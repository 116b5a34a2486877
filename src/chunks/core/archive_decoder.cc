#include "chunks/core/archive_decoder.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/cursor.h"
#include "chunks/core/archive_attribute.h"

namespace godwit::chunks {

ArchiveDecoder::ArchiveDecoder(ArchiveDecoderOptions options)
    : options_(options), offset_(options.start_offset), values_end_in_zero_(!options.keep_values) {}

Result<ArchiveDecoder::Step> ArchiveDecoder::next(ConstBytes& input) {
  if (failed_) return fail(*failed_);
  Result<Step> step = advance(input);
  if (!step) failed_ = step.error();
  return step;
}

Result<void> ArchiveDecoder::finish(ConstBytes rest) const {
  if (failed_) return fail(*failed_);
  if (state_ != State::end)
    return fail(error_here(ErrorKind::truncated, fmt::format("the archive ends here, inside of '{}'", path())));
  if (!rest.empty()) return fail(error_here(ErrorKind::invalid, "the archive is complete, but bytes follow it"));
  return {};
}

Result<ArchiveDecoder::Step> ArchiveDecoder::advance(ConstBytes& input) {
  switch (state_) {
    case State::payload: return take_payload(input);
    case State::goodbye: return take_goodbye(input);
    case State::leave: return leave_node();
    case State::end: return Step::end;
    default: return take_record(input);
  }
}

bool ArchiveDecoder::gather(ConstBytes& input, Bytes& into, std::size_t size) {
  const std::size_t count = std::min(input.size(), size - into.size());
  append(into, input.first(count));
  input = input.subspan(count);
  offset_ += count;
  return into.size() == size;
}

Result<ArchiveDecoder::Step> ArchiveDecoder::take_record(ConstBytes& input) {
  for (;;) {
    if (state_ == State::attributes && ends_node_head()) return enter_node();
    if (!is_admitted_) {
      if (!gather(input, record_head_, kRecordHeadSize)) return Step::need_input;
      Cursor cursor(record_head_);
      size_ = cursor.u64_le();
      type_ = static_cast<RecordType>(cursor.u64_le());
      if (state_ == State::attributes && ends_node_head()) return enter_node();
      if (Result<void> admitted = admit(); !admitted) return fail(std::move(admitted).error());
      is_admitted_ = true;
    }
    if (type_ == RecordType::payload) {
      append(node_head_, record_head_);
      end_record();
      node_.payload_size = payload_left_ = size_ - kRecordHeadSize;
      return enter_node();
    }
    if (type_ == RecordType::goodbye) {
      if (Result<void> begun = begin_goodbye(); !begun) return fail(std::move(begun).error());
      return take_goodbye(input);
    }
    if (!gather(input, body_, static_cast<std::size_t>(size_ - kRecordHeadSize))) return Step::need_input;
    Result<void> taken;
    if (type_ == RecordType::entry)
      taken = take_entry(body_);
    else if (type_ == RecordType::filename)
      taken = take_file_name(body_);
    else
      taken = decode_attribute(type_, body_, node_);
    if (!taken) return fail(error_here(taken.error().kind(), taken.error().message()));
    if (type_ != RecordType::filename) {
      append(node_head_, record_head_);
      append(node_head_, body_);
    }
    attribute_rank_ = rank_of_attribute(type_);
    end_record();
    if (type_ == RecordType::symlink || type_ == RecordType::device) return enter_node();
  }
}

void ArchiveDecoder::end_record() {
  record_head_.clear();
  body_.clear();
  is_admitted_ = false;
}

// Folders, fifos and sockets have no content record: their head ends where a record begins that is none of it, or where a single
// fifo does.
bool ArchiveDecoder::ends_node_head() const {
  if (node_.is_regular() || node_.is_symlink() || node_.is_device()) return false;
  if (record_head_.empty()) return !node_.is_directory() && options_.end_offset == offset_;
  return record_head_.size() == kRecordHeadSize && (type_ == RecordType::filename || type_ == RecordType::goodbye);
}

Result<void> ArchiveDecoder::admit() const {
  const auto misplaced = [&](std::string_view expected) {
    const std::string found = name_of(type_) == "unknown record"
                                  ? fmt::format("an unknown record {:#018x}", static_cast<std::uint64_t>(type_))
                                  : fmt::format("a {}", name_of(type_));
    return fail(error_here(ErrorKind::invalid, fmt::format("{} instead of {}, in '{}'", found, expected, path())));
  };
  const unsigned rank = rank_of_attribute(type_);
  switch (state_) {
    case State::node:
      if (type_ != RecordType::entry) return misplaced("an ENTRY");
      break;
    case State::child:
      if (type_ != RecordType::filename && type_ != RecordType::goodbye) return misplaced("a FILENAME or GOODBYE");
      break;
    default: {
      const bool is_content = (type_ == RecordType::payload && node_.is_regular()) ||
                              (type_ == RecordType::symlink && node_.is_symlink()) ||
                              (type_ == RecordType::device && node_.is_device());
      if (!is_content && (rank == 0 || rank < attribute_rank_ || (rank == attribute_rank_ && !may_repeat(type_))))
        return misplaced("an attribute further on in their order, or the node's content");
    }
  }
  const std::size_t size_max = record_size_max(type_);
  const bool fits = size_max != 0                  ? size_ > kRecordHeadSize && size_ <= size_max
                    : type_ == RecordType::payload ? size_ >= kRecordHeadSize && size_ - kRecordHeadSize <= kPayloadSizeMax
                                                   : true;
  if (!fits) return fail(error_here(ErrorKind::invalid, fmt::format("a {} of {} bytes", name_of(type_), size_)));
  if (size_max != 0 && node_head_.size() + size_ > kNodeHeadSizeMax)
    return fail(error_here(ErrorKind::limit, fmt::format("'{}' has more than 32 MiB of attributes", path())));
  return {};
}

Result<void> ArchiveDecoder::take_entry(ConstBytes body) {
  Result<Node> node = decode_entry(body);
  if (!node) return fail(std::move(node).error());
  node_ = std::move(*node);
  node_head_.clear();
  node_offset_ = offset_ - kEntrySize;
  if (!features_) features_ = node_.features;
  if (node_.features != *features_)
    return fail(ErrorKind::invalid,
                fmt::format("feature flags {:#x}, but the archive began with {:#x}", node_.features, *features_));
  const bool is_top = folders_.empty();
  if (is_top && !options_.end_offset && !node_.is_directory())
    return fail(ErrorKind::invalid, "the top of the archive is not a folder");
  state_ = State::attributes;
  return {};
}

Result<void> ArchiveDecoder::take_file_name(ConstBytes body) {
  const Result<std::string_view> name = decode_text(body);
  if (!name) return fail(name.error());
  if (Result<void> checked = check_file_name(*name); !checked) return checked;
  Folder& folder = folders_.back();
  if (!folder.last_name.empty() && *name <= folder.last_name)
    return fail(ErrorKind::invalid,
                fmt::format("the name '{}' follows '{}' in '{}': {}", escaped(*name), escaped(folder.last_name), path(),
                            *name == folder.last_name ? "it is there twice" : "names are not sorted"));
  name_ = folder.last_name = *name;
  name_offset_ = offset_ - size_;
  state_ = State::node;
  return {};
}

Result<ArchiveDecoder::Step> ArchiveDecoder::enter_node() {
  if (node_.features == kDesyncArchiveFlags)
    if (Result<void> repaired = repair_values(); !repaired)
      return fail(error_here(repaired.error().kind(), repaired.error().message()));
  if (!node_.is_directory()) {
    state_ = payload_left_ > 0 ? State::payload : State::leave;
    return Step::enter;
  }
  if (folders_.size() >= kArchiveDepthMax)
    return fail(error_here(ErrorKind::limit, fmt::format("folders lie in one another more than {} deep", kArchiveDepthMax)));
  folders_.push_back({node_offset_, name_offset_, name_, {}, {}});
  state_ = State::child;
  return Step::enter;
}

// desync ends each value with a zero byte that is not part of it. casync may write an archive with the same features, so values
// lose theirs only as long as none was without one.
Result<void> ArchiveDecoder::repair_values() {
  for (const Xattr& xattr : node_.xattrs)
    if (xattr.value.empty() || xattr.value.back() != std::byte{0}) values_end_in_zero_ = false;
  if (values_end_in_zero_) {
    for (Xattr& xattr : node_.xattrs) xattr.value.pop_back();
    repaired_value_count_ += node_.xattrs.size();
  }
  return adopt_kernel_attributes(node_);
}

ArchiveDecoder::Step ArchiveDecoder::take_payload(ConstBytes& input) {
  if (input.empty()) return Step::need_input;
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(input.size(), payload_left_));
  payload_ = input.first(count);
  input = input.subspan(count);
  offset_ += count;
  payload_left_ -= count;
  if (payload_left_ == 0) state_ = State::leave;
  return Step::payload;
}

void ArchiveDecoder::skip_payload() {
  GODWIT_CHECK(state_ == State::payload || payload_left_ == 0);
  if (state_ != State::payload) return;
  offset_ += std::exchange(payload_left_, 0);
  state_ = State::leave;
}

Result<void> ArchiveDecoder::begin_goodbye() {
  Folder& folder = folders_.back();
  const std::uint64_t expected = goodbye_size(folder.children.size());
  if (size_ != expected)
    return fail(error_here(ErrorKind::invalid, fmt::format("the GOODBYE of '{}' has {} bytes, its {} children take {}", path(),
                                                           size_, folder.children.size(), expected)));
  goodbye_.clear();
  append_goodbye(goodbye_, folder.children, folder.entry_offset, offset_ - kRecordHeadSize);
  goodbye_taken_ = kRecordHeadSize;
  folder.children = {};
  end_record();
  state_ = State::goodbye;
  return {};
}

Result<ArchiveDecoder::Step> ArchiveDecoder::take_goodbye(ConstBytes& input) {
  const std::size_t count = std::min(input.size(), goodbye_.size() - goodbye_taken_);
  const auto expected = goodbye_.begin() + static_cast<std::ptrdiff_t>(goodbye_taken_);
  const auto differs = std::mismatch(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(count), expected).first;
  if (differs != input.begin() + static_cast<std::ptrdiff_t>(count)) {
    offset_ += static_cast<std::uint64_t>(differs - input.begin());
    return fail(error_here(ErrorKind::invalid, fmt::format("the GOODBYE of '{}' does not fit its children", path())));
  }
  input = input.subspan(count);
  offset_ += count;
  goodbye_taken_ += count;
  if (goodbye_taken_ < goodbye_.size()) return Step::need_input;
  state_ = State::leave;
  const Folder& folder = folders_.back();
  name_ = folder.name;
  name_offset_ = folder.name_offset;
  folders_.pop_back();
  return leave_node();
}

ArchiveDecoder::Step ArchiveDecoder::leave_node() {
  if (folders_.empty()) {
    state_ = State::end;
    return Step::leave;
  }
  // What follows a fifo or socket has been begun already.
  const std::uint64_t end = offset_ - record_head_.size();
  folders_.back().children.push_back({name_offset_, end, hash_of_file_name(name_)});
  state_ = State::child;
  return Step::leave;
}

Error ArchiveDecoder::error_here(ErrorKind kind, const std::string& what) const {
  const std::uint64_t record_offset = offset_ - record_head_.size() - body_.size();
  return Error(kind, fmt::format("archive, offset {}: {}", record_offset, what));
}

std::string ArchiveDecoder::path() const {
  std::string path;
  for (const Folder& folder : folders_)
    if (!folder.name.empty()) path += escaped(folder.name) + "/";
  const bool in_node = state_ != State::child && state_ != State::goodbye;
  if (in_node) path += escaped(name_);
  return path.empty() ? "." : path;
}

}  // namespace godwit::chunks
