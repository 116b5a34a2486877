// Any bytes as a bitmap file and as a list: refused, or a set that encodes to the same again.
#include "base/check.h"
#include "store/overlay_bitmap.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  const ConstBytes file(reinterpret_cast<const std::byte*>(data), size);
  constexpr store::OverlayGeometry kGeometry{200'000, 65536};
  if (auto blocks = store::decode_overlay_bitmap(kGeometry, file))
    GODWIT_CHECK(store::encode_overlay_bitmap(kGeometry, *blocks) == to_bytes(file));
  if (auto blocks = store::decode_block_list(kGeometry, file))
    GODWIT_CHECK(store::decode_block_list(kGeometry, store::encode_block_list(*blocks).value()).value() == *blocks);
  return 0;
}
