#include "homa/core/retired_set.h"

#include <cstring>

namespace godwit::homa {

RetiredSet::RetiredSet(const Config& config, Random& random)
    : config_(config), seed_high_(random.next()), seed_low_(random.next()) {}

RetiredSet::Name RetiredSet::name_of(const PeerAddress& client, Port client_port, RpcId id) const {
  std::uint64_t words[2];
  std::memcpy(words, client.ip.data(), sizeof words);
  const std::uint64_t ports = std::uint64_t{client.udp_port} << 16 | client_port.value;
  const auto fold = [&](std::uint64_t seed) {
    return mix_hash(mix_hash(mix_hash(mix_hash(seed, words[0]), words[1]), ports), id.value);
  };
  return {fold(seed_high_), static_cast<std::uint32_t>(fold(seed_low_))};
}

std::uint32_t RetiredSet::find(const Name& name) const {
  return by_name_.find(name.high, [&](std::uint32_t at) { return tombs_[at].name == name; });
}

void RetiredSet::insert(Instant now, const PeerAddress& client, Port client_port, RpcId id, bool acked) {
  if ((acked ? config_.retire_acked : config_.retire_other) == Duration{}) return;
  expire(now);
  const Name name = name_of(client, client_port, id);
  if (const std::uint32_t known = find(name); known != HashIndex::kNone) drop(age_of(tombs_[known]), known);
  if (tombs_.in_use() >= config_.limits.retired_max) {
    Age& age = acked_.first != HashIndex::kNone ? acked_ : other_;
    drop(age, age.first);
    ++evicted_;
  }
  const std::uint32_t index = tombs_.take();
  tombs_[index] = {name, acked, now};
  by_name_.insert(name.high, index);
  link(age_of(tombs_[index]), index);
}

bool RetiredSet::hit(Instant now, const PeerAddress& client, Port client_port, RpcId id) {
  if (tombs_.in_use() == 0) return false;
  expire(now);
  const std::uint32_t index = find(name_of(client, client_port, id));
  if (index == HashIndex::kNone) return false;
  Tomb& tomb = tombs_[index];
  if (!tomb.acked) {
    unlink(other_, index);
    tomb.since = now;
    link(other_, index);
  }
  return true;
}

void RetiredSet::expire(Instant now) {
  expire(acked_, {now.nanoseconds - config_.retire_acked.nanoseconds});
  expire(other_, {now.nanoseconds - config_.retire_other.nanoseconds});
}

void RetiredSet::expire(Age& age, Instant before) {
  while (age.first != HashIndex::kNone && tombs_[age.first].since < before) drop(age, age.first);
}

void RetiredSet::link(Age& age, std::uint32_t index) {
  tombs_[index].previous = age.last;
  tombs_[index].next = HashIndex::kNone;
  (age.last == HashIndex::kNone ? age.first : tombs_[age.last].next) = index;
  age.last = index;
}

void RetiredSet::unlink(Age& age, std::uint32_t index) {
  const Tomb& tomb = tombs_[index];
  (tomb.previous == HashIndex::kNone ? age.first : tombs_[tomb.previous].next) = tomb.next;
  (tomb.next == HashIndex::kNone ? age.last : tombs_[tomb.next].previous) = tomb.previous;
}

void RetiredSet::drop(Age& age, std::uint32_t index) {
  unlink(age, index);
  by_name_.erase(tombs_[index].name.high, index);
  tombs_.give_back(index);
}

}  // namespace godwit::homa
