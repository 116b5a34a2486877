// Looks for candidate cuts in memory: every position whose 48 bytes before it hit the rule. The hot loop of chunking, in variants
// for what the processor can; all give the same positions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/cut_rule.h"

namespace godwit::chunks {

enum class ScanVariant : std::uint8_t {
  scalar,
  avx2,  // eight places at a time
};

std::string_view name_of(ScanVariant variant);
// Those that this processor can run, the best one last.
std::span<const ScanVariant> scan_variants();

class CandidateScan {
 public:
  // The best variant, or the one asked for: one of scan_variants().
  explicit CandidateScan(const CutRule& rule) : CandidateScan(rule, scan_variants().back()) {}
  CandidateScan(const CutRule& rule, ScanVariant variant);

  // Appends, in rising order, every p of [first, bytes.size()] such that the 48 bytes before offset p hit. `first` is at
  // least 48. `bytes` is less than 4 GiB.
  void find(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const;

 private:
  // hash % d == d - 1 without a division: with n = hash + 1 and d = odd * 2^shift, rotr(n * odd^-1, shift) <= (2^32 - 1) / d.
  // True for one hash too many, 2^32 - 1, which is asked again in full.
  struct Divisibility {
    std::uint32_t inverse;
    std::uint32_t limit;
    int shift;
  };

  bool is_near_hit(std::uint32_t hash) const;
  void find_scalar(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const;
  // As many positions as fill the lanes evenly; how many those were.
  std::size_t find_avx2(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const;
  template <bool kEven>
  std::size_t find_avx2_of(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const;

  CutRule rule_;
  ScanVariant variant_;
  Divisibility divisibility_;
};

}  // namespace godwit::chunks
