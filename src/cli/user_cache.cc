#include "cli/user_cache.h"

#include <cstdlib>

namespace godwit::cli {

std::string user_cache_folder(const std::string& name) {
  const auto variable = [](const char* variable_name) {
    const char* value = std::getenv(variable_name);
    return std::string(value != nullptr && *value == '/' ? value : "");
  };
  if (const std::string cache = variable("GODWIT_CACHE"); !cache.empty()) return cache + "/" + name;
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) return cache + "/godwit/" + name;
  if (const std::string home = variable("HOME"); !home.empty()) return home + "/.cache/godwit/" + name;
  return "";
}

}  // namespace godwit::cli
