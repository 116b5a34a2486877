// Calls that end with their owner: whoever goes while it waits for something is not called any more.
#pragma once

#include <memory>
#include <utility>

namespace godwit::net {

class Lifetime {
 public:
  // Passes calls on to `call` until this object is gone, and drops them from then on. On the owner's thread.
  template <class Call>
  auto while_alive(Call call) const {
    return [alive = std::weak_ptr(alive_), call = std::move(call)](auto&&... given) mutable {
      if (!alive.expired()) call(std::forward<decltype(given)>(given)...);
    };
  }

 private:
  std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace godwit::net
