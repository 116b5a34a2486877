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
  Descriptor spool(::open(options.spool_folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!spool.is_open()) return fail(errno_error("make a temporary file in", options.spool_folder));
  return std::unique_ptr<SeedTree>(new SeedTree(std::move(*walker), std::move(top), std::move(spool), options));
}

Result<std::size_t> SeedTree::read(MutableBytes into) {
  const std::uint64_t offset = encoder_.offset();
  Result<std::size_t> count = encoder_.read(into);
  if (count) {
    Result<void> kept = *count == 0 ? spool_.finish() : spool(into.first(*count), offset);
    if (!kept) count = fail(std::move(kept).error().within("the temporary file for a seed"));
  }
  if (!count) {
    spool_ = TreeFile({}, true);
    spans_.clear();
  }
  return count;
}

Result<ArchiveTree::Step> SeedTree::next() {
  is_new_file_ = true;
  return walker_->next();
}

Result<void> SeedTree::read_payload(MutableBytes into) {
  if (!copies_all_) {
    if (std::exchange(is_new_file_, false)) {
      const std::uint64_t before = spans_.empty() ? 0 : spans_.back().before + spans_.back().size;
      spans_.push_back({.offset = encoder_.offset(), .size = 0, .before = before, .path = walker_->path()});
    }
    spans_.back().size += into.size();
  }
  return walker_->read_payload(into);
}

// What of these bytes is no file's.
Result<void> SeedTree::spool(ConstBytes bytes, std::uint64_t offset) {
  auto span = std::ranges::upper_bound(spans_, offset, {}, [](const Span& s) { return s.offset + s.size; });
  while (!bytes.empty()) {
    std::uint64_t count = bytes.size();
    if (span != spans_.end() && span->offset <= offset) {
      count = std::min(count, span->offset + span->size - offset);
      ++span;
    } else {
      if (span != spans_.end()) count = std::min(count, span->offset - offset);
      if (count > spool_bytes_max_ - std::min(spool_bytes_max_, spool_.size()))
        return fail(ErrorKind::limit, fmt::format("more than the {} bytes that it may have", spool_bytes_max_));
      if (Result<void> written = spool_.write(bytes.first(count)); !written) return written;
    }
    bytes = bytes.subspan(count);
    offset += count;
  }
  return {};
}

bool SeedTree::read_at(std::uint64_t offset, MutableBytes into) const {
  auto span = std::ranges::upper_bound(spans_, offset, {}, [](const Span& s) { return s.offset + s.size; });
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
      if (!read_all_at(spool_.descriptor(), offset - before, into.first(count))) return false;
    }
    into = into.subspan(count);
    offset += count;
  }
  return true;
}

bool SeedTree::read_file(const Span& span, std::uint64_t offset, MutableBytes into) const {
  const Descriptor file = open_seed_file(top_.get(), span.path);
  return file.is_open() && read_all_at(file.get(), offset - span.offset, into);
}

}  // namespace godwit::chunks
