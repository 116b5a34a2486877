// Our codec against what the original said: every frame of every recorded session.
#include "sim/recorded_session.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/random.h"
#include "volume/core/block_form.h"
#include "volume/core/control.h"
#include "volume/core/frame_assembler.h"
#include "volume/core/packet.h"

namespace godwit::volume {
namespace {

constexpr std::size_t kSessionsMin = 35;

std::vector<sim::RecordedSession> all_sessions() {
  std::vector<sim::RecordedSession> sessions;
  for (const std::string& name : sim::recorded_session_names(GODWIT_TESTDATA "/silo")) {
    Result<sim::RecordedSession> session = sim::read_recorded_session(GODWIT_TESTDATA "/silo", name);
    EXPECT_TRUE(session) << session.error().message();
    if (session) sessions.push_back(std::move(*session));
  }
  EXPECT_GE(sessions.size(), kSessionsMin);
  return sessions;
}

Bytes frame_of(const sim::RecordedFrame& recorded, const Packet& packet) {
  Bytes frame;
  encode_frame(DeviceId{recorded.device}, TxId{recorded.tx}, packet, frame);
  return frame;
}

TEST(RecordedSession, ContentsAndWritesGiveWhatTheSourceHeldAtTheEnd) {
  EXPECT_EQ(to_hex(sim::recorded_bytes(1, 8)), "c15c0289ec2d0a91");
  for (const sim::RecordedSession& session : all_sessions()) {
    for (const sim::RecordedDevice& device : session.devices) {
      SCOPED_TRACE(session.name + " " + device.name);
      Bytes content = device.initial.make(device.size);
      EXPECT_EQ(sha256(content), device.initial_sha256);
      for (const sim::RecordedOperation& operation : session.operations) {
        if (!operation.at_source || operation.device != device.id || !operation.seed) continue;
        const Bytes bytes = sim::recorded_bytes(*operation.seed, operation.length);
        ASSERT_LE(operation.offset + operation.length, device.size);
        std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(operation.offset));
      }
      EXPECT_EQ(sha256(content), device.source_sha256);
      EXPECT_EQ(device.source_sha256 == device.destination_sha256, device.source_equals_destination);
    }
  }
}

TEST(RecordedSession, ThatIsNotThereOrNotWhatItsDescriptionSaysIsAnError) {
  const std::filesystem::path silo = GODWIT_TESTDATA "/silo";
  EXPECT_EQ(sim::read_recorded_session(silo, "no-such-session").error().kind(), ErrorKind::not_found);
  std::string folder = std::filesystem::temp_directory_path() / "godwit-recorded-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::filesystem::path copy = folder;
  std::filesystem::copy_file(silo / "dev-hashes.json", copy / "a.json");
  std::filesystem::copy_file(silo / "dev-hashes.trace", copy / "a.trace");
  EXPECT_TRUE(sim::read_recorded_session(copy, "a"));
  std::filesystem::resize_file(copy / "a.trace", std::filesystem::file_size(copy / "a.trace") - 1);
  EXPECT_EQ(sim::read_recorded_session(copy, "a").error().kind(), ErrorKind::truncated);
  std::filesystem::resize_file(copy / "a.trace", 0);
  EXPECT_EQ(sim::read_recorded_session(copy, "a").error().kind(), ErrorKind::invalid);
  std::filesystem::resize_file(copy / "a.json", 100);
  EXPECT_EQ(sim::read_recorded_session(copy, "a").error().kind(), ErrorKind::invalid);
  std::filesystem::remove_all(copy);
}

TEST(RecordedSession, EveryBodyDecodesAndNothingIsUnexplained) {
  std::size_t unknown = 0;
  for (const sim::RecordedSession& session : all_sessions()) {
    for (const sim::RecordedFrame& frame : session.frames) {
      SCOPED_TRACE(session.name + " transaction " + std::to_string(frame.tx));
      const Result<Packet> packet = decode_packet(frame.body());
      ASSERT_TRUE(packet) << packet.error().message();
      if (std::holds_alternative<UnknownPacket>(*packet) || std::holds_alternative<UnknownWriteForm>(*packet)) ++unknown;
    }
  }
  EXPECT_EQ(unknown, 0U);
}

TEST(RecordedSession, WhatIsNotCompressedEncodesToTheSameFrame) {
  std::size_t compared = 0;
  for (const sim::RecordedSession& session : all_sessions()) {
    for (const sim::RecordedFrame& frame : session.frames) {
      SCOPED_TRACE(session.name + " transaction " + std::to_string(frame.tx));
      Packet packet = decode_packet(frame.body()).value();
      if (const WriteData* write = std::get_if<WriteData>(&packet); write != nullptr && write->form != WriteForm::raw) continue;
      if (ReadAtResponse* answer = std::get_if<ReadAtResponse>(&packet); answer != nullptr)
        answer->payload = frame.body().subspan(5);  // an original sends as much as was asked for, however much it read
      ASSERT_EQ(to_hex(frame_of(frame, packet)), to_hex(frame.bytes));
      ++compared;
    }
  }
  EXPECT_GT(compared, 1000U);
}

TEST(RecordedSession, CompressedWritesDecodeAndOursDecodeToTheSame) {
  std::size_t compared = 0, equal_bytes = 0;
  for (const sim::RecordedSession& session : all_sessions()) {
    for (const sim::RecordedFrame& frame : session.frames) {
      SCOPED_TRACE(session.name + " transaction " + std::to_string(frame.tx));
      const Packet packet = decode_packet(frame.body()).value();
      const WriteData* write = std::get_if<WriteData>(&packet);
      if (write == nullptr || write->form == WriteForm::raw) continue;
      const sim::RecordedDevice* device = session.find_device(frame.device);
      ASSERT_NE(device, nullptr);
      const Result<std::uint64_t> length = decoded_length(*write, device->block_size);
      ASSERT_TRUE(length) << length.error().message();
      ASSERT_EQ(*length, std::min<std::uint64_t>(device->block_size, device->size - static_cast<std::uint64_t>(write->offset)));
      Bytes data(*length);
      ASSERT_TRUE(decode_form(*write, data));

      Bytes ours;
      switch (write->form) {
        case WriteForm::rle: encode_rle(data, ours); break;
        case WriteForm::zeroes: encode_zeroes(data, ours); break;
        default: encode_gzip(data, ours); break;
      }
      WriteData again = *write;
      again.payload = ours;
      Bytes back(data.size());
      ASSERT_TRUE(decode_form(again, back));
      ASSERT_TRUE(back == data);
      ++compared;
      if (write->form != WriteForm::gzip) {
        EXPECT_EQ(to_hex(ours), to_hex(write->payload)) << "the thresholds are the original's";
        ++equal_bytes;
      }
    }
  }
  EXPECT_GT(compared, 100U);
  EXPECT_GT(equal_bytes, 100U);
}

TEST(RecordedSession, FramesComeOutOfAStreamSplitAnywhere) {
  Random random(12);
  for (const sim::RecordedSession& session : all_sessions()) {
    SCOPED_TRACE(session.name);
    for (const bool from_source : {true, false}) {
      const Bytes stream = session.stream(from_source);
      std::vector<const sim::RecordedFrame*> expected;
      for (const sim::RecordedFrame& frame : session.frames)
        if (frame.from_source == from_source) expected.push_back(&frame);
      for (int round = 0; round < 5; ++round) {
        FrameAssembler assembler;
        std::size_t at = 0, given = 0;
        while (at < stream.size()) {
          const std::size_t piece = std::min<std::size_t>(stream.size() - at, 1 + random.below(round == 0 ? 13 : 9000));
          assembler.feed(ConstBytes(stream).subspan(at, piece));
          at += piece;
          for (;;) {
            const Result<std::optional<FrameAssembler::Frame>> frame = assembler.next();
            ASSERT_TRUE(frame) << frame.error().message();
            if (!*frame) break;
            ASSERT_LT(given, expected.size());
            ASSERT_EQ((*frame)->header.device.value, expected[given]->device);
            ASSERT_EQ((*frame)->header.tx.value, expected[given]->tx);
            ASSERT_TRUE(std::ranges::equal((*frame)->body, expected[given]->body()));
            ++given;
          }
        }
        ASSERT_EQ(given, expected.size());
        ASSERT_TRUE(assembler.at_frame_boundary());
      }
    }
  }
}

// Among them comments in the place where ours would stand.
TEST(RecordedSession, NoSchemaOfAnOriginalIsTakenForMarked) {
  std::size_t schemas = 0;
  for (const sim::RecordedSession& session : all_sessions()) {
    for (const sim::RecordedFrame& frame : session.frames) {
      const Packet packet = decode_packet(frame.body()).value();
      if (const DevInfo* info = std::get_if<DevInfo>(&packet)) {
        EXPECT_FALSE(find_mark(info->schema)) << session.name;
        ++schemas;
      }
      if (const DeviceGroupInfo* group = std::get_if<DeviceGroupInfo>(&packet)) {
        for (const DeviceGroupInfo::Entry& entry : group->devices) EXPECT_FALSE(find_mark(entry.info.schema)) << session.name;
        schemas += group->devices.size();
      }
    }
  }
  EXPECT_GE(schemas, kSessionsMin);
}

}  // namespace
}  // namespace godwit::volume
