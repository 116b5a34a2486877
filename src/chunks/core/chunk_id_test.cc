#include "chunks/core/chunk_id.h"

#include <gtest/gtest.h>

using namespace godwit;
using namespace godwit::chunks;

namespace {

constexpr const char* kAbc = "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23";

TEST(ChunkId, IsTheDigestOfTheBytes) {
  EXPECT_EQ(chunk_id_of(as_bytes("abc"), Digest::sha512_256).hex(), kAbc);
  EXPECT_EQ(chunk_id_of({}, Digest::sha512_256).hex(), "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a");
  EXPECT_EQ(chunk_id_of(as_bytes("abc"), Digest::sha256).hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(ChunkId, IsReadOnlyAsItIsWritten) {
  const Result<ChunkId> id = ChunkId::from_hex(kAbc);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->hex(), kAbc);
  const std::string text = kAbc;
  std::string upper = text;
  upper[2] = 'A';
  for (const std::string& bad : {std::string(), text + "0", text.substr(1), upper, " " + text.substr(1), text.substr(1) + "g"}) {
    const Result<ChunkId> refused = ChunkId::from_hex(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().kind(), ErrorKind::invalid);
  }
}

TEST(DigestStream, GivesTheSameForAnySplit) {
  const Bytes data(100'000, std::byte{0});
  for (const Digest digest : {Digest::sha512_256, Digest::sha256}) {
    DigestStream zeros(digest), pieces(digest);
    zeros.update_zeros(data.size());
    pieces.update(ConstBytes(data).first(1));
    pieces.update({});
    pieces.update(ConstBytes(data).subspan(1));
    EXPECT_EQ(zeros.finish(), chunk_id_of(data, digest));
    EXPECT_EQ(pieces.finish(), chunk_id_of(data, digest));
  }
}

TEST(Digest, IsNamedByAFlagAndByAWord) {
  EXPECT_EQ(digest_of(kDefaultBlobFlags), Digest::sha512_256);
  EXPECT_EQ(with_digest(kDefaultBlobFlags, Digest::sha256), 0x9000000000000000);
  EXPECT_EQ(digest_of(with_digest(kDefaultBlobFlags, Digest::sha256)), Digest::sha256);
  EXPECT_EQ(digest_of_name("sha256").value(), Digest::sha256);
  EXPECT_EQ(digest_of_name("sha512-256").value(), Digest::sha512_256);
  EXPECT_EQ(digest_of_name("md5").error().kind(), ErrorKind::usage);
}

}  // namespace
