// The destination's half of a connection without a driver: facts in, work out.
#include "volume/core/destination_session.h"

#include <gtest/gtest.h>

#include "base/cursor.h"

namespace godwit::volume {
namespace {

constexpr std::uint32_t kBlock = 1024;
constexpr std::uint64_t kSize = 10 * kBlock - 24;  // the last block is short
constexpr DeviceId kDevice{1};

DeviceGroupInfo group_of(std::uint64_t size = kSize) {
  return {{{kDevice, DevInfo{size, kBlock, "disk", "schema"}}}};
}

class Driver {
 public:
  explicit Driver(DestinationConfig config = {}) : session(config), cache(Geometry{kSize, kBlock}) {}

  void open(Admission admission = Admission::store) {
    give(kControlDevice, group_of());
    session.handle_device_opened(kDevice, &cache, admission);
    take_all();
    taken.clear();
  }
  TxId give(DeviceId device, const Packet& packet, PayloadToken payload = 0) {
    Bytes frame;
    encode_frame(device, TxId{++tx}, packet, frame);
    bodies.push_back(to_bytes(ConstBytes(frame).subspan(kFrameHeaderSize)));
    session.handle_packet({device, TxId{tx}, static_cast<std::uint32_t>(bodies.back().size())},
                          decode_packet(bodies.back()).value(), payload, bodies.back().size());
    return TxId{tx};
  }
  TxId give(const Packet& packet) { return give(kDevice, packet); }
  // A body as it came, through the codec.
  void give_body(Bytes body) {
    const FrameHeader header{kDevice, TxId{++tx}, static_cast<std::uint32_t>(body.size())};
    bodies.push_back(std::move(body));
    Result<Packet> packet = decode_packet(bodies.back());
    if (packet)
      session.handle_packet(header, std::move(*packet), 0, bodies.back().size());
    else
      session.handle_malformed(header, bodies.back(), packet.error());
  }
  TxId write(std::uint64_t block, std::uint32_t length = kBlock) {
    data.resize(length, std::byte{7});
    return give(WriteData{WriteForm::raw, static_cast<std::int64_t>(block * kBlock), 0, ConstBytes(data).first(length)});
  }
  void take_all() {
    while (std::optional<DestinationWork> work = session.poll_work()) taken.push_back(std::move(*work));
  }
  template <class T>
  std::vector<T> all() {
    take_all();
    std::vector<T> found;
    for (const DestinationWork& work : taken)
      if (const T* one = std::get_if<T>(&work)) found.push_back(*one);
    return found;
  }
  template <class T>
  std::vector<T> next() {
    taken.clear();
    return all<T>();
  }
  std::string answers() {  // types of the responses, in order
    std::string text;
    for (const Respond& r : all<Respond>()) text += (text.empty() ? "" : " ") + to_hex(Bytes{static_cast<std::byte>(r.type)});
    return text;
  }
  std::string closed() { return all<CloseSession>().empty() ? "" : all<CloseSession>().front().reason; }

  DestinationSession session;
  WaitingCache cache;
  std::uint32_t tx = 100;
  std::deque<Bytes> bodies;
  Bytes data = Bytes(kBlock, std::byte{7});
  std::vector<DestinationWork> taken;
};

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

// silo.md 9, row by row, for a device of 10 blocks of 1024 bytes, the last of 1000.
TEST(DestinationSession, WhatIsMalformedIsRefusedOrEndsTheConnectionButNeverStored) {
  struct Row {
    const char* name;
    Bytes body;
    const char* answers;
    bool closes;
  };
  const Row rows[] = {
      {"unknown request", hex("7f 00"), "", false},
      {"unknown response", hex("ff"), "", false},
      {"an answer to nothing", hex("83 00040000"), "", false},
      {"unknown event", hex("07 09"), "85", false},
      {"unknown WriteAt sub-type", hex("02 09 0000000000000000 00"), "84", false},
      {"WriteAt cut short", hex("02 00 00000000"), "84", false},
      {"WriteAt without a sub-type", hex("02"), "84", false},
      {"by hash, cut short", hex("02 01 01 0000000000000000 0004000000000000 1122"), "84", false},
      {"RLE of nothing to repeat", hex("02 02 0000000000000000 0d"), "84", false},
      {"gzip that is none", hex("02 04 0000000000000000 010203"), "84", false},
      {"zeroes with a range past its end", hex("02 05 0000000000000000 0400000000000000 06 0401020304"), "84", false},
      {"zeroes beyond any bound", hex("02 05 0000000000000000 ffffffffffffff7f"), "84", false},
      {"zeroes past the device's end", hex("02 05 0000000000000000 0028000000000000"), "84", false},
      {"raw at a negative offset", hex("02 00 ffffffffffffffff 01"), "84", false},
      {"raw past the device's end", hex("02 00 e827000000000000 01"), "84", false},
      {"raw whose end overflows", hex("02 00 ffffffffffffff7f 01"), "84", false},
      {"by hash past the end", hex("02 01 01 0028000000000000 0004000000000000" + std::string(64, '0')), "84", false},
      {"by hash of more than a block", hex("02 01 01 0000000000000000 0008000000000000" + std::string(64, '0')), "84", false},
      {"by hash between blocks", hex("02 01 01 0100000000000000 0004000000000000" + std::string(64, '0')), "84", false},
      {"by hash of nothing", hex("02 01 01 0000000000000000 0000000000000000" + std::string(64, '0')), "84", false},
      {"you-already-have that lies about its count", hex("02 03 0004000000000000 ffffffff 00000000"), "84", false},
      {"you-already-have of a block that is not there", hex("02 03 0004000000000000 01000000 0a000000"), "", true},
      {"you-already-have with another block size", hex("02 03 0008000000000000 01000000 00000000"), "", true},
      {"DirtyList cut short", hex("05 00040000"), "", true},
      {"DirtyList that lies about its count", hex("05 00040000 ffffffff 00000000"), "", true},
      {"DirtyList of a block that is not there", hex("05 00040000 01000000 0a000000"), "", true},
      {"DirtyList with another block size", hex("05 00080000 01000000 00000000"), "", true},
      {"DirtyList with trailing bytes", hex("05 00040000 01000000 00000000 ff"), "87", false},
      {"hash of a block that is not there", hex("08 0a000000" + std::string(64, '0')), "", true},
      {"ReadAt cut short", hex("01 00"), "82", false},
      {"ReadAt of a negative length", hex("01 0000000000000000 ffffffff"), "82", false},
      {"ReadAt, refused by a waiting cache", hex("01 0000000000000000 00040000"), "82", false},
      {"ReadByHash to a destination", hex("0e" + std::string(64, '0')), "", false},
      {"mapped write past the end", hex("09 e827000000000000 00000000 01"), "84", false},
      {"mapped write that lies about its count", hex("09 0000000000000000 ffffffff 01"), "84", false},
      {"event cut short", hex("07"), "", true},
      {"a second, other group", hex("0d"), "", false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Driver driver;
    driver.open();
    driver.give_body(row.body);
    EXPECT_EQ(driver.answers(), row.answers);
    EXPECT_EQ(!driver.closed().empty(), row.closes) << driver.closed();
    EXPECT_TRUE(driver.all<StoreData>().empty());
    EXPECT_EQ(driver.cache.present_count(), 0u);
    EXPECT_EQ(driver.session.wants_input(), !row.closes);
  }
}

TEST(DestinationSession, DevicesThatCanNotBeAreRefused) {
  const auto entry = [](std::uint32_t id, DevInfo info) { return DeviceGroupInfo::Entry{DeviceId{id}, std::move(info)}; };
  struct Row {
    const char* name;
    DeviceGroupInfo group;
  };
  const Row rows[] = {
      {"no devices", {}},
      {"size 0", {{entry(1, {0, kBlock, "a", ""})}}},
      {"block size 0", {{entry(1, {kSize, 0, "a", ""})}}},
      {"blocks too large", {{entry(1, {kSize, 1u << 30, "a", ""})}}},
      {"a size past all arithmetic", {{entry(1, {~0ull, kBlock, "a", ""})}}},
      {"more blocks than a number names", {{entry(1, {1ull << 40, 1, "a", ""})}}},
      {"a name twice", {{entry(1, {kSize, kBlock, "a", ""}), entry(2, {kSize, kBlock, "a", ""})}}},
      {"an id twice", {{entry(1, {kSize, kBlock, "a", ""}), entry(1, {kSize, kBlock, "b", ""})}}},
      {"the control channel's number", {{entry(0, {kSize, kBlock, "a", ""})}}},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    Driver driver;
    driver.session.handle_packet({kControlDevice, TxId{1}, 1}, row.group, 0, 1);
    EXPECT_FALSE(driver.closed().empty());
    EXPECT_TRUE(driver.all<OpenDevices>().empty());
  }
}

TEST(DestinationSession, ASecondAnnouncementIsIgnoredWhenItSaysTheSameAndElseEndsTheConnection) {
  Driver same;
  same.open();
  same.give(kControlDevice, group_of());
  EXPECT_TRUE(same.closed().empty());
  EXPECT_TRUE(same.all<OpenDevices>().empty());
  Driver other;
  other.open();
  other.give(kControlDevice, group_of(kSize + 1));
  EXPECT_FALSE(other.closed().empty());
  Driver lone;
  lone.give(DevInfo{kSize, kBlock, "disk", ""});
  EXPECT_EQ(lone.all<OpenDevices>().size(), 1u);
  lone.session.handle_device_opened(kDevice, &lone.cache, Admission::store);
  lone.give(DevInfo{kSize, kBlock, "disk", ""});
  EXPECT_TRUE(lone.closed().empty());
  lone.give(DevInfo{kSize, kBlock, "desk", ""});
  EXPECT_FALSE(lone.closed().empty());
}

TEST(DestinationSession, FramesForADeviceNotAnnouncedYetWaitInTheirOrderBeforeLaterOnes) {
  Driver driver;
  const TxId first = driver.write(0);
  const TxId second = driver.write(1);
  driver.give(kControlDevice, group_of());
  const TxId third = driver.write(2);
  EXPECT_FALSE(driver.session.wants_input()) << "one waits for the device to be opened";
  EXPECT_TRUE(driver.all<StoreData>().empty());
  driver.session.handle_device_opened(kDevice, &driver.cache, Admission::store);
  const std::vector<StoreData> stores = driver.all<StoreData>();
  ASSERT_EQ(stores.size(), 3u);
  EXPECT_EQ(stores[0].tx, first);
  EXPECT_EQ(stores[1].tx, second);
  EXPECT_EQ(stores[2].tx, third);
  EXPECT_TRUE(driver.session.wants_input());
}

TEST(DestinationSession, TooMuchForDevicesNeverAnnouncedEndsTheConnection) {
  DestinationConfig config;
  config.early_bytes_max = 8 * kBlock;
  Driver driver(config);
  for (int i = 0; i < 4; ++i) driver.write(0);
  EXPECT_TRUE(driver.closed().empty());
  for (int i = 0; i < 8; ++i) driver.write(0);
  EXPECT_FALSE(driver.closed().empty());
}

TEST(DestinationSession, DataBeforeAcceptEndsTheConnectionAndDataForAnOwnerIsRefused) {
  Driver early;
  early.open(Admission::not_accepted);
  early.write(0);
  EXPECT_FALSE(early.closed().empty());
  Driver owner;
  owner.open(Admission::owned);
  owner.write(0);
  EXPECT_EQ(owner.answers(), "84");
  EXPECT_TRUE(owner.closed().empty());
  owner.give(DirtyList{kBlock, {1}});
  EXPECT_FALSE(owner.closed().empty());
}

TEST(DestinationSession, WhatComesWhileARecordIsWrittenIsHeldAndThenDoneInOrder) {
  Driver driver;
  driver.open(Admission::hold);
  const TxId first = driver.write(0);
  driver.give(DirtyList{kBlock, {3}});
  EXPECT_EQ(driver.answers(), "");
  EXPECT_FALSE(driver.session.wants_input());
  driver.session.set_admission(kDevice, Admission::store);
  EXPECT_EQ(driver.all<StoreData>().front().tx, first);
  EXPECT_EQ(driver.answers(), "87");
  EXPECT_TRUE(driver.session.wants_input());
}

TEST(DestinationSession, ADeviceWithTooMuchInFlightIsNotReadFrom) {
  DestinationConfig config;
  config.stores_in_flight_max = 2;
  Driver driver(config);
  driver.open();
  const TxId first = driver.write(0);
  EXPECT_TRUE(driver.session.wants_input());
  driver.write(1);
  EXPECT_FALSE(driver.session.wants_input());
  driver.session.handle_stored(kDevice, first, true);
  EXPECT_TRUE(driver.session.wants_input());
}

TEST(DestinationSession, AWriteWaitsForAnEarlierOneOfTheSameBytes) {
  Driver driver;
  driver.open();
  const TxId first = driver.write(2);
  const TxId again = driver.write(2);
  ASSERT_EQ(driver.all<StoreData>().size(), 1u);
  EXPECT_FALSE(driver.session.wants_input());
  driver.session.handle_stored(kDevice, first, true);
  ASSERT_EQ(driver.all<StoreData>().size(), 2u);
  EXPECT_EQ(driver.all<StoreData>().back().tx, again);
  driver.session.handle_stored(kDevice, again, true);
  EXPECT_EQ(driver.answers(), "83 83");
}

TEST(DestinationSession, ADirtyListMakesAStoreUnderWayCountForNothing) {
  Driver driver;
  driver.open();
  const TxId tx = driver.write(2);
  driver.give(DirtyList{kBlock, {2}});
  driver.session.handle_stored(kDevice, tx, true);
  EXPECT_EQ(driver.answers(), "87 83");
  EXPECT_FALSE(driver.cache.is_present(BlockIndex{2}));
}

TEST(DestinationSession, BlocksWrittenHereStayThroughDirtyLists) {
  Driver driver;
  driver.open();
  driver.cache.note_local_write(2 * kBlock, kBlock);
  driver.give(DirtyList{kBlock, {2}});
  EXPECT_TRUE(driver.cache.is_present(BlockIndex{2}));
  EXPECT_FALSE(driver.session.may_place(kDevice, 2 * kBlock, kBlock)) << "ours are newer";
}

TEST(DestinationSession, ARawWriteIsReceivedIntoPlaceOnlyForWholeAbsentBlocksThatNothingElseWrites) {
  Driver driver;
  driver.open();
  EXPECT_TRUE(driver.session.may_place(kDevice, 0, kBlock));
  EXPECT_TRUE(driver.session.may_place(kDevice, 9 * kBlock, kBlock - 24)) << "the short last block";
  EXPECT_FALSE(driver.session.may_place(kDevice, 9 * kBlock, kBlock)) << "past the end";
  EXPECT_FALSE(driver.session.may_place(kDevice, 10, kBlock)) << "not a block";
  EXPECT_FALSE(driver.session.may_place(kDevice, 0, kBlock - 1)) << "part of a block";
  EXPECT_FALSE(driver.session.may_place(kDevice, 0, 0));
  EXPECT_FALSE(driver.session.may_place(DeviceId{2}, 0, kBlock));
  driver.write(3);
  EXPECT_FALSE(driver.session.may_place(kDevice, 2 * kBlock, 2 * kBlock)) << "a store is under way";
  driver.give(WriteByHash{HashLocation::s3, 5 * kBlock, kBlock, {}});
  EXPECT_FALSE(driver.session.may_place(kDevice, 5 * kBlock, kBlock)) << "a fetch is under way";
  driver.cache.note_remote_write(7 * kBlock, kBlock);
  EXPECT_FALSE(driver.session.may_place(kDevice, 7 * kBlock, kBlock)) << "readers may be at it";
}

// The first place asked is the block source; what fails there is read from the source, whose bytes need no hash.
TEST(DestinationSession, ABlockByHashIsAnsweredAtOncePresentWhenStoredAndReadFromTheSourceWhenNobodyHasIt) {
  Driver driver;
  driver.open();
  driver.give(AlternateSources{{{0, kBlock, Sha256{}, "place"}}});
  driver.give(WriteByHash{HashLocation::s3, 0, kBlock, {}});
  EXPECT_EQ(driver.answers(), "83");
  ASSERT_EQ(driver.all<FetchByHash>().size(), 1u);
  EXPECT_EQ(driver.all<FetchByHash>().front().location, "place");
  EXPECT_FALSE(driver.cache.is_present(BlockIndex{0}));
  driver.session.handle_fetched(kDevice, 0, false);
  const SendRequest request = driver.all<SendRequest>().at(0);
  ASSERT_TRUE(std::holds_alternative<ReadAt>(request.packet));
  driver.session.handle_packet({kDevice, request.tx, 0}, ReadAtResponse{kBlock, driver.data}, 77, kBlock);
  const StoreFetched store = driver.all<StoreFetched>().at(0);
  EXPECT_EQ(store.payload, 77u);
  EXPECT_FALSE(store.hash);
  driver.session.handle_fetched(kDevice, 0, true);
  EXPECT_TRUE(driver.cache.is_present(BlockIndex{0}));
}

TEST(DestinationSession, OnlySoManyBlocksAreFetchedAtATime) {
  DestinationConfig config;
  config.fetches_in_flight_max = 2;
  Driver driver(config);
  driver.open();
  for (std::int64_t b = 0; b < 5; ++b) driver.give(WriteByHash{HashLocation::s3, b * kBlock, kBlock, {}});
  EXPECT_EQ(driver.all<FetchByHash>().size(), 2u);
  driver.session.handle_found(kDevice, 0, 5);
  EXPECT_TRUE(driver.all<StoreFetched>().at(0).hash);
  driver.session.handle_fetched(kDevice, 0, true);
  EXPECT_EQ(driver.all<FetchByHash>().size(), 3u);
}

TEST(DestinationSession, BytesFoundElsewhereNeverOverwriteNewerOnes) {
  Driver driver;
  driver.open();
  driver.give(WriteByHash{HashLocation::s3, 0, kBlock, {}});
  const TxId tx = driver.write(0);
  driver.session.handle_stored(kDevice, tx, true);
  driver.session.handle_found(kDevice, 0, 5);
  EXPECT_TRUE(driver.all<StoreFetched>().empty());
  EXPECT_TRUE(driver.cache.is_present(BlockIndex{0}));

  // Already being stored: then the newer bytes wait.
  driver.give(WriteByHash{HashLocation::s3, kBlock, kBlock, {}});
  driver.session.handle_found(kDevice, kBlock, 6);
  ASSERT_EQ(driver.all<StoreFetched>().size(), 1u);
  const std::size_t stores = driver.all<StoreData>().size();
  driver.write(1);
  EXPECT_EQ(driver.all<StoreData>().size(), stores);
  driver.session.handle_fetched(kDevice, kBlock, true);
  EXPECT_EQ(driver.all<StoreData>().size(), stores + 1);
}

TEST(DestinationSession, ASecondHashForABlockBeingFetchedIsFetchedNext) {
  Driver driver;
  driver.open();
  driver.give(WriteByHash{HashLocation::s3, 0, kBlock, Sha256{std::byte{1}}});
  driver.give(DirtyList{kBlock, {0}});
  driver.give(WriteByHash{HashLocation::s3, 0, kBlock, Sha256{std::byte{2}}});
  EXPECT_EQ(driver.answers(), "83 87 83");
  driver.session.handle_found(kDevice, 0, 5);
  EXPECT_TRUE(driver.all<StoreFetched>().empty()) << "of the first hash";
  ASSERT_EQ(driver.all<FetchByHash>().size(), 2u);
  EXPECT_EQ(driver.all<FetchByHash>().back().hash[0], std::byte{2});
}

TEST(DestinationSession, ABlockThatNobodyHasFailsTheCopyAtCompletedUnlessItIsSentAfterAll) {
  for (const bool sent_after_all : {false, true}) {
    SCOPED_TRACE(sent_after_all);
    DestinationConfig config;
    config.by_hash = ByHashFetch::read_by_hash;
    Driver driver(config);
    driver.open();
    driver.cache.note_remote_write(kBlock, kSize - kBlock);
    driver.give(WriteByHash{HashLocation::s3, 0, kBlock, {}});
    driver.all<FetchByHash>();
    driver.session.handle_fetched(kDevice, 0, false);
    for (std::uint32_t i = 0; i < config.fetch_attempts_max; ++i) {
      const std::vector<SendRequest> requests = driver.next<SendRequest>();
      ASSERT_EQ(requests.size(), 1u);
      ASSERT_TRUE(std::holds_alternative<ReadByHash>(requests[0].packet));
      driver.session.handle_packet({kDevice, requests[0].tx, 0}, ReadByHashResponseErr{"no"}, 0, 1);
    }
    EXPECT_TRUE(driver.next<SendRequest>().empty());
    EXPECT_TRUE(driver.closed().empty()) << "a DirtyList may still come";
    if (sent_after_all) {
      driver.give(DirtyList{kBlock, {0}});
      driver.session.handle_stored(kDevice, driver.write(0), true);
    }
    driver.give(Event{EventType::completed, 0, {}});
    EXPECT_EQ(driver.closed().empty(), sent_after_all);
    EXPECT_EQ(driver.all<ReachedCompleted>().size(), sent_after_all ? 1u : 0u);
  }
}

TEST(DestinationSession, CompletedWaitsForWhatCameBeforeItAndIsJudgedByThatAlone) {
  Driver driver;
  driver.open();
  driver.cache.note_remote_write(kBlock, kSize - kBlock);
  const TxId write = driver.write(0);
  const TxId completed = driver.give(Event{EventType::completed, 0, {}});
  driver.give(DirtyList{kBlock, {4}});  // a source that goes on without waiting
  EXPECT_TRUE(driver.all<ReachedCompleted>().empty());
  driver.session.handle_stored(kDevice, write, true);
  ASSERT_EQ(driver.all<ReachedCompleted>().size(), 1u);
  EXPECT_EQ(driver.all<ReachedCompleted>()[0].tx, completed);
  EXPECT_TRUE(driver.closed().empty()) << driver.closed();
  driver.session.handle_completed(kDevice, completed, true);
  EXPECT_EQ(driver.answers(), "83 87 85");
}

TEST(DestinationSession, CompletedWithBlocksMissingEndsTheConnectionUnlessItIsTakenAsItIs) {
  for (const bool needs_all : {true, false}) {
    DestinationConfig config;
    config.completed_needs_all_blocks = needs_all;
    Driver driver(config);
    driver.open();
    driver.give(Event{EventType::completed, 0, {}});
    EXPECT_EQ(driver.closed().empty(), !needs_all);
    EXPECT_EQ(driver.all<ReachedCompleted>().size(), needs_all ? 0u : 1u);
  }
}

TEST(DestinationSession, AfterAStoreErrorCompletedWaitsUntilTheBlockWasSentAgain) {
  Driver driver;
  driver.open();
  driver.cache.note_remote_write(kBlock, kSize - kBlock);
  driver.session.handle_stored(kDevice, driver.write(0), false);
  EXPECT_EQ(driver.answers(), "84");
  driver.give(Event{EventType::completed, 0, {}});
  EXPECT_TRUE(driver.all<ReachedCompleted>().empty());
  driver.session.handle_stored(kDevice, driver.write(0), true);
  EXPECT_EQ(driver.all<ReachedCompleted>().size(), 1u);
}

TEST(DestinationSession, WhatReadersWaitForIsAskedForOnceAndLongRunsGoInPieces) {
  Driver driver;
  driver.open();
  EXPECT_FALSE(driver.cache.want_read(1, 10, kBlock));
  EXPECT_FALSE(driver.cache.want_read(2, 20, 10));
  std::vector<SendRequest> requests = driver.next<SendRequest>();
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(std::get<NeedAt>(requests[0].packet), (NeedAt{0, kBlock}));
  EXPECT_EQ(std::get<NeedAt>(requests[1].packet), (NeedAt{kBlock, kBlock}));
  driver.cache.note_local_write(4 * kBlock, 3 * kBlock);
  requests = driver.next<SendRequest>();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_EQ(std::get<DontNeedAt>(requests[0].packet), (DontNeedAt{4 * kBlock, 3 * kBlock}));
}

TEST(DestinationSession, CustomBehindTheAnnouncementWaitsUntilTheDevicesAreOpen) {
  Driver driver;
  driver.give(kControlDevice, group_of());
  driver.give(kControlDevice, Event{EventType::custom, kCustomResume, {}});
  EXPECT_TRUE(driver.all<ReachedCustom>().empty());
  driver.session.handle_device_opened(kDevice, &driver.cache, Admission::store);
  EXPECT_EQ(driver.all<ReachedCustom>().size(), 1u);
}

TEST(DestinationSession, ARemovedDeviceIsHeardNoMore) {
  Driver driver;
  driver.open();
  driver.give(RemoveDev{});
  EXPECT_EQ(driver.all<DeviceRemoved>().size(), 1u);
  driver.give(RemoveDev{});
  driver.write(0);
  EXPECT_EQ(driver.all<DeviceRemoved>().size(), 1u);
  EXPECT_TRUE(driver.all<StoreData>().empty());
  EXPECT_EQ(driver.session.counters().unknown_packets, 2u);
}

TEST(DestinationSession, ABaseBlockIsHereOnceItIsTakenAndAbsentAgainOnceItIsDirty) {
  Driver driver;
  driver.open();
  const TxId tx = driver.give(AlreadyHave{kBlock, {2, 5}});
  const std::vector<TakeBase> takes = driver.all<TakeBase>();
  ASSERT_EQ(takes.size(), 1u);
  EXPECT_EQ(takes[0].blocks, (std::vector<std::uint32_t>{2, 5}));
  EXPECT_EQ(driver.answers(), "") << "the store has not gone back to them yet";
  EXPECT_FALSE(driver.cache.is_present(BlockIndex{2}));
  driver.session.handle_base_taken(kDevice, tx, takes[0].blocks, true);
  EXPECT_EQ(driver.answers(), "83");
  EXPECT_TRUE(driver.cache.is_present(BlockIndex{2}));
  driver.give(DirtyList{kBlock, {5}});
  EXPECT_TRUE(driver.cache.is_present(BlockIndex{2}));
  EXPECT_FALSE(driver.cache.is_present(BlockIndex{5})) << "what the base has there is old now";
}

TEST(DestinationSession, ABaseThatIsNotHereIsRefusedAndItsBlocksStayAbsent) {
  Driver driver;
  driver.open();
  const TxId tx = driver.give(AlreadyHave{kBlock, {2}});
  driver.session.handle_base_taken(kDevice, tx, {2}, false);
  EXPECT_EQ(driver.answers(), "84");
  EXPECT_FALSE(driver.cache.is_present(BlockIndex{2}));
}

}  // namespace
}  // namespace godwit::volume
