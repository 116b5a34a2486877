#include "chunks/driver/remote_chunk.h"

#include <gtest/gtest.h>

#include "chunks/core/golden_inputs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

constexpr std::uint64_t kSizeMax = 100'000;

Bytes encoded(Compression compression, ConstBytes data) {
  Bytes out;
  GODWIT_CHECK(ChunkEncoder::of(compression, std::nullopt).value().encode(data, out));
  return out;
}

TEST(ChunkVerifier, GivesOnlyWhatTheIdSaysWhateverTheDigest) {
  const Bytes data = golden::text(71, 50'000);
  Bytes changed = data;
  changed[40'000] ^= std::byte{1};
  for (const Compression compression : {Compression::none, Compression::zstd, Compression::xz, Compression::gzip}) {
    for (const Digest digest : {Digest::sha512_256, Digest::sha256}) {
      SCOPED_TRACE(std::string(name_of(compression)) + " " + std::string(name_of(digest)));
      const bool is_compressed = compression != Compression::none;
      const ChunkId id = chunk_id_of(data, digest);
      const Bytes good = encoded(compression, data);
      const Bytes bad = encoded(compression, changed);
      ChunkVerifier verifier;
      // One that may learn which digest it is, and forget it again.
      for (const Digest before : {Digest::sha512_256, Digest::sha256}) {
        ASSERT_TRUE(verifier.open(chunk_id_of(data, before), good, is_compressed, kSizeMax));
        EXPECT_EQ(verifier.open(id, good, is_compressed, kSizeMax).value(), data);
        for (const Result<Bytes>& refused :
             {verifier.open(id, bad, is_compressed, kSizeMax), verifier.open(id, digest, bad, is_compressed, kSizeMax),
              verifier.open(id, other_than(digest), good, is_compressed, kSizeMax)}) {
          ASSERT_FALSE(refused);
          EXPECT_EQ(refused.error().kind(), ErrorKind::corrupt);
          EXPECT_NE(refused.error().message().find(id.hex()), std::string::npos) << refused.error().message();
        }
      }
      EXPECT_EQ(verifier.open(id, digest, good, is_compressed, kSizeMax).value(), data);
      EXPECT_FALSE(verifier.open(id, digest, good, is_compressed, data.size() - 1)) << "more than there may be";
      EXPECT_FALSE(verifier.open(id, good, is_compressed, data.size() - 1)) << "more than there may be";
      EXPECT_FALSE(verifier.open(id, digest, ConstBytes(good).first(good.size() - 1), is_compressed, kSizeMax)) << "cut off";
    }
  }
}

}  // namespace
