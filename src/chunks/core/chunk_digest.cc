#include "chunks/core/chunk_digest.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "chunks/core/sha512_constants.h"
#include "chunks/core/sha512_lanes.h"

namespace godwit::chunks {

namespace {

// One message in a lane: whole blocks from its own memory, then one or two padded ones from here.
struct LaneMessage {
  std::size_t chunk = 0;
  const std::byte* next = nullptr;
  std::size_t blocks = 0;  // from `next` on
  std::size_t tail_blocks = 0;
  alignas(8) std::array<std::byte, 2 * kSha512BlockBytes> tail;

  void begin(std::size_t number, ConstBytes data) {
    chunk = number;
    const std::size_t whole = data.size() / kSha512BlockBytes;
    const ConstBytes rest = data.subspan(whole * kSha512BlockBytes);
    tail.fill(std::byte{0});
    std::ranges::copy(rest, tail.begin());
    tail[rest.size()] = std::byte{0x80};
    tail_blocks = rest.size() + 1 + 16 <= kSha512BlockBytes ? 1 : 2;
    const std::uint64_t bits = std::byteswap(std::uint64_t{data.size()} * 8);  // sizes of 2^61 bytes do not occur
    std::memcpy(tail.data() + tail_blocks * kSha512BlockBytes - 8, &bits, 8);
    next = data.data();
    blocks = whole;
    if (blocks == 0) go_to_tail();
  }
  // Whether there is anything left.
  bool advance(std::size_t count) {
    next += count * kSha512BlockBytes;
    blocks -= count;
    if (blocks == 0 && tail_blocks > 0) go_to_tail();
    return blocks > 0;
  }
  void go_to_tail() {
    next = tail.data();
    blocks = std::exchange(tail_blocks, 0);
  }
};

class LaneRun {
 public:
  LaneRun(std::span<const ConstBytes> chunks, std::span<ChunkId> out, std::size_t lane_count,
          void (*compress)(Sha512Lanes&, const std::byte* const*, std::size_t))
      : chunks_(chunks), out_(out), lane_count_(lane_count), compress_(compress), order_(chunks.size()) {
    // The longest first, so that the lanes end at about the same time.
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::ranges::stable_sort(order_, std::greater(), [&](std::size_t i) { return chunks_[i].size(); });
  }

  void run() {
    std::array<bool, kSha512LanesMax> busy{};
    for (std::size_t lane = 0; lane < lane_count_; ++lane) busy[lane] = begin_next(lane);
    for (;;) {
      const auto* const any = std::ranges::find(busy, true);
      if (any == busy.end()) return;
      // A lane without a message goes through the bytes of one that has; nobody looks at what comes of it.
      const std::byte* data[kSha512LanesMax];
      std::size_t blocks = std::numeric_limits<std::size_t>::max();
      for (std::size_t lane = 0; lane < lane_count_; ++lane) {
        data[lane] = messages_[busy[lane] ? lane : static_cast<std::size_t>(any - busy.begin())].next;
        if (busy[lane]) blocks = std::min(blocks, messages_[lane].blocks);
      }
      compress_(lanes_, data, blocks);
      for (std::size_t lane = 0; lane < lane_count_; ++lane) {
        if (!busy[lane] || messages_[lane].advance(blocks)) continue;
        finish(lane);
        busy[lane] = begin_next(lane);
      }
    }
  }

 private:
  bool begin_next(std::size_t lane) {
    if (next_ == order_.size()) return false;
    messages_[lane].begin(order_[next_], chunks_[order_[next_]]);
    ++next_;
    for (std::size_t i = 0; i < 8; ++i) lanes_.state[i][lane] = kSha512_256Initial[i];
    return true;
  }
  void finish(std::size_t lane) {
    ChunkId& id = out_[messages_[lane].chunk];
    for (std::size_t i = 0; i < 4; ++i) {
      const std::uint64_t word = std::byteswap(lanes_.state[i][lane]);
      std::memcpy(id.bytes.data() + i * 8, &word, 8);
    }
  }

  std::span<const ConstBytes> chunks_;
  std::span<ChunkId> out_;
  std::size_t lane_count_;
  void (*compress_)(Sha512Lanes&, const std::byte* const*, std::size_t);
  std::vector<std::size_t> order_;
  std::size_t next_ = 0;
  Sha512Lanes lanes_{};
  std::array<LaneMessage, kSha512LanesMax> messages_;
};

}  // namespace

std::string_view name_of(DigestVariant variant) {
  switch (variant) {
    case DigestVariant::openssl: return "openssl";
    case DigestVariant::avx2: return "avx2";
    case DigestVariant::avx512: return "avx512";
  }
  return "unknown";
}

std::span<const DigestVariant> digest_variants() {
  static constexpr DigestVariant kVariants[] = {DigestVariant::openssl, DigestVariant::avx2, DigestVariant::avx512};
  std::size_t count = 1;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) count = 2;
  if (count == 2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0) count = 3;
#endif
  return std::span(kVariants).first(count);
}

void chunk_ids_of(std::span<const ConstBytes> chunks, Digest digest, std::span<ChunkId> out) {
  chunk_ids_of(chunks, digest, out, digest_variants().back());
}

void chunk_ids_of(std::span<const ConstBytes> chunks, Digest digest, std::span<ChunkId> out, DigestVariant variant) {
  GODWIT_CHECK(chunks.size() == out.size());
  const std::size_t lane_count = variant == DigestVariant::avx512 ? 8 : 4;
  // A lone message is faster without lanes.
  if (digest == Digest::sha256 || variant == DigestVariant::openssl || chunks.size() * 2 < lane_count) {
    for (std::size_t i = 0; i < chunks.size(); ++i) out[i] = chunk_id_of(chunks[i], digest);
    return;
  }
  LaneRun(chunks, out, lane_count, variant == DigestVariant::avx512 ? sha512_blocks_avx512 : sha512_blocks_avx2).run();
}

}  // namespace godwit::chunks
