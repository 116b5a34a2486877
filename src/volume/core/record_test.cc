#include "volume/core/record.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/cursor.h"
#include "base/random.h"
#include "volume/core/counted_ids_test.h"

namespace godwit::volume {
namespace {

constexpr std::size_t kSectorSize = 512;
constexpr std::size_t kChecksumAt = kRecordSlotSize - 4;

Record disk() {
  Record record;
  record.gen = 1;
  record.volume = counted<VolumeId>(0x10);
  record.copy = counted<CopyId>(0x20);
  record.geometry = {.size_bytes = 4096, .block_size_bytes = 1024};
  record.host = counted<HostId>(0xa0);
  record.state = CopyState::owned;
  record.chain.add(OwnershipKind::created, counted<HandoverId>(0x30), record.host);
  record.data_name = "disk";
  return record;
}

Record full(Random& random) {
  Record record = disk();
  record.gen = ~std::uint64_t{0};
  record.state = CopyState::ready;
  record.chain = {};
  for (std::size_t i = 0; i < kChainEntriesMax; ++i) {
    record.chain.add(OwnershipKind::adopted, HandoverId::random(random), HostId::random(random));
    record.chain.over.push_back(HandoverId::random(random));
    record.words.push_back({HostId::random(random), Boot{random.next()}, random.next()});
    record.declined.push_back({HandoverId::random(random), random.chance(0.5)});
  }
  record.h = HandoverId::random(random);
  record.peer = Peer{HostId::random(random), std::string(255, 'n'), std::string(255, 'a')};
  record.reserved = Record::Reserved{CopyId::random(random), HostId::random(random)};
  record.untold = record.heard = record.relaying = true;
  record.data_name = std::string(255, 'd');
  record.kind = Record::Kind::block_device;
  return record;
}

// The file after `record` was written over what was there.
void write_slot(Bytes& file, const Record& record) {
  const Bytes slot = encode_slot(record);
  std::copy(slot.begin(), slot.end(), file.begin() + static_cast<std::ptrdiff_t>(slot_offset(record.gen)));
}

void fix_checksum(Bytes& slot) {
  const std::uint32_t sum = crc32c(ConstBytes(slot).first(kChecksumAt));
  std::memcpy(slot.data() + kChecksumAt, &sum, sizeof sum);
}

Bytes sample_file() {
  std::ifstream in(GODWIT_TESTDATA "/disk.own", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return to_bytes(as_bytes(text));
}

TEST(Record, WhatIsWrittenIsRead) {
  const Record record = disk();
  const Bytes slot = encode_slot(record);
  EXPECT_EQ(slot.size(), kRecordSlotSize);
  const Result<Record> read = decode_slot(slot);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, record);
}

TEST(Record, EverythingAtItsMaximumFitsASlot) {
  Random random(7);
  const Record record = full(random);
  const Result<Record> read = decode_slot(encode_slot(record));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, record);
}

TEST(Record, EveryStateKindAndFlagIsKept) {
  for (const CopyState state :
       {CopyState::receiving, CopyState::ready, CopyState::owned, CopyState::relinquished, CopyState::split, CopyState::gone}) {
    for (const Record::Kind kind : {Record::Kind::file, Record::Kind::overlay, Record::Kind::block_device}) {
      for (unsigned flags = 0; flags < 8; ++flags) {
        Record record = disk();
        record.state = state;
        record.kind = kind;
        record.h = counted<HandoverId>(0x40);
        record.untold = (flags & 1) != 0;
        record.heard = (flags & 2) != 0;
        record.relaying = (flags & 4) != 0;
        const Result<Record> read = decode_slot(encode_slot(record));
        ASSERT_TRUE(read) << read.error().message();
        EXPECT_EQ(*read, record);
      }
    }
  }
}

TEST(Record, TheSampleOfVersionOneIsReadAndWrittenToTheSameBytes) {
  const Bytes file = sample_file();
  ASSERT_EQ(file.size(), kRecordFileSize);
  const Result<Record> read = decode_record_file(file);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, disk());
  Bytes written(kRecordFileSize);
  write_slot(written, disk());
  EXPECT_TRUE(written == file);
}

TEST(RecordFile, TheHigherGenerationCounts) {
  Bytes file(kRecordFileSize);
  Record record = disk();
  for (std::uint64_t gen = 1; gen < 6; ++gen) {
    record.gen = gen;
    write_slot(file, record);
    const Result<Record> read = decode_record_file(file);
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->gen, gen);
  }
}

TEST(RecordFile, AWriteNeverTouchesTheGenerationBefore) {
  for (const std::uint64_t gen : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{77}, ~std::uint64_t{0}})
    EXPECT_NE(slot_offset(gen), slot_offset(gen - 1));
}

TEST(RecordFile, AWriteTornAtAnySectorLeavesTheRecordBefore) {
  Random random(3);
  Record before = full(random), after = full(random);
  before.gen = 10;
  after.gen = 12;
  Record kept = disk();
  kept.gen = 11;
  const Bytes old_slot = encode_slot(before), new_slot = encode_slot(after);
  for (std::size_t torn = 0; torn <= kRecordSlotSize; torn += kSectorSize) {
    for (const bool head_is_new : {true, false}) {
      Bytes file(kRecordFileSize);
      write_slot(file, before);
      write_slot(file, kept);
      const Bytes& first = head_is_new ? new_slot : old_slot;
      const Bytes& second = head_is_new ? old_slot : new_slot;
      std::copy(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(torn), file.begin());
      std::copy(second.begin() + static_cast<std::ptrdiff_t>(torn), second.end(),
                file.begin() + static_cast<std::ptrdiff_t>(torn));
      const bool complete = head_is_new ? torn == kRecordSlotSize : torn == 0;
      const Result<Record> read = decode_record_file(file);
      ASSERT_TRUE(read) << torn << ": " << read.error().message();
      EXPECT_EQ(*read, complete ? after : kept) << torn;
    }
  }
}

TEST(RecordFile, AnyFlippedBitMakesItsSlotUnreadable) {
  const Bytes slot = encode_slot(disk());
  Random random(5);
  for (int i = 0; i < 2000; ++i) {
    Bytes broken = slot;
    broken[random.below(broken.size())] ^= static_cast<std::byte>(1U << random.below(8));
    EXPECT_FALSE(decode_slot(broken));
  }
}

TEST(RecordFile, BothSlotsBadIsRefusedAndNeverGuessed) {
  Bytes file(kRecordFileSize);
  Record record = disk();
  write_slot(file, record);
  record.gen = 2;
  write_slot(file, record);
  file[100] ^= std::byte{1};
  ASSERT_TRUE(decode_record_file(file));
  file[kRecordSlotSize + 100] ^= std::byte{1};
  const Result<Record> read = decode_record_file(file);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::corrupt);
}

TEST(RecordFile, AFileOfAnotherSizeIsRefused) {
  const Bytes file = sample_file();
  for (const std::size_t size : {std::size_t{0}, kRecordSlotSize, kRecordFileSize - 1}) {
    const Result<Record> read = decode_record_file(ConstBytes(file).first(size));
    ASSERT_FALSE(read) << size;
    EXPECT_EQ(read.error().kind(), ErrorKind::corrupt);
  }
  Bytes longer = file;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(decode_record_file(longer));
}

TEST(RecordFile, ASlotInTheOtherOnesPlaceDoesNotCount) {
  Bytes file(kRecordFileSize);
  const Bytes slot = encode_slot(disk());  // generation 1 belongs into the second
  std::copy(slot.begin(), slot.end(), file.begin());
  EXPECT_FALSE(decode_record_file(file));
}

TEST(RecordFile, ANewerVersionIsRefusedByNameAlsoBesideAnOlderSlot) {
  for (const std::uint64_t gen : {std::uint64_t{2}, std::uint64_t{3}}) {
    Record record = disk();
    Bytes file(kRecordFileSize);
    record.gen = gen - 1;
    write_slot(file, record);
    record.gen = gen;
    Bytes newer = encode_slot(record);
    newer[8] = std::byte{9};
    fix_checksum(newer);
    const auto place = static_cast<std::ptrdiff_t>(slot_offset(gen));
    std::copy(newer.begin(), newer.end(), file.begin() + place);
    const Result<Record> read = decode_record_file(file);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::unsupported);
    EXPECT_NE(read.error().message().find("version 9"), std::string::npos) << read.error().message();

    file[static_cast<std::size_t>(place) + 200] ^= std::byte{1};  // torn while it was written: the older slot is what was durable
    const Result<Record> older = decode_record_file(file);
    ASSERT_TRUE(older);
    EXPECT_EQ(older->gen, gen - 1);
  }
}

// Slots whose checksum is right and whose content is not.
TEST(Record, ASlotThatSaysWhatNoRecordCanSayIsCorrupt) {
  struct Row {
    std::string name;
    std::size_t offset;  // within the slot of disk()
    std::vector<int> bytes;
  };
  constexpr std::size_t kFields = 24;
  constexpr std::size_t kGeometry = kFields + 22 + 22;
  constexpr std::size_t kState = kGeometry + 18 + 22;
  constexpr std::size_t kChain = kState + 7;
  constexpr std::size_t kWords = kChain + 6 + 45;
  constexpr std::size_t kFlags = kWords + 6 + 6;
  constexpr std::size_t kKind = kFlags + 7 + 10;
  const Row rows[] = {
      {"wrong magic", 0, {'g'}},
      {"version 0", 8, {0}},
      {"fields longer than the slot", 12, {0xff, 0xff}},
      {"fields cut off", 12, {0xb1}},
      {"bytes behind the fields", 12, {0xb3}},
      {"an unknown field", kFields, {0x63}},
      {"a field twice", kFields, {2}},
      {"a needed field missing", kKind, {7, 0}},
      {"a field of another size", kFields + 2, {15}},
      {"size 0", kGeometry + 6, {0, 0, 0, 0, 0, 0, 0, 0}},
      {"block size 0", kGeometry + 14, {0, 0, 0, 0}},
      {"no state", kState + 6, {0}},
      {"an unknown state", kState + 6, {7}},
      {"READY without an attempt", kState + 6, {2}},
      {"an ownership of unknown kind", kChain + 6 + 2 + 8, {6}},
      {"an ownership of kind 0", kChain + 6 + 2 + 8, {0}},
      {"a chain with too many entries", kChain + 6, {65}},
      {"a chain with an entry that is not there", kChain + 6, {2}},
      {"an unknown flag", kFlags + 6, {8}},
      {"an unknown kind", kKind + 6, {3}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Bytes slot = encode_slot(disk());
    for (std::size_t i = 0; i < row.bytes.size(); ++i) slot[row.offset + i] = static_cast<std::byte>(row.bytes[i]);
    fix_checksum(slot);
    const Result<Record> read = decode_slot(slot);
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().kind(), ErrorKind::corrupt) << read.error().message();
  }
}

TEST(Record, ASlotOfAnotherSizeIsCorrupt) {
  const Bytes slot = encode_slot(disk());
  EXPECT_FALSE(decode_slot(ConstBytes(slot).first(slot.size() - 1)));
  EXPECT_FALSE(decode_slot({}));
}

// What we ourselves must not write is our own bug.
TEST(RecordDeathTest, WhatCouldNotBeReadAgainIsNotWritten) {
  Record long_name = disk(), stateless = disk(), sizeless = disk(), ready = disk(), many_words = disk(), many_declined = disk();
  long_name.data_name = std::string(256, 'd');
  stateless.state = CopyState::none;
  sizeless.geometry.size_bytes = 0;
  ready.state = CopyState::ready;
  many_words.words.resize(kWordsMax + 1);
  many_declined.declined.resize(kDeclinedMax + 1);
  for (const Record& record : {long_name, stateless, sizeless, ready, many_words, many_declined})
    EXPECT_DEATH((void)encode_slot(record), "check failed");
}

TEST(Declined, AbortedAttemptsMakeRoomFirstAndTheNewestIsAlwaysKept) {
  Random random(11);
  Record record;
  std::vector<HandoverId> attempts;
  for (std::size_t i = 0; i < kDeclinedMax; ++i) {
    attempts.push_back(HandoverId::random(random));
    record.decline(attempts.back(), i == 5 || i == 9);
  }
  const HandoverId first = HandoverId::random(random), second = HandoverId::random(random), third = HandoverId::random(random);
  record.decline(first, false);
  EXPECT_FALSE(record.has_declined(attempts[5]));
  EXPECT_TRUE(record.has_declined(attempts[9]));
  record.decline(second, false);
  EXPECT_FALSE(record.has_declined(attempts[9]));
  EXPECT_TRUE(record.has_declined(attempts[0]));
  record.decline(third, true);
  EXPECT_FALSE(record.has_declined(attempts[0]));
  EXPECT_TRUE(record.has_declined(third));
  EXPECT_EQ(record.declined.size(), kDeclinedMax);
}

TEST(Declined, AnAttemptIsNotedOnceAndWithItsStrongerEnd) {
  Record record;
  const HandoverId attempt = counted<HandoverId>(1);
  record.decline(attempt, true);
  EXPECT_TRUE(record.declined.at(0).aborted);
  record.decline(attempt, false);
  EXPECT_FALSE(record.declined.at(0).aborted);
  record.decline(attempt, true);
  EXPECT_FALSE(record.declined.at(0).aborted);
  EXPECT_EQ(record.declined.size(), 1U);
}

}  // namespace
}  // namespace godwit::volume
