// What is to be cut: a regular file, of which holes are told instead of read, a block device, or whatever comes through a pipe.
// Blocking, one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace godwit::chunks {

class ByteSource {
 public:
  struct Piece {
    std::uint64_t length = 0;  // 0: the end
    bool hole = false;         // that many zeros, which were not written into the buffer
  };

  // "-" is standard input.
  static Result<std::unique_ptr<ByteSource>> open(const std::string& path);
  // Bytes that somebody makes: `read` fills its argument from the front and says how far, 0 only at the end. `mode` as mode()
  // will say.
  using Maker = std::move_only_function<Result<std::size_t>(MutableBytes into)>;
  static std::unique_ptr<ByteSource> made_by(Maker read, std::string name, unsigned mode);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // What comes next: at most into.size() bytes of data, or a hole of any length. A regular file that has become shorter since it
  // was opened is an error (ErrorKind::truncated); what it has grown by is not read.
  Result<Piece> read(MutableBytes into);
  // Nothing for a pipe.
  std::optional<std::uint64_t> size() const { return size_; }
  // Permission bits; 0666 where there are none to speak of.
  unsigned mode() const { return mode_; }
  const std::string& name() const { return name_; }

 private:
  ByteSource(int descriptor, bool owned, std::string name) : descriptor_(descriptor), owned_(owned), name_(std::move(name)) {}
  Result<void> look();
  Result<Piece> read_regular(MutableBytes into);
  Result<Piece> read_some(MutableBytes into, bool positioned);

  Maker maker_;  // of bytes that come from no descriptor
  int descriptor_;
  bool owned_;
  std::string name_;
  std::optional<std::uint64_t> size_;
  unsigned mode_ = 0666;
  bool regular_ = false;
  std::uint64_t position_ = 0;
  std::uint64_t data_end_ = 0;  // of a regular file: no hole between position_ and here
};

}  // namespace godwit::chunks
