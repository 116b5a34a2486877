// The few calls on descriptors that the tree's walker and extractor share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "net/descriptor.h"

namespace godwit::chunks {

using net::Descriptor;

// From errno, with what was tried and the name made fit for a terminal: "open 'a b': No such file or directory".
Error errno_error(std::string_view what, std::string_view name);

struct DirectoryName {
  std::string name;
  unsigned char type = 0;  // DT_…, DT_UNKNOWN where the file system does not say
};
// All but "." and "..", sorted bytewise.
Result<std::vector<DirectoryName>> read_directory(int folder, std::string_view path);

// Fills `into` from there; false where the file ends before or cannot be read.
bool read_all_at(int descriptor, std::uint64_t offset, MutableBytes into);

// A file in that folder which only this descriptor reaches, for reading and writing; not open, with errno, where there can be
// none. Where the file system has no files without names (O_TMPFILE) it has one for an instant.
Descriptor open_temporary_file(const std::string& folder);

// "/proc/self/fd/7": reaches the node of an O_PATH descriptor where a call takes only a path.
std::string path_of_descriptor(int number);

// Lets this process have as many descriptors as it may: a walk holds one per level of depth.
void raise_descriptor_limit();

}  // namespace godwit::chunks
