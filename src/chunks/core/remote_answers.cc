#include "chunks/core/remote_answers.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::chunks {

void RemoteAnswers::handle_request(const wire::Request& request) {
  for (const ChunkId& id : request.ids) ask(id, request.priority);
}

void RemoteAnswers::ask(const ChunkId& id, wire::Priority priority) {
  Known& known = known_[id];
  const bool first = !known.asked_low && !known.asked_high;
  if (priority == wire::Priority::low) {
    known.asked_low = true;
    if (first) enqueue(id, known, Place::low);
    return;
  }
  const bool completes_a_pair = known.asked_low && !known.asked_high;
  known.asked_high = true;
  if (known.place == Place::low) {
    known.place = Place::high;
    high_.push_back(id);
  } else if (known.place == Place::nowhere && !completes_a_pair) {
    enqueue(id, known, Place::high);
  }
}

void RemoteAnswers::enqueue(const ChunkId& id, Known& known, Place place) {
  known.place = place;
  (place == Place::low ? low_ : high_).push_back(id);
  ++waiting_;
  ++asked_;
}

std::optional<ChunkId> RemoteAnswers::poll_load() {
  if (taken_.size() >= limits_.loads || loaded_bytes_ >= limits_.loaded_bytes) return std::nullopt;
  for (const Place place : {Place::high, Place::low}) {
    std::deque<ChunkId>& queue = place == Place::high ? high_ : low_;
    while (!queue.empty()) {
      const ChunkId id = queue.front();
      queue.pop_front();
      const auto known = known_.find(id);
      if (known == known_.end() || known->second.place != place) continue;  // moved up, and perhaps answered since
      known->second.place = Place::taken;
      --waiting_;
      taken_.push_back({id});
      return id;
    }
  }
  return std::nullopt;
}

RemoteAnswers::Taken& RemoteAnswers::find_taken(const ChunkId& id) {
  const auto found = std::ranges::find_if(taken_, [&](const Taken& t) { return t.id == id && t.state == Taken::State::loading; });
  GODWIT_CHECK(found != taken_.end());
  return *found;
}

void RemoteAnswers::handle_loaded(const ChunkId& id, std::size_t size_bytes) {
  Taken& taken = find_taken(id);
  taken.state = Taken::State::present;
  taken.size_bytes = size_bytes;
  loaded_bytes_ += size_bytes;
}

void RemoteAnswers::handle_absent(const ChunkId& id) {
  find_taken(id).state = Taken::State::absent;
}

std::optional<RemoteAnswers::Answer> RemoteAnswers::poll_answer() {
  if (taken_.empty() || taken_.front().state == Taken::State::loading) return std::nullopt;
  const Taken taken = taken_.front();
  taken_.pop_front();
  loaded_bytes_ -= taken.size_bytes;
  Known& known = known_[taken.id];
  known.place = Place::nowhere;
  remember(taken.id, known);
  return Answer{taken.id, taken.state == Taken::State::present};
}

void RemoteAnswers::remember(const ChunkId& id, Known& known) {
  if (known.remembered) return;
  known.remembered = true;
  answered_.push_back(id);
  if (answered_.size() <= limits_.remembered) return;
  const auto oldest = known_.find(answered_.front());
  answered_.pop_front();
  oldest->second.remembered = false;
  if (oldest->second.place == Place::nowhere) known_.erase(oldest);
}

}  // namespace godwit::chunks
