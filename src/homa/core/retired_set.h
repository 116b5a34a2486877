// Tombstones of server RPCs that are over, so that a duplicate of a request that comes late is not executed again. Forgotten
// lazily, in order of age: after a second if the client acknowledged, after ten otherwise (and ten after each hit). At most
// Limits::retired_max; then the oldest acknowledged one goes early, which is counted, for it weakens the promise. Source:
// homa.md 9.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "base/time.h"
#include "homa/core/config.h"
#include "homa/core/hash_index.h"
#include "homa/core/ids.h"
#include "homa/core/stable_slots.h"

namespace godwit::homa {

class RetiredSet {
 public:
  RetiredSet(const Config& config, Random& random);

  // Remembers that the RPC of this name is over.
  void insert(Instant now, const PeerAddress& client, Port client_port, RpcId id, bool acked);
  // Whether it is remembered; if so, one that was not acknowledged is remembered for longer: its client may still be asking.
  bool hit(Instant now, const PeerAddress& client, Port client_port, RpcId id);

  std::uint32_t count() const { return tombs_.in_use(); }
  std::uint64_t evicted() const { return evicted_; }

 private:
  // 96 bits of a keyed hash stand for the name: 2^20 of them meet by chance once in 2^76 requests.
  struct Name {
    std::uint64_t high = 0;
    std::uint32_t low = 0;
    friend bool operator==(const Name&, const Name&) = default;
  };
  struct Tomb {
    Name name;
    bool acked = false;
    Instant since;
    std::uint32_t next = HashIndex::kNone, previous = HashIndex::kNone;
  };
  struct Age {  // oldest first
    std::uint32_t first = HashIndex::kNone, last = HashIndex::kNone;
  };

  Name name_of(const PeerAddress& client, Port client_port, RpcId id) const;
  std::uint32_t find(const Name& name) const;
  void expire(Instant now);
  void expire(Age& age, Instant before);
  void link(Age& age, std::uint32_t index);
  void unlink(Age& age, std::uint32_t index);
  void drop(Age& age, std::uint32_t index);
  Age& age_of(const Tomb& tomb) { return tomb.acked ? acked_ : other_; }

  const Config& config_;
  const std::uint64_t seed_high_, seed_low_;
  StableSlots<Tomb> tombs_;
  HashIndex by_name_;
  Age acked_, other_;
  std::uint64_t evicted_ = 0;
};

}  // namespace godwit::homa
