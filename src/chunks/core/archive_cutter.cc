#include "chunks/core/archive_cutter.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace godwit::chunks {

namespace {

// How much is read, and how far is looked, at once: little enough not to read much beyond a cut that a known chunk follows.
constexpr std::uint64_t kReadBytes = 64 * 1024;
constexpr std::uint64_t kLookBytes = 16 * 1024;

std::uint64_t start_of(const Sha256& print) {
  std::uint64_t start = 0;
  std::memcpy(&start, print.data(), sizeof(start));
  return start;
}

}  // namespace

Result<std::optional<ArchiveCutter::Chunk>> ArchiveCutter::next() {
  const std::uint64_t first_tested = rule_.first_tested();
  if (Result<void> looked = pieces_.look_ahead(first_tested + 1); !looked) return fail(std::move(looked).error());
  if (pieces_.known() == 0) return std::nullopt;
  Chunk chunk;
  chunk.offset = offset_;
  const std::optional<Sha256> start = pieces_.print(std::min(first_tested, pieces_.known()));
  if (start) {
    const Result<const KnownChunk*> known = find_known(start_of(*start));
    if (!known) return fail(known.error());
    if (*known != nullptr) {
      chunk.is_known = true;
      chunk.id = (*known)->id;
      chunk.length = (*known)->length;
      chunk.prints = {.start = (*known)->start, .whole = (*known)->print};
    }
  }
  if (!chunk.is_known) {
    const Result<std::uint64_t> cut = read_to_cut();
    if (!cut) return fail(cut.error());
    chunk.length = *cut;
    chunk.data = to_bytes(pieces_.loaded().first(*cut));
    if (Result<void> looked = pieces_.look_ahead(*cut + 1); !looked) return fail(std::move(looked).error());
    if (start)
      if (const std::optional<Sha256> whole = pieces_.print(*cut); whole)
        chunk.prints = {.start = start_of(*start), .whole = *whole};
  }
  pieces_.drop(chunk.length);
  offset_ += chunk.length;
  return chunk;
}

Result<const KnownChunk*> ArchiveCutter::find_known(std::uint64_t start) {
  for (const KnownChunk& chunk : std::ranges::equal_range(known_, start, {}, &KnownChunk::start)) {
    if (Result<void> looked = pieces_.look_ahead(chunk.length + 1); !looked) return fail(std::move(looked).error());
    if (pieces_.known() >= chunk.length && pieces_.print(chunk.length) == chunk.print) return &chunk;
  }
  return nullptr;
}

// Until the length of the next chunk is known, all of which lies in loaded() then.
Result<std::uint64_t> ArchiveCutter::read_to_cut() {
  const std::uint64_t max = rule_.sizes().max;
  std::uint64_t from = rule_.first_tested();
  for (std::uint64_t wanted = from;;) {
    if (Result<void> loaded = pieces_.load(wanted); !loaded) return fail(std::move(loaded).error());
    const std::uint64_t there = std::min<std::uint64_t>(pieces_.loaded().size(), max);
    while (!rule_.sizes().is_fixed() && from <= there) {
      const std::uint64_t to = std::min(there, from + kLookBytes);
      found_.clear();
      scan_.find(pieces_.loaded().first(to), from, found_);
      if (!found_.empty()) return found_.front();
      from = to + 1;
    }
    if (there == max || there < wanted) return there;
    wanted = std::min(max, there + kReadBytes);
  }
}

Result<std::vector<KnownChunk>> known_chunks_of(LazyArchiveTree& tree, const CutRule& rule, const Index& index) {
  ArchivePieces pieces(tree);
  std::vector<KnownChunk> known;
  for (std::size_t i = 0; i < index.entries.size(); ++i) {
    const std::uint64_t length = index.length_of(i);
    if (Result<void> looked = pieces.look_ahead(length + 1); !looked) return fail(std::move(looked).error());
    if (pieces.known() < length) break;
    const std::optional<Sha256> start = pieces.print(std::min(rule.first_tested(), pieces.known()));
    const std::optional<Sha256> whole = pieces.print(length);
    if (start && whole)
      known.push_back({.start = start_of(*start), .print = *whole, .length = length, .id = index.entries[i].id});
    pieces.drop(length);
    if (i + 1 < index.entries.size() || !pieces.ends_at(0)) continue;
    std::ranges::sort(known);
    const auto twice = std::ranges::unique(known);
    known.erase(twice.begin(), twice.end());
    return known;
  }
  return fail(ErrorKind::invalid, "the tree is not what the index is of");
}

}  // namespace godwit::chunks
