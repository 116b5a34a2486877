// Reads chunks from a store only to see whether they are there and right. What is wrong is reported, and removed if that is
// wanted, so that the next `make` stores it anew.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "chunks/driver/chunk_store.h"

namespace godwit::chunks {

struct VerifyOptions {
  Digest digest = Digest::sha512_256;
  bool try_other_digest = false;  // a store without an index does not say which one it is
  std::uint64_t size_max = kChunkBytesMax;
  bool remove_damaged = false;
  std::size_t requests_max = 16;
};

struct VerifyResult {
  std::uint64_t good = 0;
  std::uint64_t missing = 0;
  std::uint64_t damaged = 0;
  std::uint64_t removed = 0;
  std::uint64_t bytes = 0;  // of the good ones
};

class VerifyChunks {
 public:
  // `complain` is told about each that is not good. `store` and `scheduler` outlive it.
  VerifyChunks(std::vector<ChunkId> ids, ChunkStore& store, const VerifyOptions& options,
               std::function<void(const ChunkId&, const Error&)> complain, net::Scheduler& scheduler);
  ~VerifyChunks();

  // An error is one of the store as a whole: what is wrong with chunks is counted.
  void start(Done<VerifyResult> done);
  const VerifyResult& so_far() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
