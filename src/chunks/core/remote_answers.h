// Whoever is asked for chunks: the order in which requests are answered, and which of them are one and the same. HIGH before LOW,
// each in the order of asking; a few chunks are loaded at a time, and answers leave in the order in which their loading began.
//
// An id asked LOW and HIGH is one request, whichever came first; asked LOW again, nothing; asked HIGH again after the answer, it
// is answered again (desync asks so, casync.md 8.6). Memory is bounded: what was answered longest ago is forgotten, and a repeat
// of that is answered once more, which every peer takes. Source: casync.md 2.4 (4), 8.6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>

#include "chunks/core/remote_frame.h"

namespace godwit::chunks {

class RemoteAnswers {
 public:
  struct Limits {
    std::size_t waiting = 64 * 1024;      // ids; while there are more, the peer is not read (one frame can bring 524,287)
    std::size_t loads = 16;               // chunks loaded or being loaded, and not sent
    std::size_t loaded_bytes = 16 << 20;  // no further load begins above this
    std::size_t remembered = 256 * 1024;  // answered ids
  };
  struct Answer {
    ChunkId id;
    bool is_present = false;  // CHUNK, or MISSING
  };

  explicit RemoteAnswers(Limits limits) : limits_(limits) {}

  void handle_request(const wire::Request& request);
  // The chunk to load next; its end is told by one of the two below.
  std::optional<ChunkId> poll_load();
  void handle_loaded(const ChunkId& id, std::size_t size_bytes);
  void handle_absent(const ChunkId& id);
  // The next answer to send.
  std::optional<Answer> poll_answer();

  bool has_room() const { return waiting_ < limits_.waiting; }
  // Ids so far; one that is to be answered twice counts twice.
  std::uint64_t count_asked() const { return asked_; }
  bool is_idle() const { return waiting_ == 0 && taken_.empty(); }

 private:
  enum class Place : std::uint8_t { nowhere, low, high, taken };
  struct Known {
    bool asked_low = false;
    bool asked_high = false;
    bool remembered = false;  // is in answered_
    Place place = Place::nowhere;
  };
  struct Taken {
    ChunkId id;
    std::size_t size_bytes = 0;
    enum class State : std::uint8_t { loading, present, absent } state = State::loading;
  };

  void ask(const ChunkId& id, wire::Priority priority);
  void enqueue(const ChunkId& id, Known& known, Place place);
  Taken& find_taken(const ChunkId& id);
  void remember(const ChunkId& id, Known& known);

  const Limits limits_;
  std::unordered_map<ChunkId, Known> known_;
  // An id that moved from low to high stays in low_ and is passed over there.
  std::deque<ChunkId> low_, high_;
  std::size_t waiting_ = 0;
  std::uint64_t asked_ = 0;
  std::deque<Taken> taken_;
  std::size_t loaded_bytes_ = 0;
  std::deque<ChunkId> answered_;
};

}  // namespace godwit::chunks
