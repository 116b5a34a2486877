#include "chunks/core/candidate_scan.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/check.h"
#include "chunks/core/buzhash_table.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace godwit::chunks {

namespace {

constexpr std::array<std::uint32_t, 256> rotated_table(int by) {
  std::array<std::uint32_t, 256> table{};
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = std::rotl(kBuzhashTable[i], by);
  return table;
}

// What a byte still weighs when it leaves the window: rotated 48 times, which is 16.
constexpr std::array<std::uint32_t, 256> kLeavingTable = rotated_table(kWindowBytes % 32);

// By Newton's iteration; every step doubles the number of right bits.
constexpr std::uint32_t inverse_of(std::uint32_t odd) {
  std::uint32_t inverse = odd;
  for (int i = 0; i < 5; ++i) inverse *= 2 - odd * inverse;
  return inverse;
}
static_assert(inverse_of(49535) * 49535U == 1);

}  // namespace

std::string_view name_of(ScanVariant variant) {
  return variant == ScanVariant::avx2 ? "avx2" : "scalar";
}

std::span<const ScanVariant> scan_variants() {
  static constexpr ScanVariant kVariants[] = {ScanVariant::scalar, ScanVariant::avx2};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) return kVariants;
#endif
  return std::span(kVariants).first(1);
}

CandidateScan::CandidateScan(const CutRule& rule, ScanVariant variant) : rule_(rule), variant_(variant) {
  const std::uint32_t d = rule.discriminator();
  const int shift = std::countr_zero(d);
  divisibility_ = {.inverse = inverse_of(d >> shift), .limit = std::numeric_limits<std::uint32_t>::max() / d, .shift = shift};
}

bool CandidateScan::is_near_hit(std::uint32_t hash) const {
  return std::rotr((hash + 1) * divisibility_.inverse, divisibility_.shift) <= divisibility_.limit;
}

void CandidateScan::find(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const {
  GODWIT_CHECK(first >= kWindowBytes && bytes.size() <= std::numeric_limits<std::uint32_t>::max());
  if (first > bytes.size()) return;
  if (variant_ == ScanVariant::avx2) first += find_avx2(bytes, first, found);
  find_scalar(bytes, first, found);
}

void CandidateScan::find_scalar(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const {
  if (first > bytes.size()) return;
  const auto* const data = reinterpret_cast<const unsigned char*>(bytes.data());
  std::uint32_t hash = window_hash(bytes.subspan(first - kWindowBytes).first<kWindowBytes>());
  for (std::size_t p = first;; ++p) {
    if (is_near_hit(hash)) [[unlikely]]
      if (rule_.is_hit(hash)) found.push_back(static_cast<std::uint32_t>(p));
    if (p == bytes.size()) return;
    hash = std::rotl(hash, 1) ^ (kBuzhashTable[data[p]] ^ kLeavingTable[data[p - kWindowBytes]]);
  }
}

#if defined(__x86_64__)

namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kGroup = 16;  // steps between two looks at what was hit
// Below this a lane's warm-up of 48 steps is not worth it.
constexpr std::size_t kLaneStepsMin = 2 * kWindowBytes;

[[gnu::target("avx2"), gnu::always_inline]] inline __m256i weights(const unsigned char* p, std::size_t stride) {
  const auto at = [p, stride](std::size_t lane) { return static_cast<int>(kBuzhashTable[p[lane * stride]]); };
  return _mm256_setr_epi32(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7));
}

[[gnu::target("avx2"), gnu::always_inline]] inline __m256i rotated_by_16(__m256i v) {
  return _mm256_shuffle_epi8(v, _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10,
                                                 11, 8, 9, 14, 15, 12, 13));
}

[[gnu::target("avx2"), gnu::always_inline]] inline __m256i rotated_by_1(__m256i v) {
  return _mm256_or_si256(_mm256_add_epi32(v, v), _mm256_srli_epi32(v, 31));
}

}  // namespace

// The positions are dealt to eight lanes as eight runs of `steps`, which all begin with an empty window 48 bytes before.
template <bool kEven>
[[gnu::target("avx2")]] std::size_t CandidateScan::find_avx2_of(ConstBytes bytes, std::size_t first,
                                                                std::vector<std::uint32_t>& found) const {
  const std::size_t positions = bytes.size() - first;  // the last one is left: after its test there is no byte to go on with
  const std::size_t steps = positions / kLanes / kWindowBytes * kWindowBytes;
  if (steps < kLaneStepsMin) return 0;
  const std::size_t found_before = found.size();
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data()) + first - kWindowBytes;
  alignas(32) __m256i leaving[kWindowBytes];
  __m256i hash = _mm256_setzero_si256();
  for (__m256i& slot : leaving) {
    const __m256i entering = weights(p++, steps);
    slot = rotated_by_16(entering);
    hash = _mm256_xor_si256(rotated_by_1(hash), entering);
  }
  const __m256i inverse = _mm256_set1_epi32(static_cast<int>(divisibility_.inverse));
  const __m256i limit = _mm256_set1_epi32(static_cast<int>(divisibility_.limit));
  const __m128i right = _mm_cvtsi32_si128(divisibility_.shift);
  const __m128i left = _mm_cvtsi32_si128(32 - divisibility_.shift);
  for (std::size_t step = 0; step < steps;) {
    for (std::size_t slot = 0; slot < kWindowBytes; slot += kGroup) {
      __m256i any = _mm256_setzero_si256();
      for (std::size_t i = 0; i < kGroup; ++i) {
        // (hash + 1) * inverse = hash * inverse + inverse
        __m256i n = _mm256_add_epi32(_mm256_mullo_epi32(hash, inverse), inverse);
        if constexpr (kEven) n = _mm256_or_si256(_mm256_srl_epi32(n, right), _mm256_sll_epi32(n, left));
        any = _mm256_or_si256(any, _mm256_cmpeq_epi32(_mm256_min_epu32(n, limit), n));
        const __m256i entering = weights(p++, steps);
        hash = _mm256_xor_si256(rotated_by_1(hash), _mm256_xor_si256(leaving[slot + i], entering));
        leaving[slot + i] = rotated_by_16(entering);
      }
      if (_mm256_testz_si256(any, any) == 0) [[unlikely]] {
        const auto lanes = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(any)));
        for (std::size_t lane = 0; lane < kLanes; ++lane)
          if ((lanes >> lane & 1U) != 0) {
            const std::size_t from = first + lane * steps + step;
            find_scalar(bytes.first(from + kGroup - 1), from, found);
          }
      }
      step += kGroup;
    }
  }
  std::sort(found.begin() + static_cast<std::ptrdiff_t>(found_before), found.end());
  return steps * kLanes;
}

std::size_t CandidateScan::find_avx2(ConstBytes bytes, std::size_t first, std::vector<std::uint32_t>& found) const {
  return divisibility_.shift == 0 ? find_avx2_of<false>(bytes, first, found) : find_avx2_of<true>(bytes, first, found);
}

#else

std::size_t CandidateScan::find_avx2(ConstBytes, std::size_t, std::vector<std::uint32_t>&) const {
  return 0;
}

#endif

}  // namespace godwit::chunks
