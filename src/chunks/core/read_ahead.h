// How far in front of whom to fetch: a reader that goes on where it stopped is worth a window that doubles with each of its
// reads, one that jumps is not. Several readers are told apart by where they are; a read that comes early or late, as those of a
// client with many requests under way do, still belongs to its reader. A value without I/O: it says what range would be wanted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace godwit::chunks {

struct ReadAheadLimits {
  std::uint64_t window_bytes_min = 256 * 1024;       // behind the second read that goes on; four chunks of the usual size
  std::uint64_t window_bytes_max = 8 * 1024 * 1024;  // 0: nobody reads ahead
  std::size_t readers_max = 16;                      // the one that read longest ago is forgotten
};

struct ByteRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;

  bool empty() const { return begin >= end; }
  friend bool operator==(const ByteRange&, const ByteRange&) = default;
};

class ReadAhead {
 public:
  explicit ReadAhead(const ReadAheadLimits& limits = {}) : limits_(limits) {}

  // Somebody reads [begin, end), which is not empty. Gives what should be fetched too, and was not named before: behind the
  // reader's end, perhaps beyond the end of all; empty for one that jumps. Whoever begins at 0 is taken to go on.
  ByteRange handle_read(std::uint64_t begin, std::uint64_t end);

 private:
  struct Reader {
    std::uint64_t next = 0;      // behind what was read furthest
    std::uint64_t window = 0;    // 0: it has not gone on yet
    std::uint64_t named_to = 0;  // what lies before was said already
    std::uint64_t turn = 0;      // of its last read
  };
  Reader* find(std::uint64_t begin);
  Reader& make(std::uint64_t begin);

  ReadAheadLimits limits_;
  std::vector<Reader> readers_;
  std::uint64_t turn_ = 0;
};

}  // namespace godwit::chunks
