#include "chunks/core/chunker.h"

#include <algorithm>

namespace godwit::chunks {

namespace {

// How far to look at once: enough to fill the lanes, little enough not to look far beyond the cut.
constexpr std::size_t kLookBytes = 16 * 1024;

}  // namespace

void CutWalker::advance(std::uint64_t end, std::span<const std::uint64_t> candidates, std::vector<std::uint64_t>& cuts) {
  const std::uint64_t max = rule_.sizes().max;
  const std::uint64_t first_tested = rule_.first_tested();
  const auto cut_full_chunks = [&](std::uint64_t up_to) {
    while (up_to - chunk_start_ >= max) cuts.push_back(chunk_start_ += max);
  };
  if (!rule_.sizes().is_fixed()) {
    for (const std::uint64_t candidate : candidates) {
      cut_full_chunks(candidate);
      if (candidate - chunk_start_ >= first_tested) cuts.push_back(chunk_start_ = candidate);
    }
  }
  cut_full_chunks(end);
  end_ = end;
}

void CutWalker::finish(std::vector<std::uint64_t>& cuts) {
  if (end_ > chunk_start_) cuts.push_back(chunk_start_ = end_);
}

std::uint64_t Chunker::next_cut(std::uint64_t base, ConstBytes bytes) {
  const std::uint64_t end = base + bytes.size();
  const std::uint64_t last = std::min(chunk_start_ + rule_.sizes().max, end);
  while (!rule_.sizes().is_fixed()) {
    const std::uint64_t from = std::max({scanned_ + 1, chunk_start_ + rule_.first_tested(), base + kWindowBytes});
    if (from > last) break;
    const std::uint64_t to = std::min(last, from + kLookBytes);
    found_.clear();
    scan_.find(bytes.first(to - base), from - base, found_);
    scanned_ = found_.empty() ? to : base + found_.front();
    if (!found_.empty()) return scanned_;
  }
  return last == chunk_start_ + rule_.sizes().max ? last : 0;
}

void Chunker::take(std::uint64_t base, ConstBytes bytes, std::vector<std::uint64_t>& cuts) {
  while (const std::uint64_t cut = next_cut(base, bytes)) cuts.push_back(chunk_start_ = scanned_ = cut);
}

void Chunker::feed(ConstBytes bytes, std::vector<std::uint64_t>& cuts) {
  if (bytes.empty()) return;
  // First the positions whose window reaches back into what came before, in a small copy.
  const std::size_t kept = tail_.size();
  append(tail_, bytes.first(std::min(bytes.size(), kWindowBytes - 1)));
  take(end_ - kept, tail_, cuts);
  take(end_, bytes, cuts);
  end_ += bytes.size();
  const std::size_t excess = tail_.size() - std::min(tail_.size(), kWindowBytes - 1);
  if (bytes.size() >= kWindowBytes - 1) {
    const ConstBytes last = bytes.last(kWindowBytes - 1);
    tail_.assign(last.begin(), last.end());
  } else {
    tail_.erase(tail_.begin(), tail_.begin() + static_cast<std::ptrdiff_t>(excess));
  }
}

void Chunker::finish(std::vector<std::uint64_t>& cuts) {
  if (end_ > chunk_start_) cuts.push_back(chunk_start_ = end_);
}

}  // namespace godwit::chunks
