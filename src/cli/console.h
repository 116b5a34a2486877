// What a command says on stdout: lines and a progress bar for people, one JSON object per line for machines. Logs and errors go
// to stderr. Colour and the bar only on a terminal; NO_COLOR takes the colour away.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "base/error.h"

namespace godwit::cli {

inline constexpr int kDone = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

// What a progress line or bar shows; see progress_text().
struct Progress {
  std::string title;
  std::uint64_t bytes_total = 0;
  bool is_total_known = true;  // false: bytes_total is what there was so far, and bytes_left 0
  std::uint64_t bytes_left = 0;
  std::uint64_t bytes_on_wire = 0;
  double seconds = 0;
  double bytes_per_second = 0;  // lately
  std::string note;             // "round 3"
};
// "disk  [=====>    ]  52.1%  1.2 GiB left  310.0 MiB/s  ETA 4 s  round 3"; `bar` columns wide, 0: without. Where nobody knows
// how much there will be, "tree  1.2 GiB so far  310.0 MiB/s  12.0 MiB new".
std::string progress_text(const Progress& progress, std::size_t bar);

// Bytes per second over the last few looks, so that the figure neither jumps nor sleeps.
class RateMeter {
 public:
  // `bytes` so far, `seconds` since the start.
  double update(double seconds, std::uint64_t bytes);

 private:
  double seconds_ = 0;
  std::uint64_t bytes_ = 0;
  double rate_ = 0;
};

class Console {
 public:
  explicit Console(bool json);
  ~Console() { clear_bar(); }

  bool is_json() const { return json_; }
  bool is_terminal() const { return terminal_; }
  // A finished line for people; nothing in JSON.
  void line(std::string_view text);
  // A line for machines; nothing otherwise.
  void event(const boost::json::object& object);
  // Replaces the bar on a terminal, is a line otherwise.
  void progress(const Progress& progress);
  // How often progress() is worth calling.
  double progress_seconds() const { return terminal_ && !json_ ? 0.2 : 1; }
  // On stderr; the command goes on.
  void warning(std::string_view text);
  // On stderr, as the command's last word. Gives the exit code.
  int error(const Error& error);

 private:
  void clear_bar();

  bool json_;
  bool terminal_;
  bool colour_;
  std::atomic<bool> bar_shown_ = false;
};

}  // namespace godwit::cli
