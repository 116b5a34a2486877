#include "chunks/core/chunk_digest.h"

#include <algorithm>
#include <iostream>

#include <gtest/gtest.h>

#include "chunks/core/golden_inputs.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

void expect_same_as_openssl(const std::vector<ConstBytes>& chunks) {
  for (const Digest digest : {Digest::sha512_256, Digest::sha256}) {
    for (const DigestVariant variant : digest_variants()) {
      std::vector<ChunkId> ids(chunks.size());
      chunk_ids_of(chunks, digest, ids, variant);
      for (std::size_t i = 0; i < chunks.size(); ++i)
        EXPECT_EQ(ids[i], chunk_id_of(chunks[i], digest))
            << name_of(variant) << ": chunk " << i << " of " << chunks[i].size() << " bytes";
    }
  }
}

TEST(ChunkDigest, EveryVariantOfThisProcessorAgreesWithOpenSslAtEveryLength) {
  if (std::ranges::find(digest_variants(), DigestVariant::avx512) == digest_variants().end())
    std::cout << "this processor has no AVX-512: its variant is not tested here\n";
  const Bytes data = golden::random_bytes(41, 700);
  std::vector<ConstBytes> chunks;
  for (std::size_t size = 0; size <= 700; ++size) chunks.push_back(ConstBytes(data).first(size));
  expect_same_as_openssl(chunks);
}

TEST(ChunkDigest, ChunksOfAnyCountAndSizeKeepTheirOrder) {
  const Bytes data = golden::random_bytes(42, 100'000);
  Random random(43);
  for (std::size_t count = 0; count <= 40; ++count) {
    std::vector<ConstBytes> chunks;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t size = random.below(i % 3 == 0 ? 300 : 30'000);
      chunks.push_back(ConstBytes(data).subspan(random.below(data.size() - size), size));
    }
    expect_same_as_openssl(chunks);
  }
}

}  // namespace
