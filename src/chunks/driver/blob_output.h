// Where the bytes of a blob go: a file that appears whole, a file or device written in place, a pipe, or a digest. Blocking.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "chunks/core/chunk_id.h"

namespace godwit::chunks {

class BlobOutput {
 public:
  virtual ~BlobOutput() = default;

  // Whether write() and zeros() must come in the order of their offsets, one at a time, without gaps. Otherwise any threads may
  // call them, in any order.
  virtual bool is_ordered() const = 0;
  virtual Result<void> write(std::uint64_t offset, ConstBytes data) = 0;
  virtual Result<void> zeros(std::uint64_t offset, std::uint64_t length) = 0;
  // Whether it may hold already what it is to hold, and what is at `offset` of such an output. Any thread.
  virtual bool is_in_place() const { return false; }
  virtual Result<void> read(std::uint64_t offset, MutableBytes into) {
    (void)offset, (void)into;
    return fail(ErrorKind::unsupported, "this output is not read");
  }
  // Gives the output what lies at `source_offset` of `source`, whole blocks of it as shared ones (a reflink); false where the
  // file system, the offsets or the length do not allow that, and nothing is to be relied on then. What was shared can be read
  // here, and does not change with the source any more; what is not wanted after all is taken back. Any thread.
  virtual bool can_share() const { return false; }
  virtual bool share(std::uint64_t offset, int source, std::uint64_t source_offset, std::uint64_t length) {
    (void)offset, (void)source, (void)source_offset, (void)length;
    return false;
  }
  virtual Result<void> take_back(std::uint64_t offset, std::uint64_t length) {
    (void)offset, (void)length;
    return {};
  }
  // All is written: it becomes durable (if that was asked for) and gets its name.
  virtual Result<void> finish() = 0;
};

struct FileOutputOptions {
  bool in_place = false;    // devices always are
  bool punch_holes = true;  // runs of zeros become holes
  bool reflink = true;      // blocks of seeds are shared where the file system can
  bool sync = true;
};

// A new file beside `path`, renamed over it by finish() and removed without it; or `path` itself, when it is a device or is to be
// written in place. A device smaller than `size` is refused.
Result<std::unique_ptr<BlobOutput>> make_file_output(const std::string& path, std::uint64_t size,
                                                     const FileOutputOptions& options);
// Bytes to a pipe, in order; the descriptor stays its owner's.
std::unique_ptr<BlobOutput> make_stream_output(int descriptor);
// The digest of all bytes, in order, which finish() leaves in `into`.
std::unique_ptr<BlobOutput> make_digest_output(Digest digest, std::optional<ChunkId>& into);

}  // namespace godwit::chunks
