// What the cache files of chunks have in common: a magic, a version, the digest that names the chunks, fields of the file's own,
// chunk sizes, a count, as many entries of one size, and a CRC-32C over all of it. Ours alone (docs/formats). A reader checks all
// of that before it gives out an entry, so what is left to a file is what only it knows.
#pragma once

#include <string_view>

#include "base/bytes.h"
#include "base/cursor.h"
#include "base/error.h"
#include "chunks/core/chunk_id.h"
#include "chunks/core/chunk_sizes.h"

namespace godwit::chunks {

struct CacheFormat {
  std::string_view name;   // for messages
  std::string_view magic;  // 8 characters
  std::uint32_t version = 1;
  std::size_t head_bytes = 0;  // all before the entries
  std::size_t entry_bytes = 0;
  std::size_t entries_max = 0;
};

class CacheWriter {
 public:
  // The file's own fields follow, by fields(); then begin_entries(), and the entries.
  CacheWriter(const CacheFormat& format, Digest digest, std::size_t entry_count);
  Writer& fields() { return writer_; }
  void begin_entries(const ChunkSizes& sizes);
  Bytes& entries() { return file_; }
  Bytes finish() &&;

 private:
  const std::size_t entry_count_;
  Bytes file_;
  Writer writer_;
};

class CacheReader {
 public:
  // Borrows both for its own life.
  CacheReader(const CacheFormat& format, ConstBytes file) : format_(format), file_(file), cursor_(file) {}
  // ErrorKind::unsupported for another version, ErrorKind::corrupt for anything else that is not such a file. First this, then
  // the file's own fields by fields(), then read_entries(), which tells how many entries follow there.
  Result<void> begin();
  Cursor& fields() { return cursor_; }
  Result<std::size_t> read_entries();

  // After read_entries().
  Digest digest() const { return digest_; }
  const ChunkSizes& sizes() const { return sizes_; }
  std::unexpected<Error> fail_corrupt(std::string_view what) const;

 private:
  const CacheFormat& format_;
  const ConstBytes file_;
  Cursor cursor_;
  std::uint32_t digest_word_ = 0;
  Digest digest_ = Digest::sha512_256;
  ChunkSizes sizes_;
};

}  // namespace godwit::chunks
