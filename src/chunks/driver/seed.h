// Files, devices and folders that may hold chunks of what is to be extracted: each is cut and hashed as the index was, and what
// it has in common with the index is remembered by place. A seed is only a hint: it may change at any time, so what is read from
// it is hashed again before it is used. Of a regular file the chunks are also kept in the user's cache, if there is one, and
// taken from there while the file stays what it was. Of a folder it is the archive that is cut, which lies in its files and in a
// small temporary one (SeedTree); a chunk of it is taken from the cache while all files in it stay what they were.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "chunks/core/index.h"
#include "chunks/driver/chunk_reader.h"
#include "chunks/driver/chunk_stream.h"
#include "chunks/driver/seed_cache.h"
#include "chunks/driver/seed_tree.h"
#include "chunks/driver/tree_owners.h"

namespace godwit::chunks {

class SeedMap final : public ChunkReader {
 public:
  // Only chunks of `index` are remembered. `cache` may be null, else it outlives the map.
  explicit SeedMap(const Index& index, const SeedCache* cache = nullptr);

  // Reads all of `path`, or what the cache says of it, and remembers what is in it. "X.caibx:BLOB" is the file BLOB as that index
  // has it, without reading it, and "X.caibx" so the file X; an index of another size or digest is ErrorKind::invalid. `done`
  // once; one at a time. The map, `workers` and `scheduler` outlive it.
  void add(const std::string& path, unsigned threads, net::Workers& workers, net::Scheduler& scheduler, Done<void> done);
  // The folder `path`, archived as the index's flags say. `will_change` as the target of the extraction does. After an error the
  // map has nothing of it, and is as good as before.
  struct Folder {
    std::string path;
    UidShift shift;
    std::string spool_folder;  // for a temporary file without a name
    bool will_change = false;
    std::uint64_t spool_bytes_max = ~std::uint64_t{0};  // of that file
  };
  void add_folder(const Folder& folder, unsigned threads, net::Workers& workers, net::Scheduler& scheduler, Done<void> done);
  // Of all seeds: cut and hashed now, and known from the cache.
  std::uint64_t bytes_read() const { return bytes_read_; }
  std::uint64_t bytes_known() const { return bytes_known_; }

  // When no add() is under way.
  void read(std::span<WantedChunk> wanted, Digest digest) override;
  // In which file a chunk should be, and where; the descriptor is the map's. Nothing for those of a folder.
  struct Place {
    int descriptor = -1;
    std::uint64_t offset = 0;
    const SeedTree* tree = nullptr;  // then the place is one in its archive
  };
  std::optional<Place> place_of(const ChunkId& id) const;
  std::size_t chunk_count() const { return places_.size(); }

 private:
  struct Opened;

  void begin(const std::shared_ptr<Opened>& opened, unsigned threads, net::Workers& workers, net::Scheduler& scheduler,
             Done<void> done);
  void take(const StreamChunk& chunk, Opened& opened);
  void take_known(const SeedIndex& known, int descriptor);
  void keep(const std::shared_ptr<Opened>& opened, net::Workers& workers, Done<void> done);
  void begin_tree(const std::shared_ptr<Opened>& opened, const ChunkStreamOptions& options, net::Workers& workers,
                  net::Scheduler& scheduler, Done<void> done);
  void take_tree(const ChunkBatch& batch, Opened& opened);
  void end_tree(const std::shared_ptr<Opened>& opened, const ChunkStreamEnd& end, net::Workers& workers, Done<void> done);
  void drop_tree(const SeedTree& tree);
  std::size_t files_to_hold() const;

  IndexHeader header_;
  const SeedCache* cache_;
  std::unordered_set<ChunkId> wanted_;
  std::unordered_map<ChunkId, Place> places_;
  std::vector<Descriptor> files_;
  std::vector<std::shared_ptr<SeedTree>> trees_;
  std::unique_ptr<ChunkSource> source_;  // of the seed that is read
  std::size_t files_held_ = 0;           // in folders that will change
  std::uint64_t bytes_read_ = 0;
  std::uint64_t bytes_known_ = 0;
};

// Keeps the chunks of a blob that was just extracted to `path`, for whom it will be a seed. Blocking.
void remember_extracted(const SeedCache& cache, const std::string& path, const Index& index);
// The same of a tree; it is walked through, but no file is read.
void remember_extracted_tree(const SeedCache& cache, const std::string& path, const UidShift& shift, const Index& index);

}  // namespace godwit::chunks
