#include "chunks/core/archive_goodbye.h"

#include <gtest/gtest.h>

#include "base/cursor.h"

namespace godwit::chunks {
namespace {

TEST(ArchiveGoodbye, NamesAreHashedAsTheFormatSays) {
  EXPECT_EQ(hash_of_file_name("a"), 0x51ba5a19e058c7ad);
  EXPECT_EQ(hash_of_file_name("hello"), 0xe2e033b44a10af27);
  EXPECT_EQ(hash_of_file_name("f10"), 0xd5326e0a6543166f);
  EXPECT_EQ(hash_of_file_name("ünï"), 0x77b4f2a6bf66b0d9);
}

TEST(ArchiveGoodbye, ItemsStandInTheOrderOfACompleteSearchTree) {
  const std::vector<std::vector<std::size_t>> orders = {
      {}, {0}, {1, 0}, {1, 0, 2}, {2, 1, 3, 0}, {3, 1, 4, 0, 2}, {3, 1, 5, 0, 2, 4}, {}, {}, {}, {6, 3, 8, 1, 5, 7, 9, 0, 2, 4}};
  for (std::size_t count = 0; count < orders.size(); ++count) {
    if (orders[count].size() != count) continue;
    std::vector<ArchiveChild> children;
    for (std::size_t i = 0; i < count; ++i) children.push_back({100 + 10 * i, 110 + 10 * i, 1000 + i});
    std::reverse(children.begin(), children.end());
    Bytes record;
    append_goodbye(record, children, 7, 5000);
    ASSERT_EQ(record.size(), goodbye_size(count));
    for (std::size_t i = 0; i < count; ++i) {
      const GoodbyeItem item =
          decode_goodbye_item(ConstBytes(record).subspan(kRecordHeadSize + i * kGoodbyeItemSize, kGoodbyeItemSize));
      EXPECT_EQ(item.name_hash, 1000 + orders[count][i]) << count << " items, place " << i;
      EXPECT_EQ(item.start_distance, 5000 - (100 + 10 * orders[count][i]));
      EXPECT_EQ(item.size, 10);
    }
    const Result<GoodbyeTail> tail = decode_goodbye_tail(ConstBytes(record).last(kGoodbyeItemSize));
    ASSERT_TRUE(tail) << tail.error().message();
    EXPECT_EQ(tail->entry_distance, 5000 - 7);
    EXPECT_EQ(tail->size, record.size());
  }
}

TEST(ArchiveGoodbye, EveryItemOfATreeOfAnySizeIsFoundByDescent) {
  for (std::size_t count = 1; count < 300; ++count) {
    std::vector<ArchiveChild> children;
    for (std::size_t i = 0; i < count; ++i) children.push_back({10 * i, 10 * i + 10, i});
    Bytes record;
    append_goodbye(record, children, 0, 10 * count);
    for (std::uint64_t wanted = 0; wanted < count; ++wanted) {
      std::size_t place = 0;
      for (;;) {
        ASSERT_LT(place, count) << "item " << wanted << " of " << count;
        const std::uint64_t hash =
            decode_goodbye_item(ConstBytes(record).subspan(kRecordHeadSize + place * kGoodbyeItemSize, kGoodbyeItemSize))
                .name_hash;
        if (hash == wanted) break;
        place = 2 * place + (wanted < hash ? 1 : 2);
      }
    }
  }
}

TEST(ArchiveGoodbye, ATailOfOddSizeOrMarkerIsRefused) {
  struct Row {
    const char* what;
    std::uint64_t size;
    std::uint64_t marker;
  };
  for (const Row& row : {Row{"marker", 40, 1}, Row{"too small", 16, kGoodbyeTailMarker},
                         Row{"no whole items", 41, kGoodbyeTailMarker}, Row{"zero", 0, kGoodbyeTailMarker}}) {
    Bytes tail;
    Writer writer(tail);
    writer.u64_le(0);
    writer.u64_le(row.size);
    writer.u64_le(row.marker);
    const Result<GoodbyeTail> decoded = decode_goodbye_tail(tail);
    ASSERT_FALSE(decoded) << row.what;
    EXPECT_EQ(decoded.error().kind(), ErrorKind::invalid) << row.what;
  }
}

}  // namespace
}  // namespace godwit::chunks
