#include "homa/core/rpc_table.h"

#include <algorithm>

namespace godwit::homa {

std::uint64_t RpcTable::hash_of(RpcId id, PeerIndex peer, Port remote) const {
  const std::uint64_t hash = mix_hash(seed_, id.value);
  if (is_client_id(id)) return hash;
  return mix_hash(hash, std::uint64_t{peer.value} << 16 | remote.value);
}

Rpc* RpcTable::find(RpcHandle handle) {
  if (!rpcs_.has(handle.index.value)) return nullptr;
  Rpc& rpc = at(handle.index);
  return rpc.state != RpcState::dead && rpc.generation == handle.generation ? &rpc : nullptr;
}

RpcIndex RpcTable::find_client(RpcId id) const {
  return RpcIndex{clients_.find(hash_of(id, kNoPeer, kNoPort), [&](std::uint32_t at) { return rpcs_[at].id == id; })};
}

RpcIndex RpcTable::find_server(PeerIndex peer, Port remote, RpcId id) const {
  return RpcIndex{servers_.find(hash_of(id, peer, remote), [&](std::uint32_t at) {
    const Rpc& rpc = rpcs_[at];
    return rpc.id == id && rpc.peer == peer && rpc.remote_port == remote;
  })};
}

RpcIndex RpcTable::create(RpcId id, PeerIndex peer, Port local, Port remote) {
  const RpcIndex index{rpcs_.take()};
  index_end_ = std::max(index_end_, index.value + 1);
  Rpc& rpc = at(index);
  rpc.id = id;
  ++rpc.generation;
  rpc.error = CallError::none;
  rpc.peer = peer;
  rpc.local_port = local;
  rpc.remote_port = remote;
  rpc.cookie = 0;
  rpc.created = ++created_;
  rpc.is_admitted = false;
  rpc.out = {};
  rpc.sending = {};
  rpc.way = {};
  rpc.in.clear();
  rpc.granting = {};
  rpc.timing = {};
  rpc.is_aging = false;
  (rpc.is_client() ? clients_ : servers_).insert(hash_of(id, peer, remote), index.value);
  return index;
}

void RpcTable::erase(RpcIndex index) {
  Rpc& rpc = at(index);
  stop_aging(index);
  (rpc.is_client() ? clients_ : servers_).erase(hash_of(rpc.id, rpc.peer, rpc.remote_port), index.value);
  rpc.state = RpcState::dead;
  rpcs_.give_back(index.value);
}

void RpcTable::start_aging(RpcIndex index) {
  Rpc& rpc = at(index);
  rpc.timing.silent_ticks = 0;
  if (rpc.is_aging) return;
  rpc.is_aging = true;
  aging_.append(*this, index);
}

void RpcTable::stop_aging(RpcIndex index) {
  Rpc& rpc = at(index);
  if (!rpc.is_aging) return;
  rpc.is_aging = false;
  rpc.timing.silent_ticks = 0;
  aging_.remove(*this, index);
}

}  // namespace godwit::homa
