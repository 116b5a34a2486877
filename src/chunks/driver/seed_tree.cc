#include "chunks/driver/seed_tree.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/seed_file.h"

namespace godwit::chunks {

Result<std::unique_ptr<SeedTree>> SeedTree::open(const std::string& path, const Options& options) {
  Descriptor top(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!top.is_open()) return fail(errno_error("open folder", path));
  Result<std::unique_ptr<TreeWalker>> walker = TreeWalker::open(path, options.walker);
  if (!walker) return fail(std::move(walker).error());
  Descriptor spool = open_temporary_file(options.spool_folder);
  if (!spool.is_open()) return fail(errno_error("make a temporary file in", options.spool_folder));
  return std::unique_ptr<SeedTree>(new SeedTree(std::move(*walker), std::move(top), std::move(spool), options));
}

Result<void> SeedTree::watch_records(ConstBytes bytes) {
  size_ += bytes.size();
  return spool(bytes);
}

void SeedTree::watch_payload(std::uint64_t size) {
  const std::uint64_t before = spans_.empty() ? 0 : spans_.back().before + spans_.back().size;
  spans_.push_back({.offset = size_, .size = size, .before = before, .path = walker_->path(), .held = {}});
  size_ += size;
}

Result<void> SeedTree::spool(ConstBytes bytes) {
  Result<void> written;
  if (bytes.size() > spool_bytes_max_ - std::min(spool_bytes_max_, spool_.size()))
    written = fail(ErrorKind::limit, fmt::format("more than the {} bytes that it may have", spool_bytes_max_));
  else
    written = spool_.write(bytes);
  if (!written) return fail(std::move(written).error().within("the temporary file for a seed"));
  return {};
}

// The first that ends behind it.
std::size_t SeedTree::span_at(std::uint64_t offset) const {
  const auto span = std::ranges::upper_bound(spans_, offset, {}, [](const Span& s) { return s.offset + s.size; });
  return static_cast<std::size_t>(span - spans_.begin());
}

Result<std::size_t> SeedTree::hold(std::span<const Stretch> wanted, std::size_t files_max) {
  std::vector<std::size_t> larger;
  std::size_t next = 0;
  for (const Stretch& stretch : wanted)
    for (next = std::max(next, span_at(stretch.offset));
         next < spans_.size() && spans_[next].offset < stretch.offset + stretch.size; ++next)
      if (spans_[next].size >= kHeldFileBytes) larger.push_back(next);
  if (larger.size() > files_max) {
    const auto by_size = [&](std::size_t span) { return spans_[span].size; };
    std::ranges::nth_element(larger, larger.begin() + static_cast<std::ptrdiff_t>(files_max), std::ranges::greater(), by_size);
    larger.resize(files_max);
  }
  std::size_t held = 0;
  for (const std::size_t span : larger) {
    spans_[span].held = open_seed_file(top_.get(), spans_[span].path);
    if (spans_[span].held.is_open()) ++held;
  }
  std::vector<Copy> copies;
  Bytes bytes;
  for (const Stretch& stretch : wanted) {
    const std::uint64_t end = stretch.offset + stretch.size;
    for (std::size_t i = span_at(stretch.offset); i < spans_.size() && spans_[i].offset < end; ++i) {
      const Span& span = spans_[i];
      if (span.held.is_open()) continue;
      const std::uint64_t from = std::max(stretch.offset, span.offset);
      bytes.resize(std::min(end, span.offset + span.size) - from);
      if (!read_file(span, from, bytes)) continue;  // it has changed already
      copies.push_back({.stretch = {.offset = from, .size = bytes.size()}, .at = spool_.size()});
      if (Result<void> copied = spool(bytes); !copied) return fail(std::move(copied).error());
    }
  }
  copies_ = std::move(copies);
  return held;
}

bool SeedTree::read_at(std::uint64_t offset, MutableBytes into) const {
  auto span = spans_.begin() + static_cast<std::ptrdiff_t>(span_at(offset));
  while (!into.empty()) {
    std::uint64_t count = into.size();
    if (span != spans_.end() && span->offset <= offset) {
      count = std::min(count, span->offset + span->size - offset);
      if (!read_file(*span, offset, into.first(count))) return false;
      ++span;
    } else {
      std::uint64_t before = 0;  // bytes of files in front of these
      if (span != spans_.end()) {
        count = std::min(count, span->offset - offset);
        before = span->before;
      } else if (!spans_.empty()) {
        before = spans_.back().before + spans_.back().size;
      }
      if (count > size_ - std::min(size_, offset)) return false;  // copies lie behind
      if (!read_all_at(spool_.descriptor(), offset - before, into.first(count))) return false;
    }
    into = into.subspan(count);
    offset += count;
  }
  return true;
}

bool SeedTree::read_file(const Span& span, std::uint64_t offset, MutableBytes into) const {
  if (span.held.is_open()) return read_all_at(span.held.get(), offset - span.offset, into);
  const auto copy =
      std::ranges::upper_bound(copies_, offset, {}, [](const Copy& c) { return c.stretch.offset + c.stretch.size; });
  if (copy != copies_.end() && copy->stretch.offset <= offset &&
      offset - copy->stretch.offset + into.size() <= copy->stretch.size)
    return read_all_at(spool_.descriptor(), copy->at + (offset - copy->stretch.offset), into);
  const Descriptor file = open_seed_file(top_.get(), span.path);
  return file.is_open() && read_all_at(file.get(), offset - span.offset, into);
}

}  // namespace godwit::chunks
