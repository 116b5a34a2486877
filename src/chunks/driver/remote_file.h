// The file of a remote session at the server: one that is read in pieces, or one that arrives in pieces under a temporary name
// beside its own and gets that when it is whole and durable. Calls block and belong on a worker, one at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"

namespace godwit::chunks {

class RemoteFile {
 public:
  RemoteFile() = default;
  ~RemoteFile();  // what has no name yet is removed
  RemoteFile(RemoteFile&&) = delete;

  // ErrorKind::not_found and others name the path.
  Result<void> open_for_reading(const std::string& path);
  // The next bytes, at most `size_max`; none at the end.
  Result<Bytes> read(std::size_t size_max);

  Result<void> create(const std::string& path);
  Result<void> append(ConstBytes bytes);
  // The ids of `count` index entries, from number `first` on, of what has been written.
  Result<std::vector<ChunkId>> read_ids(std::uint64_t first, std::size_t count);
  // Durable, then renamed over whatever bears the name.
  Result<void> install();

 private:
  int descriptor_ = -1;
  std::string path_;
  std::string temporary_;  // "" when there is none
};

}  // namespace godwit::chunks
