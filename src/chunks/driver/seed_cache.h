// A folder of the user's with what the chunks of seeds were: one file per seed and way of cutting. It may be emptied at any time;
// a file in it that is damaged, of another version or about another state of its seed counts as absent. Of a folder as a seed,
// what is kept is known chunk by chunk: those that have nothing of a changed file are known when others are not. Blocking.
#pragma once

#include <optional>
#include <string>

#include "chunks/core/seed_index.h"
#include "chunks/driver/encoder_cache_folder.h"

namespace godwit::chunks {

// Of a regular file or a block device; nothing for anything else, whose changes do not show.
std::optional<SeedIdentity> seed_identity_of(int descriptor);

class SeedCache {
 public:
  // `folder` and those above it are made when something is kept.
  explicit SeedCache(std::string folder) : folder_(std::move(folder)), trees_(folder_, ".gwseedtree") {}

  // What is known of the seed in exactly this state, cut and hashed in this way.
  std::optional<SeedIndex> load(const std::string& seed, const SeedIdentity& identity, const ChunkSizes& sizes,
                                Digest digest) const;
  // Takes the place of what was known before. Whole or not at all. What was not written for a hundred days goes.
  Result<void> save(const std::string& seed, const SeedIndex& index) const;

  // Of a folder, as an archive with these features.
  EncoderCache load_tree(const std::string& seed, FeatureFlags features, const ChunkSizes& sizes, Digest digest) const {
    return trees_.load(seed, features, sizes, digest);
  }
  Result<void> save_tree(const std::string& seed, FeatureFlags features, const EncoderCache& known) const {
    return trees_.save(seed, features, known);
  }

 private:
  std::string file_of(const std::string& seed, const ChunkSizes& sizes, Digest digest) const;

  std::string folder_;
  EncoderCacheFolder trees_;
};

}  // namespace godwit::chunks
