#include "chunks/driver/seed_twins.h"

#include <algorithm>
#include <cstring>

namespace godwit::chunks {

// Bounds the memory, whatever the pieces are.
static constexpr std::size_t kCompareBytes = std::size_t{256} << 10;

void SeedTwins::compare(ConstBytes bytes) {
  while (!bytes.empty() && !files_.empty()) {
    const ConstBytes ours = bytes.first(std::min(bytes.size(), kCompareBytes));
    theirs_.resize(ours.size());
    std::erase_if(files_, [&](const Descriptor& file) {
      return !read_all_at(file.get(), offset_, theirs_) || std::memcmp(ours.data(), theirs_.data(), ours.size()) != 0;
    });
    offset_ += ours.size();
    bytes = bytes.subspan(ours.size());
  }
}

int SeedTwins::find(const Node& node, AttributeReader& reader) const {
  for (const Descriptor& file : files_)
    if (read_file_node(file.get(), reader) == node) return file.get();
  return -1;
}

}  // namespace godwit::chunks
