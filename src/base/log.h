// What a program tells its operator: a level, a sentence, and fields. A Log is a value that is passed in, never a global; where
// it goes is its sink's business. Text from a peer may be a field's value: it is escaped on its way out.
//
//   log.info("volume handed over", {{"volume", name}, {"attempt", h.hex()}, {"bytes", size}});
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"

namespace godwit {

enum class LogLevel : std::uint8_t { error, warn, info, debug, trace };

std::string_view name_of(LogLevel level);
// A level's name, as an option gives it; ErrorKind::usage otherwise.
Result<LogLevel> parse_log_level(std::string_view text);

// Borrows its text for the call.
struct LogField {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;
  std::string_view key;
  Value value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view(v)) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, std::signed_integral auto v) : key(k), value(static_cast<std::int64_t>(v)) {}
  LogField(std::string_view k, std::unsigned_integral auto v) : key(k), value(static_cast<std::uint64_t>(v)) {}
  LogField(std::string_view k, std::floating_point auto v) : key(k), value(static_cast<double>(v)) {}
};

// Thread-safe.
class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view message, std::span<const LogField> fields) = 0;
};

class Log {
 public:
  // Says nothing.
  Log() = default;
  Log(std::shared_ptr<LogSink> sink, LogLevel level) : sink_(std::move(sink)), level_(level) {}

  bool says(LogLevel level) const { return sink_ != nullptr && level <= level_; }

  using Fields = std::initializer_list<LogField>;
  void error(std::string_view message, Fields fields = {}) const { write(LogLevel::error, message, fields); }
  void warn(std::string_view message, Fields fields = {}) const { write(LogLevel::warn, message, fields); }
  void info(std::string_view message, Fields fields = {}) const { write(LogLevel::info, message, fields); }
  void debug(std::string_view message, Fields fields = {}) const { write(LogLevel::debug, message, fields); }
  void trace(std::string_view message, Fields fields = {}) const { write(LogLevel::trace, message, fields); }

 private:
  void write(LogLevel level, std::string_view message, Fields fields) const {
    if (says(level)) sink_->write(level, message, {fields.begin(), fields.size()});
  }

  std::shared_ptr<LogSink> sink_;
  LogLevel level_ = LogLevel::info;
};

enum class LogFormat : std::uint8_t { text, json };

// One line per message on stderr, with the time (UTC).
std::shared_ptr<LogSink> make_stderr_sink(LogFormat format);

// Such a line without its time: `warn volume lost  volume=a peer="x y"`, or the members of a JSON object.
std::string log_line(LogFormat format, LogLevel level, std::string_view message, std::span<const LogField> fields);

// Keeps what is said, for tests.
class LogCapture final : public LogSink {
 public:
  void write(LogLevel level, std::string_view message, std::span<const LogField> fields) override;
  // The lines so far, as text.
  std::vector<std::string> lines() const;
  bool contains(std::string_view part) const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace godwit
