// The user's own folder for what may be lost: $GODWIT_CACHE, else godwit's folder in $XDG_CACHE_HOME, else in ~/.cache.
#pragma once

#include <string>

namespace godwit::cli {

// The part of it called `name`; empty where there is no such place.
std::string user_cache_folder(const std::string& name);

}  // namespace godwit::cli
