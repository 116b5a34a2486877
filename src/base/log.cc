// The only file that includes spdlog.
#include "base/log.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>

#include "base/bytes.h"

namespace godwit {

namespace {

constexpr std::array<std::string_view, 5> kLevelNames = {"error", "warn", "info", "debug", "trace"};

// Control and non-ASCII bytes as \xNN, then what the quotes need.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : escaped(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out += '"';
}

std::string text_of(std::string_view text) {
  const bool plain =
      !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127 && c != '"' && c != '='; });
  return plain ? std::string(text) : quoted(text);
}

std::string value_of(LogFormat format, const LogField::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) return format == LogFormat::json ? quoted(*text) : text_of(*text);
  // JSON has no word for these.
  if (const auto* number = std::get_if<double>(&value); number != nullptr && !std::isfinite(*number)) return "null";
  return std::visit([](const auto& v) { return fmt::format("{}", v); }, value);
}

class StderrSink final : public LogSink {
 public:
  explicit StderrSink(LogFormat format) : format_(format), logger_("godwit", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_level(spdlog::level::trace);  // Log has chosen already
    logger_.flush_on(spdlog::level::trace);
    const char* pattern = format == LogFormat::json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ",%v})" : "%Y-%m-%dT%H:%M:%S.%eZ %v";
    logger_.set_pattern(pattern, spdlog::pattern_time_type::utc);
  }

  void write(LogLevel level, std::string_view message, std::span<const LogField> fields) override {
    const std::string line = log_line(format_, level, message, fields);
    logger_.log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const LogFormat format_;
  spdlog::logger logger_;
};

}  // namespace

std::string_view name_of(LogLevel level) {
  return kLevelNames.at(static_cast<std::size_t>(level));
}

Result<LogLevel> parse_log_level(std::string_view text) {
  const auto found = std::ranges::find(kLevelNames, text);
  if (found == kLevelNames.end())
    return fail(ErrorKind::usage, fmt::format("log level \"{}\": one of {}", escaped(text), fmt::join(kLevelNames, ", ")));
  return static_cast<LogLevel>(found - kLevelNames.begin());
}

std::string log_line(LogFormat format, LogLevel level, std::string_view message, std::span<const LogField> fields) {
  if (format == LogFormat::json) {
    std::string line = fmt::format(R"("level":"{}","message":{})", name_of(level), quoted(message));
    for (const LogField& field : fields) line += fmt::format(",{}:{}", quoted(field.key), value_of(format, field.value));
    return line;
  }
  std::string line = fmt::format("{:5} {}", name_of(level), escaped(message));
  if (!fields.empty()) line += ' ';
  for (const LogField& field : fields) line += fmt::format(" {}={}", field.key, value_of(format, field.value));
  return line;
}

std::shared_ptr<LogSink> make_stderr_sink(LogFormat format) {
  return std::make_shared<StderrSink>(format);
}

void LogCapture::write(LogLevel level, std::string_view message, std::span<const LogField> fields) {
  std::scoped_lock lock(mutex_);
  lines_.push_back(log_line(LogFormat::text, level, message, fields));
}

std::vector<std::string> LogCapture::lines() const {
  std::scoped_lock lock(mutex_);
  return lines_;
}

bool LogCapture::contains(std::string_view part) const {
  std::scoped_lock lock(mutex_);
  return std::ranges::any_of(lines_, [part](const std::string& line) { return line.find(part) != line.npos; });
}

}  // namespace godwit
