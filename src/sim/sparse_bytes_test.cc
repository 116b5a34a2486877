#include "sim/sparse_bytes.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit::sim {
namespace {

TEST(SparseBytes, BehaveAsPlainBytesDo) {
  constexpr std::uint64_t kSize = 5 * kPageBytes + 100;
  Random random(7);
  for (int round = 0; round < 50; ++round) {
    SparseBytes sparse, copy;
    Bytes plain(kSize);
    for (int step = 0; step < 30; ++step) {
      const std::uint64_t offset = random.below(kSize);
      const std::uint64_t length = random.below(std::min<std::uint64_t>(kSize - offset, 3 * kPageBytes) + 1);
      if (random.chance(0.5)) {
        Bytes bytes(length, static_cast<std::byte>(random.next()));
        sparse.write(offset, bytes);
        std::copy(bytes.begin(), bytes.end(), plain.begin() + static_cast<std::ptrdiff_t>(offset));
      } else {
        sparse.zero(offset, length, random.chance(0.5));
        std::fill_n(plain.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
      }
    }
    Bytes read(kSize, std::byte{0xee});
    sparse.read(0, read);
    ASSERT_TRUE(read == plain) << round;
    copy.write(0, Bytes(kSize, std::byte{1}));
    copy.copy_range(sparse, 0, kSize);
    copy.read(0, read);
    ASSERT_TRUE(read == plain) << round;
  }
}

TEST(SparseBytes, KnowWhatIsAllocated) {
  SparseBytes sparse;
  const std::uint64_t size = std::uint64_t{1} << 50;
  EXPECT_EQ(sparse.run_at(5, size).end, size);
  sparse.write(10 * kPageBytes + 1, as_bytes("x"));
  sparse.zero(11 * kPageBytes, kPageBytes, true);
  const struct {
    const char* name;
    std::uint64_t at;
    SparseBytes::Kind kind;
    std::uint64_t end;
  } rows[] = {
      {"before", 7, SparseBytes::Kind::hole, 10 * kPageBytes},
      {"data", 10 * kPageBytes, SparseBytes::Kind::data, 11 * kPageBytes},
      {"allocated zeros", 11 * kPageBytes + 5, SparseBytes::Kind::zero, 12 * kPageBytes},
      {"behind", 12 * kPageBytes, SparseBytes::Kind::hole, size},
  };
  for (const auto& row : rows) {
    const SparseBytes::Run run = sparse.run_at(row.at, size);
    EXPECT_EQ(run.kind, row.kind) << row.name;
    EXPECT_EQ(run.end, row.end) << row.name;
  }
  sparse.zero(0, size, false);
  EXPECT_EQ(sparse.allocated_bytes(), 0);
}

}  // namespace
}  // namespace godwit::sim
