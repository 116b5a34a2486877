// Cuts the archive of a tree into chunks without reading those that it knows. Where a chunk ends depends on nothing but the bytes
// from its own start on (chunker.h), so a stretch that begins where a chunk began and has the same print is that chunk again, and
// the next one begins behind it. Gives the chunks that reading everything would give, in their order.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "chunks/core/archive_pieces.h"
#include "chunks/core/candidate_scan.h"
#include "chunks/core/cut_rule.h"
#include "chunks/core/encoder_cache.h"
#include "chunks/core/index.h"

namespace godwit::chunks {

class ArchiveCutter {
 public:
  struct Chunk {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    bool is_known = false;
    ChunkId id;  // of a known one
    Bytes data;  // of any other
    // What makes it known the next time; nothing where its files' states do not say enough.
    struct Prints {
      std::uint64_t start = 0;
      Sha256 whole{};
    };
    std::optional<Prints> prints;
  };

  // Borrows both for its own life, and the watcher, which may be null. `known` was cut by the same rule, is sorted, and all of
  // its chunks can be had.
  ArchiveCutter(LazyArchiveTree& tree, const CutRule& rule, const std::vector<KnownChunk>& known,
                ArchiveWatcher* watcher = nullptr)
      : rule_(rule), scan_(rule), known_(known), pieces_(tree, watcher) {}

  // Nothing at the archive's end. After an error it is spent.
  Result<std::optional<Chunk>> next();

 private:
  Result<const KnownChunk*> find_known(std::uint64_t start);
  Result<std::uint64_t> read_to_cut();

  const CutRule rule_;
  const CandidateScan scan_;
  const std::vector<KnownChunk>& known_;
  ArchivePieces pieces_;
  std::uint64_t offset_ = 0;
  std::vector<std::uint32_t> found_;
};

// By what the chunks of an archive that was cut in this way are known the next time; no file is read for it, but where a chunk
// has too many. Sorted. ErrorKind::invalid if the archive is not as long as they say.
Result<std::vector<KnownChunk>> known_chunks_of(LazyArchiveTree& tree, const CutRule& rule, const Index& index);

}  // namespace godwit::chunks
