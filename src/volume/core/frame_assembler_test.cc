#include "volume/core/frame_assembler.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace godwit::volume {
namespace {

Bytes hex(std::string_view text) {
  return from_hex(text).value();
}

// What came out, as text that compares.
std::vector<std::string> drain(FrameAssembler& assembler) {
  std::vector<std::string> frames;
  for (;;) {
    const Result<std::optional<FrameAssembler::Frame>> frame = assembler.next();
    if (!frame) {
      frames.push_back("error: " + frame.error().message());
      return frames;
    }
    if (!*frame) return frames;
    const FrameHeader& header = (*frame)->header;
    EXPECT_EQ(header.body_length, (*frame)->body.size());
    frames.push_back(std::to_string(header.device.value) + "/" + std::to_string(header.tx.value) + " " + to_hex((*frame)->body));
  }
}

void add(std::vector<std::string>& to, const std::vector<std::string>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

const std::string_view kStream =
    "00000000 01000000 1e000000 0d  01000000 15000000  06 0010000000000000 00040000 0200 6431 00000000"
    "01000000 03000000 0e000000 02 00 0002000000000000 deadbeef"
    "01000000 09000000 01000000 87"
    "02000000 01000000 0d000000 03 0008000000000000 00040000";

std::vector<std::string> whole_stream() {
  FrameAssembler assembler;
  assembler.feed(hex(kStream));
  return drain(assembler);
}

TEST(FrameAssembler, GivesTheFramesOfAStreamInOrder) {
  const std::vector<std::string> frames = whole_stream();
  ASSERT_EQ(frames.size(), 4U);
  EXPECT_EQ(frames[1], "1/3 02000002000000000000deadbeef");
  EXPECT_EQ(frames[2], "1/9 87");
}

TEST(FrameAssembler, AnySplitInThreeGivesTheSameFrames) {
  const Bytes stream = hex(kStream);
  const std::vector<std::string> expected = whole_stream();
  for (std::size_t first = 0; first <= stream.size(); ++first) {
    for (std::size_t second = first; second <= stream.size(); ++second) {
      FrameAssembler assembler;
      std::vector<std::string> frames;
      assembler.feed(ConstBytes(stream).first(first));
      add(frames, drain(assembler));
      assembler.feed(ConstBytes(stream).subspan(first, second - first));
      add(frames, drain(assembler));
      assembler.feed(ConstBytes(stream).subspan(second));
      add(frames, drain(assembler));
      ASSERT_EQ(frames, expected) << first << " " << second;
      ASSERT_TRUE(assembler.at_frame_boundary());
    }
  }
}

TEST(FrameAssembler, KnowsAFrameBoundaryFromACutFrame) {
  const Bytes stream = hex(kStream);
  const std::vector<std::size_t> boundaries = {0, 42, 68, 81, 106};
  ASSERT_EQ(stream.size(), boundaries.back());
  FrameAssembler assembler;
  for (std::size_t at = 0; at <= stream.size(); ++at) {
    const bool expected = std::find(boundaries.begin(), boundaries.end(), at) != boundaries.end();
    EXPECT_EQ(assembler.at_frame_boundary(), expected) << at;
    if (at == stream.size()) break;
    assembler.feed(ConstBytes(stream).subspan(at, 1));
    drain(assembler);
  }
}

TEST(FrameAssembler, AFrameNotYetGivenOutIsNoBoundary) {
  FrameAssembler assembler;
  assembler.feed(hex("01000000 09000000 01000000 87"));
  EXPECT_FALSE(assembler.at_frame_boundary());
  drain(assembler);
  EXPECT_TRUE(assembler.at_frame_boundary());
}

TEST(FrameAssembler, AFrameWithoutABodyIsAnErrorThatNamesIt) {
  FrameAssembler assembler;
  assembler.feed(hex("01000000 09000000 01000000 87 03000000 07000000 00000000"));
  const std::vector<std::string> expected = {"1/9 87", "error: device 3, transaction 7: a frame without a body"};
  EXPECT_EQ(drain(assembler), expected);
  assembler.feed(hex("01000000 09000000 01000000 87"));
  EXPECT_EQ(drain(assembler), std::vector<std::string>{expected[1]}) << "nothing follows an error";
}

TEST(FrameAssembler, ABodyPastTheLimitIsAnErrorAsSoonAsItsHeaderIsThere) {
  FrameAssembler assembler;
  assembler.feed(hex("03000000 07000000 01000001"));
  const Result<std::optional<FrameAssembler::Frame>> frame = assembler.next();
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().kind(), ErrorKind::limit);
  EXPECT_EQ(frame.error().message(), "device 3, transaction 7: a body of 16777217 bytes, where 16777216 are the limit");
}

TEST(FrameAssembler, TheLimitItselfIsKeptAndCanBeChangedBetweenFrames) {
  FrameAssembler assembler;
  assembler.set_body_size_max(1);
  assembler.feed(hex("01000000 09000000 01000000 87 01000000 0a000000 02000000 8700"));
  EXPECT_TRUE(assembler.next().value());
  assembler.set_body_size_max(2);
  EXPECT_TRUE(assembler.next().value());
  EXPECT_TRUE(assembler.at_frame_boundary());
}

TEST(FrameAssembler, LimitsGrowWithTheLargestBlock) {
  EXPECT_EQ(body_size_max(0), 64U << 20);
  EXPECT_EQ(body_size_max(4096), 64U << 20);
  EXPECT_EQ(body_size_max(64U << 20), (128U << 20) + 65536);
  EXPECT_EQ(body_size_max(~0U), 2 * std::uint64_t{~0U} + 65536);
}

}  // namespace
}  // namespace godwit::volume
