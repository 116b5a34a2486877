// Any bytes as an archive whose tables of contents are followed: nothing outside of it is ever read, and what is found lies in
// it.
#include <algorithm>

#include "base/check.h"
#include "chunks/core/archive_seek.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

class FuzzedArchive final : public ArchiveBytes {
 public:
  explicit FuzzedArchive(ConstBytes bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<void> read(std::uint64_t offset, MutableBytes into) override {
    GODWIT_CHECK(offset <= bytes_.size() && into.size() <= bytes_.size() - offset);
    std::ranges::copy(bytes_.subspan(offset, into.size()), into.begin());
    return {};
  }

 private:
  ConstBytes bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedArchive archive(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  for (const char* path : {"a", "sub/deep/f1", "f"}) {
    const Result<ArchiveSubtree> found = find_subtree(archive, path);
    if (found) GODWIT_CHECK(found->start < found->end && found->end <= size);
  }
  return 0;
}
