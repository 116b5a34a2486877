// Our own requests on one connection that await their answer. An id is never 0 and never one that is still outstanding; an answer
// is matched on (device, id). Source: silo.md 3.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "volume/core/ids.h"

namespace godwit::volume {

template <class Request>
class Outstanding {
 public:
  // An id for a packet that is not answered (NeedAt, DevInfo …).
  TxId next_id() {
    do {
      ++last_;
    } while (last_ == 0 || requests_.contains(last_));
    return TxId{last_};
  }
  TxId add(DeviceId device, Request request) {
    const TxId tx = next_id();
    requests_.emplace(tx.value, Entry{device, std::move(request)});
    return tx;
  }
  const Request* find(DeviceId device, TxId tx) const {
    const auto it = requests_.find(tx.value);
    return it != requests_.end() && it->second.device == device ? &it->second.request : nullptr;
  }
  std::optional<Request> take(DeviceId device, TxId tx) {
    const auto it = requests_.find(tx.value);
    if (it == requests_.end() || it->second.device != device) return std::nullopt;
    Request request = std::move(it->second.request);
    requests_.erase(it);
    return request;
  }
  std::size_t size() const { return requests_.size(); }

 private:
  struct Entry {
    DeviceId device;
    Request request;
  };
  std::unordered_map<std::uint32_t, Entry> requests_;  // looked up only, never walked
  std::uint32_t last_ = 0;
};

}  // namespace godwit::volume
