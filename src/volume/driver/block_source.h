// Where a destination may find a block by its hash before it asks the source for the bytes. The port is declared here, by its
// user; a chunk store is plugged in by the host. Here: a folder whose files are named by the SHA-256 of their content.
#pragma once

#include "base/hash.h"
#include "store/directory.h"

namespace godwit::volume {

class BlockSource {
 public:
  virtual ~BlockSource() = default;
  // The bytes whose SHA-256 is `hash`, or ErrorKind::not_found. The caller verifies them.
  virtual void fetch(const Sha256& hash, net::Done<Bytes> done) = 0;
};

class DirectoryBlockSource final : public BlockSource {
 public:
  explicit DirectoryBlockSource(store::Directory& directory) : directory_(directory) {}
  void fetch(const Sha256& hash, net::Done<Bytes> done) override { directory_.read_file(to_hex(hash), std::move(done)); }

 private:
  store::Directory& directory_;
};

}  // namespace godwit::volume
