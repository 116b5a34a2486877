#include "sim/stamp.h"

#include <gtest/gtest.h>

namespace godwit::sim {
namespace {

Bytes stamped(std::uint32_t writer, std::uint64_t sequence, std::uint64_t block) {
  Bytes bytes(4096);
  put_stamp({writer, sequence, block}, bytes);
  return bytes;
}

void mix(Bytes& into, std::size_t from_sector, const Bytes& other) {
  std::copy(other.begin() + static_cast<std::ptrdiff_t>(from_sector * 512), other.end(),
            into.begin() + static_cast<std::ptrdiff_t>(from_sector * 512));
}

TEST(Stamp, TellsWholeBlocksFromTornOnes) {
  EXPECT_EQ(*find_sequences(stamped(1, 7, 3), 1, 3), std::vector<std::uint64_t>{7});
  EXPECT_EQ(*find_sequences(Bytes(4096), 1, 3), std::vector<std::uint64_t>{0});
  Bytes torn = stamped(1, 7, 3);
  mix(torn, 2, stamped(1, 6, 3));
  mix(torn, 5, Bytes(4096));
  EXPECT_EQ(*find_sequences(torn, 1, 3), (std::vector<std::uint64_t>{7, 6, 0}));
}

TEST(Stamp, RefusesWhatDoesNotBelongThere) {
  Bytes flipped = stamped(1, 7, 3);
  flipped[3000] ^= std::byte{1};
  Bytes shifted = stamped(1, 7, 3);
  std::copy(shifted.begin(), shifted.begin() + 512, shifted.begin() + 512);
  const struct {
    const char* name;
    Bytes bytes;
  } rows[] = {{"another writer's", stamped(2, 7, 3)},
              {"another block", stamped(1, 7, 4)},
              {"a flipped bit", flipped},
              {"a sector in another's place", shifted},
              {"garbage", Bytes(4096, std::byte{0x55})}};
  for (const auto& row : rows) {
    const auto found = find_sequences(row.bytes, 1, 3);
    ASSERT_FALSE(found) << row.name;
    EXPECT_EQ(found.error().kind(), ErrorKind::corrupt) << row.name;
  }
}

}  // namespace
}  // namespace godwit::sim
