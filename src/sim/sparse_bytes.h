// Bytes of a large file of which few are there: pages of 4 KiB by number, absent pages are holes and read as zeros.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>

#include "base/bytes.h"

namespace godwit::sim {

inline constexpr std::uint64_t kPageBytes = 4096;

class SparseBytes {
 public:
  void read(std::uint64_t offset, MutableBytes into) const;
  void write(std::uint64_t offset, ConstBytes from);
  // Whole pages become holes, or stay allocated as zeros; parts of pages that are there become zeros.
  void zero(std::uint64_t offset, std::uint64_t length, bool keep_allocated);
  // This range becomes what it is in `other`.
  void copy_range(const SparseBytes& other, std::uint64_t offset, std::uint64_t length);

  enum class Kind : std::uint8_t { hole, zero, data };
  struct Run {
    Kind kind;
    std::uint64_t end;
  };
  // What is at `offset`, and up to where it is the same; at most `limit`.
  Run run_at(std::uint64_t offset, std::uint64_t limit) const;
  std::uint64_t allocated_bytes() const { return pages_.size() * kPageBytes; }

 private:
  using Page = std::array<std::byte, kPageBytes>;
  // Null: allocated and all zeros.
  std::map<std::uint64_t, std::unique_ptr<Page>> pages_;

  Page& page_for_writing(std::uint64_t number);
};

}  // namespace godwit::sim
