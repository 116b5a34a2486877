// Objects that are dear to make and used by one thread at a time: a thread borrows one, or gets a new one, and it comes back.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace godwit::chunks {

template <class T>
class Lender {
 public:
  // `make` is called under no lock, on any thread.
  explicit Lender(std::function<T()> make) : make_(std::move(make)) {}

  template <class Use>
  auto with(Use use) {
    std::unique_ptr<T> object = take();
    auto result = use(*object);
    const std::scoped_lock lock(mutex_);
    idle_.push_back(std::move(object));
    return result;
  }

 private:
  std::unique_ptr<T> take() {
    {
      const std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<T> object = std::move(idle_.back());
        idle_.pop_back();
        return object;
      }
    }
    return std::make_unique<T>(make_());
  }

  std::function<T()> make_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<T>> idle_;
};

}  // namespace godwit::chunks
