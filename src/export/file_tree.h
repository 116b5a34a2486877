// A tree of files that is only read, as an export offers it: what there is lies in memory and is told at once, bytes and rarer
// attributes may have to be fetched. Nothing in it ever changes. Used on the scheduler's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/strong.h"
#include "net/scheduler.h"

namespace godwit::exports {

using FileId = Strong<struct FileIdTag, std::uint64_t>;
inline constexpr FileId kTopFile{1};

struct FileStatus {
  std::uint32_t mode = 0;  // st_mode, type included
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;  // of a regular file its bytes, of a symbolic link its target's
  std::int64_t mtime_ns = 0;
  std::uint32_t device_major = 0;  // of a device
  std::uint32_t device_minor = 0;
};

struct FileChild {
  std::string_view name;  // borrowed from the tree
  FileId id;
  std::uint32_t mode = 0;
};

struct FileAttribute {
  std::string name;
  Bytes value;
};

class FileTree {
 public:
  virtual ~FileTree() = default;

  // Nothing for a number that no file has. The other calls are made only with numbers that some file has.
  virtual std::optional<FileStatus> status(FileId file) const = 0;
  virtual FileId parent(FileId file) const = 0;  // the top's is itself
  // Children of a folder by their name, and by their place, from 0; nothing where there is none.
  virtual std::optional<FileId> find(FileId folder, std::string_view name) const = 0;
  virtual std::optional<FileChild> child(FileId folder, std::uint64_t place) const = 0;
  // Of a regular file; the range lies within its size, and the buffer lives until `done`.
  virtual void read(FileId file, std::uint64_t offset, MutableBytes into, net::Done<void> done) = 0;
  virtual void read_link(FileId file, net::Done<std::string> done) = 0;
  // Extended attributes under their names on Linux, ACLs and capabilities included.
  virtual void attributes(FileId file, net::Done<std::vector<FileAttribute>> done) = 0;
  // chattr's, as FS_IOC_GETFLAGS gives them, and FAT's, as FAT_IOCTL_GET_ATTRIBUTES does; nothing where it keeps none.
  virtual std::optional<std::uint32_t> flags(FileId file) const = 0;
  virtual std::optional<std::uint32_t> fat_attributes(FileId file) const = 0;
  // For messages: from the top, without a slash in front.
  virtual std::string path(FileId file) const = 0;
  virtual std::uint64_t file_count() const = 0;
  virtual std::uint64_t byte_count() const = 0;  // of all files together
};

}  // namespace godwit::exports
