// What every command is told.
#pragma once

#include <string>

#include "base/log.h"

namespace godwit::cli {

struct Settings {
  std::string data;  // "": the default place
  bool json = false;
  std::string log_level;  // "": GODWIT_LOG, else "warn"
  bool log_json = false;

  Result<std::string> data_path() const;
  Result<Log> log() const;
};

}  // namespace godwit::cli
