#include "homa/core/grant_scheduler.h"

#include <algorithm>

namespace godwit::homa {

namespace {

std::int64_t pity_interval(const Config& config) {
  if (config.grant_fifo_permille == 0 || config.grant_increment == 0) return 0;
  return std::int64_t{1000} * config.grant_increment / config.grant_fifo_permille - config.grant_increment;
}

// Rank r of n messages: they occupy the n lowest scheduled levels, so that newcomers find a free one above.
std::uint8_t priority_of(std::size_t rank, std::size_t count, std::uint8_t top) {
  const std::size_t levels = std::size_t{top} + 1;
  const std::size_t down = rank - 1 + (levels > count ? levels - count : 0);
  return down >= top ? 0 : static_cast<std::uint8_t>(top - down);
}

}  // namespace

GrantScheduler::GrantScheduler(const Config& config, RpcTable& rpcs, PeerTable& peers)
    : config_(config),
      rpcs_(rpcs),
      peers_(peers),
      pity_after_(pity_interval(config)),
      ranking_(config.max_overcommit),
      stalled_ranking_(config.max_overcommit),
      until_pity_(pity_after_) {}

std::uint64_t GrantScheduler::capped_on_the_way(const InboundMessage& in) const {
  return std::min<std::uint64_t>(in.on_the_way(), 2ULL * config_.rtt_bytes);
}

void GrantScheduler::refresh_contribution(Rpc& rpc) {
  const bool counts = rpc.in.exists() && !rpc.in.is_complete() && !rpc.granting.is_grantable && !rpc.granting.is_stalled;
  const std::uint64_t now = counts ? capped_on_the_way(rpc.in) : 0;
  extra_ += now - rpc.granting.contribution;
  rpc.granting.contribution = now;
}

void GrantScheduler::count_on_the_way(Rpc& rpc, std::uint32_t now) {
  on_the_way_ += std::uint64_t{now} - rpc.granting.on_the_way;
  rpc.granting.on_the_way = now;
}

void GrantScheduler::handle_start(RpcIndex index) {
  rpcs_.at(index).granting.birth = ++births_;
  handle_change(index);
}

void GrantScheduler::handle_change(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  const bool grantable = rpc.in.incoming() < rpc.in.length();
  if (rpc.granting.is_grantable && grantable) {
    // The heap it is in does not change here; set_stalled() moves it.
    IndexedHeap<GrantKey>& heap = rpc.granting.is_stalled ? stalled_[rpc.peer.value] : peers_.at(rpc.peer).grantable;
    heap.update(positions_, index.value, {rpc.in.remaining(), rpc.granting.birth});
    rank(rpc.peer);
  } else if (rpc.granting.is_grantable) {
    leave(index);
  } else if (grantable) {
    join(index);
  }
  refresh_contribution(rpc);
  count_on_the_way(rpc, rpc.in.on_the_way());
}

void GrantScheduler::handle_end(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  if (rpc.granting.is_grantable) leave(index);
  extra_ -= rpc.granting.contribution;
  rpc.granting.contribution = 0;
  count_on_the_way(rpc, 0);
  rpc.granting.is_stalled = false;
}

void GrantScheduler::set_stalled(RpcIndex index, bool stalled) {
  Rpc& rpc = rpcs_.at(index);
  if (rpc.granting.is_stalled == stalled) return;
  const bool grantable = rpc.granting.is_grantable;
  if (grantable) leave(index);
  rpc.granting.is_stalled = stalled;
  if (grantable) join(index);
  refresh_contribution(rpc);
}

void GrantScheduler::join(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  const GrantKey key{rpc.in.remaining(), rpc.granting.birth};
  if (rpc.granting.is_stalled) {
    if (rpc.peer.value >= stalled_.size()) stalled_.resize(rpc.peer.value + 1);
    stalled_[rpc.peer.value].push(positions_, index.value, key);
  } else {
    peers_.at(rpc.peer).grantable.push(positions_, index.value, key);
  }
  rpc.granting.is_grantable = true;
  rpc.granting.list_position = static_cast<std::uint32_t>(grantable_.size());
  grantable_.push_back(index);
  rank(rpc.peer);
}

void GrantScheduler::leave(RpcIndex index) {
  Rpc& rpc = rpcs_.at(index);
  (rpc.granting.is_stalled ? stalled_[rpc.peer.value] : peers_.at(rpc.peer).grantable).erase(positions_, index.value);
  rpc.granting.is_grantable = false;
  const RpcIndex last = grantable_.back();
  grantable_[rpc.granting.list_position] = last;
  rpcs_.at(last).granting.list_position = rpc.granting.list_position;
  grantable_.pop_back();
  rank(rpc.peer);
}

void GrantScheduler::rank(PeerIndex peer) {
  const IndexedHeap<GrantKey>& best = peers_.at(peer).grantable;
  best.empty() ? ranking_.erase(peer) : ranking_.set(peer, RpcIndex{best.front().index}, best.front().key);
  if (peer.value >= stalled_.size()) return;
  const IndexedHeap<GrantKey>& stalled = stalled_[peer.value];
  stalled.empty() ? stalled_ranking_.erase(peer)
                  : stalled_ranking_.set(peer, RpcIndex{stalled.front().index}, stalled.front().key);
}

const std::vector<GrantScheduler::Granted>& GrantScheduler::run(std::uint8_t max_scheduled_priority) {
  granted_.clear();
  if (grantable_.empty()) return granted_;
  using_stalled_ = ranking_.count() == 0;
  const PeerRanking& ranking = using_stalled_ ? stalled_ranking_ : ranking_;
  const std::size_t peers = ranking.count();
  run_ranks(ranking, max_scheduled_priority);
  run_pity(peers, max_scheduled_priority);
  return granted_;
}

void GrantScheduler::run_ranks(const PeerRanking& ranking, std::uint8_t top) {
  const std::size_t count = ranking.count();
  ranks_.assign(ranking.first().begin(), ranking.first().end());
  std::int64_t available = std::int64_t{config_.max_overcommit} * config_.rtt_bytes - static_cast<std::int64_t>(extra_);
  // With so much on the way, a message gets no more for now.
  const std::uint64_t threshold =
      std::max<std::uint64_t>(1, std::uint64_t{config_.rtt_bytes} * config_.duty_cycle_permille / 1000);
  for (std::size_t rank = 1; rank <= ranks_.size(); ++rank) {
    const RpcIndex index = ranks_[rank - 1].best;
    const InboundMessage& in = rpcs_.at(index).in;
    available -= static_cast<std::int64_t>(capped_on_the_way(in));
    if (in.on_the_way() >= threshold) continue;
    const std::uint32_t wanted = std::max(in.incoming() + config_.grant_increment, in.received() + config_.rtt_bytes);
    const std::uint32_t offset = std::min(wanted, in.length());
    available -= offset - in.incoming();
    if (available < 0 && config_.byte_bound) return;
    until_pity_ -= offset - in.incoming();
    grant(index, offset, priority_of(rank, count, top));
    if (granted_.size() == kGrantsPerRun) return;
  }
}

void GrantScheduler::run_pity(std::size_t peers, std::uint8_t top) {
  if (pity_after_ == 0 || until_pity_ > 0) return;
  until_pity_ += pity_after_;
  if (peers <= config_.max_overcommit) return;
  RpcIndex oldest = kNoRpcIndex;
  for (const RpcIndex index : grantable_) {
    const Rpc& rpc = rpcs_.at(index);
    if (rpc.granting.is_stalled && !using_stalled_) continue;
    if (rpc.in.on_the_way() >= config_.rtt_bytes + config_.grant_increment) continue;
    if (oldest == kNoRpcIndex || rpc.granting.birth < rpcs_.at(oldest).granting.birth) oldest = index;
  }
  if (oldest == kNoRpcIndex) return;
  const InboundMessage& in = rpcs_.at(oldest).in;
  grant(oldest, std::min(in.incoming() + config_.grant_increment, in.length()), top);
  ++pity_grants_;
}

void GrantScheduler::grant(RpcIndex index, std::uint32_t offset, std::uint8_t priority) {
  Rpc& rpc = rpcs_.at(index);
  rpc.in.raise_incoming(offset);
  count_on_the_way(rpc, rpc.in.on_the_way());
  rpc.timing.silent_ticks = 0;
  granted_.push_back({index, offset, priority});
  if (offset == rpc.in.length()) handle_change(index);  // grantable no more
}

}  // namespace godwit::homa
