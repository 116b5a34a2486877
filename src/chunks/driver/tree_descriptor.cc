#include "chunks/driver/tree_descriptor.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

namespace godwit::chunks {

Error errno_error(std::string_view what, std::string_view name) {
  const int number = errno;
  return Error::from_errno(number, fmt::format("{} '{}'", what, escaped(name)));
}

Result<std::vector<DirectoryName>> read_directory(int folder, std::string_view path) {
  constexpr std::size_t kBufferSize = std::size_t{32} << 10;
  alignas(dirent64) char buffer[kBufferSize];
  std::vector<DirectoryName> names;
  for (;;) {
    const ssize_t count = ::getdents64(folder, buffer, kBufferSize);
    if (count < 0) return fail(errno_error("read folder", path));
    if (count == 0) break;
    for (ssize_t at = 0; at < count;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);  // the kernel's own layout
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.push_back({std::string(name), entry->d_type});
      at += entry->d_reclen;
    }
  }
  std::sort(names.begin(), names.end(), [](const DirectoryName& a, const DirectoryName& b) { return a.name < b.name; });
  return names;
}

bool read_all_at(int descriptor, std::uint64_t offset, MutableBytes into) {
  while (!into.empty()) {
    const ssize_t count = ::pread(descriptor, into.data(), into.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    offset += static_cast<std::uint64_t>(count);
    into = into.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

Descriptor open_temporary_file(const std::string& folder) {
  Descriptor file(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (file.is_open() || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) return file;
  std::string name = folder + "/.#godwit-XXXXXX";
  file = Descriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (file.is_open() && ::unlink(name.c_str()) != 0) return {};
  return file;
}

std::string path_of_descriptor(int number) {
  return fmt::format("/proc/self/fd/{}", number);
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);  // a deep tree then fails by name, with EMFILE
}

}  // namespace godwit::chunks
