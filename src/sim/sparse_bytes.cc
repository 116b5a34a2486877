#include "sim/sparse_bytes.h"

#include <algorithm>
#include <cstring>

namespace godwit::sim {

namespace {

// Calls part(page, offset in it, length) for each page that [offset, offset + length) touches.
template <class Part>
void for_each_page(std::uint64_t offset, std::uint64_t length, Part&& part) {
  while (length > 0) {
    const std::uint64_t inside = offset % kPageBytes;
    const std::uint64_t count = std::min(length, kPageBytes - inside);
    part(offset / kPageBytes, inside, count);
    offset += count;
    length -= count;
  }
}

}  // namespace

SparseBytes::Page& SparseBytes::page_for_writing(std::uint64_t number) {
  std::unique_ptr<Page>& page = pages_[number];
  if (!page) page = std::make_unique<Page>();
  return *page;
}

void SparseBytes::read(std::uint64_t offset, MutableBytes into) const {
  std::byte* out = into.data();
  for_each_page(offset, into.size(), [&](std::uint64_t number, std::uint64_t inside, std::uint64_t count) {
    const auto found = pages_.find(number);
    if (found != pages_.end() && found->second)
      std::memcpy(out, found->second->data() + inside, count);
    else
      std::memset(out, 0, count);
    out += count;
  });
}

void SparseBytes::write(std::uint64_t offset, ConstBytes from) {
  const std::byte* in = from.data();
  for_each_page(offset, from.size(), [&](std::uint64_t number, std::uint64_t inside, std::uint64_t count) {
    std::memcpy(page_for_writing(number).data() + inside, in, count);
    in += count;
  });
}

void SparseBytes::zero(std::uint64_t offset, std::uint64_t length, bool keep_allocated) {
  const std::uint64_t end = offset + length;
  const std::uint64_t first_whole = (offset + kPageBytes - 1) / kPageBytes;
  const std::uint64_t last_whole = end / kPageBytes;
  const auto clear_part = [&](std::uint64_t from, std::uint64_t to) {
    const auto found = from < to ? pages_.find(from / kPageBytes) : pages_.end();
    if (found != pages_.end() && found->second) std::memset(found->second->data() + from % kPageBytes, 0, to - from);
    if (found == pages_.end() && keep_allocated && from < to) pages_[from / kPageBytes] = nullptr;
  };
  clear_part(offset, std::min(end, first_whole * kPageBytes));
  if (last_whole >= first_whole) clear_part(std::max(offset, last_whole * kPageBytes), end);
  if (last_whole <= first_whole) return;
  pages_.erase(pages_.lower_bound(first_whole), pages_.lower_bound(last_whole));
  if (!keep_allocated) return;
  for (std::uint64_t number = first_whole; number < last_whole; ++number) pages_[number] = nullptr;
}

void SparseBytes::copy_range(const SparseBytes& other, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const Run run = other.run_at(offset, end);
    if (run.kind == Kind::data) {
      for_each_page(offset, run.end - offset, [&](std::uint64_t number, std::uint64_t inside, std::uint64_t count) {
        std::memcpy(page_for_writing(number).data() + inside, other.pages_.at(number)->data() + inside, count);
      });
    } else {
      zero(offset, run.end - offset, run.kind == Kind::zero);
    }
    offset = run.end;
  }
}

SparseBytes::Run SparseBytes::run_at(std::uint64_t offset, std::uint64_t limit) const {
  std::uint64_t number = offset / kPageBytes;
  auto page = pages_.lower_bound(number);
  if (page == pages_.end() || page->first != number) {
    const std::uint64_t next = page == pages_.end() ? limit : page->first * kPageBytes;
    return {Kind::hole, std::min(limit, next)};
  }
  const bool data = page->second != nullptr;
  while (page != pages_.end() && page->first == number && (page->second != nullptr) == data && number * kPageBytes < limit) {
    ++page;
    ++number;
  }
  return {data ? Kind::data : Kind::zero, std::min(limit, number * kPageBytes)};
}

}  // namespace godwit::sim
