// Files of a folder of the user's that may be emptied at any time: read whole or not at all, and replaced whole. Blocking.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace godwit::chunks {

// A file's name for a key: 32 digits and the suffix.
std::string cache_file_name(std::string_view key, std::string_view suffix);
// Nothing for what is no regular file, may have been written by another user, is larger than
// `size_max`, or cannot be read.
std::optional<Bytes> read_cache_file(const std::string& path, std::size_t size_max);
// Makes the folder if it is not there. Whole or not at all, for this user alone. It does not wait for the disk: after a crash of
// the machine, what is in the file has to tell whether it is whole.
Result<void> write_cache_file(const std::string& path, ConstBytes bytes);
// What ends in `suffix` or is left over from writing, and was not written for a hundred days before `newest` was.
void remove_old_cache_files(const std::string& newest, std::string_view suffix);

}  // namespace godwit::chunks
