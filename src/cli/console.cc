#include "cli/console.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include "host/quantity.h"

namespace godwit::cli {

namespace {

std::string text_of_seconds(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::ceil(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

void print(std::FILE* to, std::string_view text) {
  // Nobody listens any more: there is nobody to tell.
  (void)std::fwrite(text.data(), 1, text.size(), to);
  (void)std::fflush(to);
}

}  // namespace

std::string progress_text(const Progress& p, std::size_t bar) {
  const double part = p.bytes_total == 0
                          ? 0
                          : 1 - static_cast<double>(std::min(p.bytes_left, p.bytes_total)) / static_cast<double>(p.bytes_total);
  std::string text = p.title;
  if (p.is_total_known && bar > 0) {
    const auto full = static_cast<std::size_t>(part * static_cast<double>(bar));
    text += fmt::format("  [{}{}{}]", std::string(full, '='), full < bar ? ">" : "",
                        std::string(full < bar ? bar - full - 1 : 0, ' '));
  }
  // Rounded down: nothing is 100.0% before it is.
  if (p.is_total_known)
    text += fmt::format("  {:5.1f}%  {} left", std::floor(part * 1000) / 10, host::text_of_bytes(p.bytes_left));
  else
    text += fmt::format("  {} so far", host::text_of_bytes(p.bytes_total));
  if (p.bytes_per_second >= 1) {
    text += fmt::format("  {}/s", host::text_of_bytes(static_cast<std::uint64_t>(p.bytes_per_second)));
    if (p.bytes_left > 0) text += "  ETA " + text_of_seconds(static_cast<double>(p.bytes_left) / p.bytes_per_second);
  }
  if (!p.note.empty()) text += "  " + p.note;
  return text;
}

double RateMeter::update(double seconds, std::uint64_t bytes) {
  if (bytes < bytes_) bytes_ = bytes;  // another move has begun
  const double passed = seconds - seconds_;
  if (passed < 0.05) return rate_;
  const double now = static_cast<double>(bytes - bytes_) / passed;
  const double weight = rate_ == 0 ? 1 : std::min(1.0, passed / 2);
  rate_ += (now - rate_) * weight;
  seconds_ = seconds;
  bytes_ = bytes;
  return rate_;
}

Console::Console(bool json)
    : json_(json), terminal_(::isatty(STDOUT_FILENO) == 1), colour_(::isatty(STDERR_FILENO) == 1 && !is_set("NO_COLOR")) {}

void Console::clear_bar() {
  if (bar_shown_.exchange(false)) print(stdout, "\r\033[K");
}

void Console::line(std::string_view text) {
  if (json_) return;
  clear_bar();
  print(stdout, std::string(text) + "\n");
}

void Console::event(const boost::json::object& object) {
  if (json_) print(stdout, boost::json::serialize(object) + "\n");
}

void Console::progress(const Progress& progress) {
  if (json_) return;
  if (!terminal_) return print(stdout, progress_text(progress, 0) + "\n");
  print(stdout, "\r" + progress_text(progress, 24) + "\033[K");
  bar_shown_ = true;
}

void Console::warning(std::string_view text) {
  clear_bar();
  event({{"event", "warning"}, {"text", text}});
  print(stderr, fmt::format("godwit: warning: {}\n", text));
}

int Console::error(const Error& error) {
  clear_bar();
  const int code = error.kind() == ErrorKind::usage ? kUsage : kFailed;
  if (json_)
    event(
        boost::json::object{{"event", "error"}, {"kind", name_of(error.kind())}, {"text", error.message()}, {"exit_code", code}});
  print(stderr, fmt::format("{}godwit: {}{}\n", colour_ ? "\033[31m" : "", error.message(), colour_ ? "\033[0m" : ""));
  return code;
}

}  // namespace godwit::cli
