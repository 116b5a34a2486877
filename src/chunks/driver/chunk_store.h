// Chunks by their ids, wherever they lie. What is read is always verified: decompressed within a bound and hashed; so a store, a
// disk or a peer can withhold a chunk but never give another one. The layout below a BlobStore is casync's: the first four digits
// of the id are a folder, `.cacnk` says that the file is compressed. Source: casync.md 5.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chunks/core/chunk_file.h"
#include "chunks/core/chunk_id.h"
#include "chunks/driver/chunk_reader.h"
#include "net/worker_pool.h"
#include "store/blob_store.h"

namespace godwit::chunks {

using net::Done;

inline constexpr std::string_view kCompressedChunkSuffix = ".cacnk";

// "5304/53048e….cacnk", or without the suffix for a raw chunk.
std::string chunk_name(const ChunkId& id, bool compressed);
// The id and the form that a name stands for; nothing when it is no chunk's.
struct ChunkName {
  ChunkId id;
  bool compressed = false;
};
std::optional<ChunkName> parse_chunk_name(std::string_view name);

// Calls may be under way together and end in any order. A store may be destroyed meanwhile, also by a `done`: none is called from
// then on, though jobs of its workers may still use what they borrowed.
class ChunkStore {
 public:
  virtual ~ChunkStore() = default;

  virtual const std::string& title() const = 0;
  // The chunk's own bytes, verified against `id`; one of more than `size_max` bytes is refused. ErrorKind::not_found where it is
  // in neither form, ErrorKind::corrupt where the bytes are not its. Messages name the store and the id.
  virtual void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) = 0;
  // In either form, without looking at the content.
  virtual void has(std::vector<ChunkId> ids, Done<std::vector<bool>> done) = 0;
  // Stores `data`, which the caller has hashed, in the form that the store was made for; `done` keeps it, since a worker may
  // still read it when the store is gone. False: there already.
  virtual void put(const ChunkId& id, ConstBytes data, Done<bool> done) = 0;
  // What put() has ended is durable.
  virtual void sync(Done<void> done) = 0;
  // Removes it in whatever form it is there. ErrorKind::not_found where it is not.
  virtual void remove(const ChunkId& id, Done<void> done) = 0;
  // Null where chunks come over a network. It may outlive the store.
  virtual std::shared_ptr<ChunkReader> reader() { return nullptr; }
};

struct ChunkStoreOptions {
  Compression compression = Compression::zstd;
  std::optional<int> level;  // the method's own
};

// On blobs of casync's layout. ErrorKind::usage for a level that the method does not have.
Result<std::unique_ptr<ChunkStore>> make_chunk_store(std::unique_ptr<store::BlobStore> blobs, const ChunkStoreOptions& options,
                                                     net::Workers& workers);
// The directory `path`, which is made where it is not there and `create` says so.
Result<std::unique_ptr<ChunkStore>> open_local_store(const std::string& path, bool create, const ChunkStoreOptions& options,
                                                     net::Workers& workers, net::Scheduler& scheduler);

// Several stores in order: a chunk is written to the first and read from the first that has it. A corrupt chunk in one does not
// hide a good one in the next; when none has a good one, the first complaint counts. At least one store.
std::unique_ptr<ChunkStore> make_store_chain(std::vector<std::unique_ptr<ChunkStore>> stores);

}  // namespace godwit::chunks
