#include "sim/disk_file.h"

#include <gtest/gtest.h>

#include <set>

namespace godwit::sim {
namespace {

constexpr std::uint64_t kSize = 8192;

DiskFile::Change fill(std::uint64_t offset, std::uint64_t length, char with) {
  return {offset, length, Bytes(length, static_cast<std::byte>(with)), false};
}

std::string text(const DiskFile& file, std::uint64_t offset, std::uint64_t length) {
  Bytes bytes(length);
  file.live().read(offset, bytes);
  return std::string(as_text(bytes));
}

// What a power loss may leave of `length` bytes at `offset` after `prepare`.
template <class Prepare>
std::set<std::string> outcomes(Prepare&& prepare, std::uint64_t offset, std::uint64_t length) {
  std::set<std::string> found;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    DiskFile file(kSize);
    file.apply_durably(fill(0, kSize, '.'));
    std::vector<DiskFile::Change> under_way = prepare(file);
    Random random(seed);
    file.lose_power(random, {}, std::move(under_way));
    found.insert(text(file, offset, length));
    EXPECT_EQ(file.count_unsynced(), 0);
  }
  return found;
}

TEST(DiskFile, AWriteWithoutAFlushIsKeptLostOrTornAtSectors) {
  const auto prepare = [](DiskFile& file) -> std::vector<DiskFile::Change> {
    file.apply(fill(100, 1000, 'a'));
    EXPECT_EQ(text(file, 99, 2), ".a");
    return {};
  };
  std::set<std::string> found;
  for (const std::string& outcome : outcomes(prepare, 100, 1000)) {
    // The write touches the sectors [0, 512), [512, 1024) and [1024, 1536).
    const std::string first = outcome.substr(0, 412), second = outcome.substr(412, 512), third = outcome.substr(924);
    for (const std::string& sector : {first, second, third})
      EXPECT_EQ(sector, std::string(sector.size(), sector[0])) << "a sector is whole";
    found.insert({first[0], second[0], third[0]});
  }
  EXPECT_EQ(found.size(), 8) << "every sector on its own";
}

TEST(DiskFile, AFlushedWriteStays) {
  const auto prepare = [](DiskFile& file) -> std::vector<DiskFile::Change> {
    file.apply(fill(0, 512, 'a'));
    const std::uint64_t mark = file.flush_mark();
    file.apply(fill(512, 512, 'b'));
    file.flush(mark);
    return {};
  };
  EXPECT_EQ(outcomes(prepare, 0, 512), (std::set<std::string>{std::string(512, 'a')}));
  EXPECT_EQ(outcomes(prepare, 512, 512), (std::set<std::string>{std::string(512, 'b'), std::string(512, '.')}));
}

TEST(DiskFile, ADurableWriteStaysAlsoWhereOlderOnesWereNotFlushed) {
  const auto prepare = [](DiskFile& file) -> std::vector<DiskFile::Change> {
    file.apply(fill(0, 1536, 'a'));
    file.apply_durably(fill(512, 512, 'b'));
    return {};
  };
  EXPECT_EQ(outcomes(prepare, 512, 512), (std::set<std::string>{std::string(512, 'b')}));
  EXPECT_EQ(outcomes(prepare, 0, 512).size(), 2);
  EXPECT_EQ(outcomes(prepare, 1024, 512).size(), 2);
}

TEST(DiskFile, WhatAFailedFlushCoveredIsNotMadeDurableByTheNext) {
  const auto prepare = [](DiskFile& file) -> std::vector<DiskFile::Change> {
    file.apply(fill(0, 1024, 'a'));
    file.fail_flush(file.flush_mark());
    file.apply(fill(512, 512, 'b'));
    file.flush(file.flush_mark());
    EXPECT_EQ(text(file, 511, 2), "ab");
    return {};
  };
  EXPECT_EQ(outcomes(prepare, 0, 512).size(), 2);
  EXPECT_EQ(outcomes(prepare, 512, 512), (std::set<std::string>{std::string(512, 'b')}));
}

TEST(DiskFile, WhatWasUnderWayMayHaveReachedTheDisk) {
  const auto prepare = [](DiskFile& file) -> std::vector<DiskFile::Change> {
    file.apply_durably(fill(0, 512, 'a'));
    return {fill(0, 512, 'b'), DiskFile::Change{512, 512, {}, false}};
  };
  EXPECT_EQ(outcomes(prepare, 0, 512), (std::set<std::string>{std::string(512, 'a'), std::string(512, 'b')}));
  EXPECT_EQ(outcomes(prepare, 512, 512), (std::set<std::string>{std::string(512, '.'), std::string(512, '\0')}));
}

TEST(DiskFile, UnsyncedWritesStayBounded) {
  DiskFile file(kSize);
  for (int i = 0; i < 20'000; ++i) file.apply(fill(0, 16, 'a'));
  EXPECT_LE(file.count_unsynced(), 5'000);
}

}  // namespace
}  // namespace godwit::sim
