// Whole jobs over trees and archives: an archive of a folder, a folder of an archive, what an archive holds as text. Bytes come
// and go by two small ports, so that an archive may be a file, a folder that is encoded on the way, or an index with its chunks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "chunks/core/archive_decoder.h"
#include "chunks/core/archive_seek.h"
#include "chunks/core/chunk_id.h"
#include "chunks/driver/tree_descriptor.h"
#include "chunks/driver/tree_extractor.h"
#include "chunks/driver/tree_walker.h"

namespace godwit::chunks {

// Bytes in their order.
class ArchiveStream {
 public:
  virtual ~ArchiveStream() = default;
  // Fills `into` from its front, all of it unless the bytes end; 0 at their end.
  virtual Result<std::size_t> read(MutableBytes into) = 0;
};

// A folder as the bytes of its archive.
class TreeSource final : public ArchiveStream {
 public:
  static Result<std::unique_ptr<TreeSource>> open(const std::string& path, const TreeWalkerOptions& options);
  Result<std::size_t> read(MutableBytes into) override { return encoder_.read(into); }

 private:
  explicit TreeSource(std::unique_ptr<TreeWalker> walker) : walker_(std::move(walker)), encoder_(*walker_) {}

  std::unique_ptr<TreeWalker> walker_;
  ArchiveEncoder encoder_;
};

// A file that can be read anywhere.
class ArchiveFile final : public ArchiveBytes {
 public:
  static Result<std::unique_ptr<ArchiveFile>> open(const std::string& path);
  std::uint64_t size() const override { return size_; }
  Result<void> read(std::uint64_t offset, MutableBytes into) override;

 private:
  ArchiveFile(Descriptor descriptor, std::string path, std::uint64_t size)
      : descriptor_(std::move(descriptor)), path_(std::move(path)), size_(size) {}

  Descriptor descriptor_;
  std::string path_;
  std::uint64_t size_;
};

// A part of an archive, in its order. Borrows the archive.
class ArchiveRange final : public ArchiveStream {
 public:
  ArchiveRange(ArchiveBytes& archive, std::uint64_t start, std::uint64_t end) : archive_(archive), next_(start), end_(end) {
    archive_.will_read(start, end);
  }
  Result<std::size_t> read(MutableBytes into) override;

 private:
  ArchiveBytes& archive_;
  std::uint64_t next_;
  std::uint64_t end_;
};

// What a reader of an archive is told, in the decoder's order.
class ArchiveVisitor {
 public:
  enum class Go { on, stop };

  virtual ~ArchiveVisitor() = default;
  virtual Result<Go> enter(const ArchiveDecoder& decoder) = 0;
  virtual Result<void> payload(ConstBytes bytes) = 0;
  virtual Result<Go> leave(const ArchiveDecoder& decoder) = 0;
};
// All of `source` through a decoder to `visitor`; errors of all three. Where the visitor stops, the rest is not read.
Result<void> visit_archive(ArchiveStream& source, const ArchiveDecoderOptions& options, ArchiveVisitor& visitor);

// All of `source` to `sink`, and its digest; the digest is taken on a thread of its own. `sink` may be empty.
using ByteSink = std::function<Result<void>(ConstBytes)>;
Result<ChunkId> copy_and_digest(ArchiveStream& source, Digest digest, const ByteSink& sink);

// `path` with the archive of `source`: written beside it, made durable, then renamed. Gives the archive's digest.
Result<ChunkId> write_archive_file(ArchiveStream& source, Digest digest, const std::string& path);

Result<void> extract_tree(ArchiveStream& source, const ArchiveDecoderOptions& options, TreeExtractor& extractor);

// Of the bytes of a whole archive or a folder's sub-tree; of a regular file's own bytes. By the digest that the archive's flags
// name. ErrorKind::invalid for other nodes.
Result<ChunkId> digest_tree(ArchiveStream& source, const ArchiveDecoderOptions& options);

enum class TreeText { list, mtree, stat };
struct TreeTextOptions {
  TreeText form = TreeText::list;
  std::string path;        // of the top node; empty: "."
  bool recursive = true;   // else: the top and its children
  bool of_folder = false;  // the archive is made on the way
};
// Lines as the original program prints them.
Result<void> print_tree(ArchiveStream& source, const ArchiveDecoderOptions& decoder, const TreeTextOptions& options,
                        const std::function<void(std::string_view)>& print);

}  // namespace godwit::chunks
