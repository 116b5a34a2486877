#include "volume/driver/block_encoder.h"

#include <gtest/gtest.h>

namespace godwit::volume {
namespace {

// The bytes are those of silo.md 10, "WriteAtWithMap".
TEST(BlockEncoder, ABlockWithItsAddressesIsTheOriginalsPacket) {
  net::BufferPool buffers(1 << 20);
  net::Lease data = buffers.lease(2);
  data.bytes()[0] = std::byte{1};
  data.bytes()[1] = std::byte{2};
  AddressMap map(32);
  map.put(9, 16);
  map.put(10, 17);
  const EncodedBlock block = BlockEncoder::encode_mapped(DeviceId{1}, TxId{7}, 512, map, std::move(data));
  EXPECT_EQ(to_hex(block.head),
            "01000000070000001f000000"
            "09"
            "0002000000000000"
            "01000000"
            "09000000000000001000000000000000");
  EXPECT_EQ(to_hex(block.payload), "0102");
}

}  // namespace
}  // namespace godwit::volume
