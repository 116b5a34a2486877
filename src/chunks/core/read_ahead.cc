#include "chunks/core/read_ahead.h"

#include <algorithm>

namespace godwit::chunks {

namespace {

std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
  return a + b < a ? UINT64_MAX : a + b;
}

}  // namespace

ReadAhead::Reader* ReadAhead::find(std::uint64_t begin) {
  const auto is_near = [begin](const Reader& reader) {
    return begin <= sum(reader.next, reader.window) && sum(begin, reader.window) >= reader.next;
  };
  const auto found = std::ranges::find_if(readers_, is_near);
  return found == readers_.end() ? nullptr : &*found;
}

ReadAhead::Reader& ReadAhead::make(std::uint64_t begin) {
  if (readers_.size() < std::max<std::size_t>(limits_.readers_max, 1)) {
    readers_.emplace_back();
  } else {
    std::swap(*std::ranges::min_element(readers_, {}, &Reader::turn), readers_.back());
  }
  readers_.back() = {.next = begin, .window = 0, .named_to = begin, .turn = turn_};
  return readers_.back();
}

ByteRange ReadAhead::handle_read(std::uint64_t begin, std::uint64_t end) {
  if (limits_.window_bytes_max == 0) return {};
  ++turn_;
  Reader* reader = find(begin);
  const bool goes_on = reader != nullptr || begin == 0;
  if (reader == nullptr) reader = &make(begin);
  reader->turn = turn_;
  if (end <= reader->next) return {};
  reader->next = end;
  if (!goes_on) return {};
  reader->window = std::min(std::max(reader->window * 2, limits_.window_bytes_min), limits_.window_bytes_max);
  const ByteRange wanted{std::max(end, reader->named_to), sum(end, reader->window)};
  if (wanted.empty()) return {};
  reader->named_to = wanted.end;
  return wanted;
}

}  // namespace godwit::chunks
