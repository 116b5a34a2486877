#include "chunks/driver/encoder_cache_folder.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include <fmt/format.h>

#include "chunks/driver/cache_file.h"

namespace godwit::chunks {

namespace fs = std::filesystem;

// By the tree's path, so that a new state of it takes the old one's place.
std::string EncoderCacheFolder::file_of(const std::string& tree, FeatureFlags features, const ChunkSizes& sizes,
                                        Digest digest) const {
  std::error_code error;
  const fs::path whole = fs::weakly_canonical(tree, error);
  const std::string key = fmt::format("{} {} {:x} {}", text_of(sizes), name_of(digest), features, error ? tree : whole.string());
  return folder_ + "/" + cache_file_name(key, suffix_);
}

EncoderCache EncoderCacheFolder::load(const std::string& tree, FeatureFlags features, const ChunkSizes& sizes,
                                      Digest digest) const {
  EncoderCache nothing{.sizes = sizes, .digest = digest, .chunks = {}};
  // What it says becomes part of an image unread: it has to be our own word, which read_cache_file() sees to.
  const std::optional<Bytes> bytes = read_cache_file(file_of(tree, features, sizes, digest), kEncoderCacheBytesMax);
  if (!bytes) return nothing;
  Result<EncoderCache> cache = decode_encoder_cache(*bytes);
  if (!cache || cache->sizes != sizes || cache->digest != digest) return nothing;
  return std::move(*cache);
}

Result<void> EncoderCacheFolder::save(const std::string& tree, FeatureFlags features, const EncoderCache& cache) const {
  const std::string path = file_of(tree, features, cache.sizes, cache.digest);
  Result<void> written = write_cache_file(path, encode_encoder_cache(cache));
  if (written) remove_old_cache_files(path, suffix_);
  return written;
}

}  // namespace godwit::chunks
