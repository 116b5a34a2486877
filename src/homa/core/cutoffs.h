// Which priority the unscheduled bytes of a message use, by its length: the receiver decides, and tells senders with CUTOFFS. The
// periodic allocator makes new cutoffs from the lengths that a receiver has seen. Source: homa.md 6.3.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "homa/core/config.h"
#include "homa/core/packet.h"

namespace godwit::homa {

struct Cutoffs {
  std::array<std::uint32_t, kPriorityCount> longest{};  // by priority: the longest message that may use it
  std::uint16_t version = 0;                            // 0: never heard from that receiver

  friend bool operator==(const Cutoffs&, const Cutoffs&) = default;
};

// What a sender assumes until the receiver has sent CUTOFFS: everything at the level below the top.
Cutoffs assumed_cutoffs(std::uint8_t num_priorities);
// A receiver's own at the start: version 1.
Cutoffs own_cutoffs(const Config& config);
// As received: level 0 takes every length, levels that we do not have take none.
Cutoffs received_cutoffs(const CutoffsUpdate& update, std::uint8_t num_priorities);

// The highest level whose longest message is at least `length`.
std::uint8_t unscheduled_priority(const Cutoffs& cutoffs, std::uint32_t length, std::uint8_t num_priorities);
// The highest level for granted bytes: just below the unscheduled ones.
std::uint8_t max_scheduled_priority(const Cutoffs& cutoffs);

// Messages of lengths up to `upper` (and above the bucket before).
struct LengthBucket {
  std::uint32_t upper = 0;
  std::uint64_t bytes = 0;
  std::uint64_t unscheduled_bytes = 0;
};
// Steps 2 to 5 of the computation: levels so that each carries about as many unscheduled bytes, short messages highest.
// `bytes_total` and `unscheduled_total` count messages that are in no bucket, too. `levels_wanted` overrides the share rule.
std::array<std::uint32_t, kPriorityCount> allocate_levels(std::span<const LengthBucket> buckets, std::uint64_t bytes_total,
                                                          std::uint64_t unscheduled_total, std::uint8_t num_priorities,
                                                          std::optional<std::uint32_t> levels_wanted = std::nullopt);

// Lengths of received messages: 64-byte buckets up to 4096, 1024-byte ones up to 131072, one for all longer ones.
class LengthHistogram {
 public:
  LengthHistogram();

  void add(std::uint32_t length);
  // For tests and simulations: `bytes` in the bucket that ends at or behind `upper`.
  std::uint64_t messages() const { return messages_; }
  // With step 1: unscheduled bytes by estimated counts.
  std::vector<LengthBucket> buckets(std::uint32_t rtt_bytes) const;
  std::uint64_t bytes_total() const;
  std::uint64_t unscheduled_total(std::uint32_t rtt_bytes) const;
  // The nine inner deciles of the lengths, by messages.
  std::array<std::uint32_t, 9> deciles() const;
  void clear();

 private:
  static std::size_t bucket_of(std::uint32_t length);
  static std::uint32_t upper_of(std::size_t bucket);

  std::vector<std::uint64_t> bytes_;   // by bucket, the last is "large"
  std::vector<std::uint64_t> counts_;  // exact, for the deciles
  std::uint64_t messages_ = 0;
};

// Makes new cutoffs now and then, when enough messages came and their lengths have changed.
class CutoffAllocator {
 public:
  explicit CutoffAllocator(const Config& config);

  const Cutoffs& current() const { return current_; }
  std::uint8_t max_scheduled_priority() const { return max_scheduled_; }

  void handle_message_received(std::uint32_t length) {
    if (config_.allocate_cutoffs) histogram_.add(length);
  }
  // Looks whether it is time. True: the cutoffs have changed, with their version.
  bool handle_time(Instant now);

 private:
  void install(const std::array<std::uint32_t, kPriorityCount>& longest);

  const Config& config_;
  Cutoffs current_;
  std::uint8_t max_scheduled_ = 0;
  LengthHistogram histogram_;
  std::optional<Instant> next_;
  std::optional<std::array<std::uint32_t, 9>> deciles_used_;
};

}  // namespace godwit::homa
