// The RPCs of an endpoint, found by their names or by handle. It knows names and the list of those that age, nothing of messages.
// Source: homa.md 2 (lookup keys).
#pragma once

#include <cstdint>

#include "homa/core/hash_index.h"
#include "homa/core/index_list.h"
#include "homa/core/rpc.h"
#include "homa/core/stable_slots.h"

namespace godwit::homa {

class RpcTable {
 public:
  // `hash_seed` keeps peers from choosing ids that collide.
  explicit RpcTable(std::uint64_t hash_seed) : seed_(hash_seed) {}

  Rpc& at(RpcIndex index) { return rpcs_[index.value]; }
  const Rpc& at(RpcIndex index) const { return rpcs_[index.value]; }
  // Null if that RPC is over.
  Rpc* find(RpcHandle handle);
  // By the id as we know it (even). The caller compares ports and peer.
  RpcIndex find_client(RpcId id) const;
  // By the id as we know it (odd), and where it came from.
  RpcIndex find_server(PeerIndex peer, Port remote, RpcId id) const;

  // A record with these names and nothing else; the state is the caller's to set.
  RpcIndex create(RpcId id, PeerIndex peer, Port local, Port remote);
  void erase(RpcIndex index);

  RpcHandle handle(RpcIndex index) const { return {index, at(index).generation}; }
  std::uint32_t count() const { return rpcs_.in_use(); }
  // A number above every index ever given out.
  std::uint32_t index_end() const { return index_end_; }

  void start_aging(RpcIndex index);
  void stop_aging(RpcIndex index);
  bool any_aging() const { return !aging_.is_empty(); }
  RpcIndex first_aging() const { return aging_.first(); }

 private:
  std::uint64_t hash_of(RpcId id, PeerIndex peer, Port remote) const;

  const std::uint64_t seed_;
  StableSlots<Rpc> rpcs_;
  HashIndex clients_;
  HashIndex servers_;
  std::uint64_t created_ = 0;
  std::uint32_t index_end_ = 0;
  IndexList<Rpc, RpcIndex, kNoRpcIndex, &Rpc::previous_aging, &Rpc::next_aging> aging_;
};

}  // namespace godwit::homa
