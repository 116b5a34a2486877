#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit {
namespace {

// FIPS 180-4's examples and the usual ones.
TEST(Sha256, KnownInputsHaveKnownDigests) {
  const std::pair<std::string, std::string> rows[] = {
      {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
      {"hello", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
      {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
       "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
      {std::string(1000000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
  };
  for (const auto& [text, digest] : rows) EXPECT_EQ(to_hex(sha256(as_bytes(text))), digest);
}

TEST(Sha256, AStreamInAnyPiecesGivesTheDigestOfTheWhole) {
  Random random(1);
  Bytes data(5000);
  for (std::byte& b : data) b = static_cast<std::byte>(random.next());
  for (int round = 0; round < 50; ++round) {
    Sha256Stream stream;
    std::size_t at = 0;
    while (at < data.size()) {
      const std::size_t piece = std::min<std::size_t>(data.size() - at, random.below(300));
      stream.update(ConstBytes(data).subspan(at, piece));
      at += piece;
    }
    EXPECT_EQ(stream.finish(), sha256(data));
  }
}

// RFC 3720, B.4, and the check value of the usual catalogues.
TEST(Crc32c, KnownInputsHaveKnownSums) {
  EXPECT_EQ(crc32c({}), 0U);
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c(Bytes(32)), 0x8A9136AAU);
  EXPECT_EQ(crc32c(Bytes(32, std::byte{0xff})), 0x62A8AB43U);
  Bytes up(32), down(32);
  for (std::size_t i = 0; i < 32; ++i) {
    up[i] = static_cast<std::byte>(i);
    down[i] = static_cast<std::byte>(31 - i);
  }
  EXPECT_EQ(crc32c(up), 0x46DD794EU);
  EXPECT_EQ(crc32c(down), 0x113FDB5CU);
}

}  // namespace
}  // namespace godwit
