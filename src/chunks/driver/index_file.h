// Index files on disk: read whole, written entry by entry under a temporary name that becomes the index's when it is complete and
// durable. Blocking.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "chunks/core/index.h"

namespace godwit::chunks {

// "-" is standard input. Messages name the file.
Result<Index> read_index_file(const std::string& path);

// The folder that `path` lies in, and a name beside it that nobody else takes: ".#NAME" and sixteen hex digits, as casync has it.
std::string temporary_beside(const std::string& path);

class IndexFileWriter {
 public:
  // "-" is standard output. `mode` is of a new file, before the umask.
  static Result<std::unique_ptr<IndexFileWriter>> create(const std::string& path, const IndexHeader& header, unsigned mode);
  // Unless finish() has succeeded, nothing stays behind.
  ~IndexFileWriter();
  IndexFileWriter(const IndexFileWriter&) = delete;
  IndexFileWriter& operator=(const IndexFileWriter&) = delete;

  Result<void> append(const IndexEntry& entry);
  // Writes the tail, makes the file durable (`sync`), and gives it its name, replacing what was there.
  Result<void> finish(bool sync);

 private:
  IndexFileWriter(std::string path, std::string temporary, int descriptor)
      : path_(std::move(path)), temporary_(std::move(temporary)), descriptor_(descriptor) {}
  Result<void> write_out();

  std::string path_;
  std::string temporary_;  // empty: standard output
  int descriptor_;
  Bytes pending_;
  std::uint64_t entry_count_ = 0;
  bool finished_ = false;
};

// Makes the name of `path` durable: syncs its folder.
Result<void> sync_folder_of(const std::string& path);

}  // namespace godwit::chunks
