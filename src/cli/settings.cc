#include "cli/settings.h"

#include <cstdlib>
#include <utility>

#include "host/data_directory.h"

namespace godwit::cli {

Result<std::string> Settings::data_path() const {
  if (!data.empty()) return data;
  return host::DataDirectory::default_path();
}

Result<Log> Settings::log() const {
  const char* from_environment = std::getenv("GODWIT_LOG");
  const bool given = !log_level.empty();
  const std::string text = given                                                      ? log_level
                           : from_environment != nullptr && *from_environment != '\0' ? from_environment
                                                                                      : "warn";
  Result<LogLevel> level = parse_log_level(text);
  if (!level) return fail(std::move(level).error().within(given ? "--log-level" : "GODWIT_LOG"));
  return Log(make_stderr_sink(log_json ? LogFormat::json : LogFormat::text), *level);
}

}  // namespace godwit::cli
