// The receiver's half of a message: which bytes have come, and which are to be expected. It counts ranges; the bytes themselves
// lie with the owner of the endpoint. Source: homa.md 6.1.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace godwit::homa {

struct ByteRange {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  std::uint32_t length() const { return end - begin; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

class InboundMessage {
 public:
  // Forgets what was, but not the memory of it.
  void start(std::uint32_t length);
  void clear() { start(0); }

  bool exists() const { return length_ > 0; }
  std::uint32_t length() const { return length_; }
  std::uint32_t received() const { return received_; }
  std::uint32_t remaining() const { return length_ - received_; }
  bool is_complete() const { return exists() && received_ == length_; }
  // The sender sends everything below this without more grants, as far as we know.
  std::uint32_t incoming() const { return incoming_; }
  void raise_incoming(std::uint32_t offset);
  // Bytes that are still to come without more grants. Never negative: `received` may pass `incoming` only until it is raised.
  std::uint32_t on_the_way() const { return incoming_ > received_ ? incoming_ - received_ : 0; }

  struct Merged {
    std::uint32_t new_bytes = 0;
    // The smallest range that covers what is new; may span bytes that were there already.
    ByteRange covering;
    bool refused = false;  // one hole too many
  };
  // Takes [begin, end) as received; end <= length().
  Merged merge(std::uint32_t begin, std::uint32_t end, std::uint32_t gaps_max);

  // The first range below incoming() that has not come.
  std::optional<ByteRange> first_gap() const;

 private:
  Merged merge_behind_prefix(std::uint32_t begin, std::uint32_t end, std::uint32_t gaps_max);

  std::uint32_t length_ = 0;
  std::uint32_t received_ = 0;
  std::uint32_t incoming_ = 0;
  std::uint32_t prefix_ = 0;        // everything below has come
  std::vector<ByteRange> islands_;  // what has come behind the first hole: sorted, apart from each other
};

}  // namespace godwit::homa
