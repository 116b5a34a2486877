// For tests: runs a loop until one call has ended.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "net/event_loop.h"

namespace godwit::net {

template <class T>
Result<T> wait_for(EventLoop& loop, const std::function<void(Done<T>)>& start) {
  std::optional<Result<T>> result;
  start([&](Result<T> given) {
    result = std::move(given);
    loop.stop();
  });
  loop.run();
  return std::move(*result);
}

}  // namespace godwit::net
