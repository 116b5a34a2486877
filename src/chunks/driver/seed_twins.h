// Files of seeds to which a file that is being extracted could become a hard link. They are compared with its bytes as these pass
// by and with its attributes behind them: a link shares both from then on, so both have to be right. Source: casync.md 7,
// "--hardlink".
#pragma once

#include <cstdint>
#include <vector>

#include "chunks/driver/seed_files.h"

namespace godwit::chunks {

class SeedTwins {
 public:
  SeedTwins() = default;  // none
  explicit SeedTwins(std::vector<Descriptor> files) : files_(std::move(files)) {}

  bool empty() const { return files_.empty(); }
  // The next bytes of the file. Those that have others are let go.
  void compare(ConstBytes bytes);
  // After the last of them: one that is, at this moment, the same file as `node` is in the archive; -1 where there is none. Its
  // time is looked at last, and shows what was written to it meanwhile.
  int find(const Node& node, AttributeReader& reader) const;

 private:
  std::vector<Descriptor> files_;
  std::uint64_t offset_ = 0;
  Bytes theirs_;
};

}  // namespace godwit::chunks
