// Files and devices that may hold chunks of what is to be extracted: each is cut and hashed as the index was, and what it has in
// common with the index is remembered by place. A seed is only a hint: what is read from it is hashed again before it is used.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "chunks/core/index.h"
#include "chunks/driver/chunk_reader.h"
#include "chunks/driver/chunk_stream.h"
#include "store/disk_file.h"

namespace godwit::chunks {

class SeedMap final : public ChunkReader {
 public:
  // Only chunks of `index` are remembered.
  explicit SeedMap(const Index& index);

  // Reads all of `path` and remembers what is in it. `done` once; one at a time. `workers` and `scheduler` outlive it.
  void add(const std::string& path, unsigned threads, net::Workers& workers, net::Scheduler& scheduler, Done<void> done);
  std::uint64_t bytes_read() const;

  // When no add() is under way.
  void read(std::span<WantedChunk> wanted, Digest digest) override;
  std::size_t chunk_count() const { return places_.size(); }

 private:
  struct Place {
    std::uint32_t file = 0;
    std::uint64_t offset = 0;
  };

  IndexHeader header_;
  std::unordered_set<ChunkId> wanted_;
  std::unordered_map<ChunkId, Place> places_;
  std::vector<std::unique_ptr<store::DiskFile>> files_;
  std::unique_ptr<ChunkStream> stream_;
  std::uint64_t bytes_before_ = 0;
};

}  // namespace godwit::chunks
