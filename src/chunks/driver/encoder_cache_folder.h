// A folder with what archives of trees were cut into when they were last made: one file per tree, features and way of cutting. It
// may be emptied at any time; a file in it that is damaged, of another version or of another user counts as absent. What is kept
// of seeds, where a file's state may not tell of every change, has files of another ending. Blocking.
#pragma once

#include <string>
#include <string_view>

#include "chunks/core/encoder_cache.h"
#include "chunks/core/feature_flags.h"

namespace godwit::chunks {

class EncoderCacheFolder {
 public:
  // `folder` and those above it are made when something is kept.
  explicit EncoderCacheFolder(std::string folder, std::string_view suffix = ".gwencoder")
      : folder_(std::move(folder)), suffix_(suffix) {}

  // What is known of the tree; without chunks where nothing is.
  EncoderCache load(const std::string& tree, FeatureFlags features, const ChunkSizes& sizes, Digest digest) const;
  // Takes the place of what was known before. Whole or not at all. What was not written for a hundred days goes.
  Result<void> save(const std::string& tree, FeatureFlags features, const EncoderCache& cache) const;

 private:
  std::string file_of(const std::string& tree, FeatureFlags features, const ChunkSizes& sizes, Digest digest) const;

  std::string folder_;
  std::string suffix_;
};

}  // namespace godwit::chunks
