#include "homa/driver/capture.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "homa/driver/datagram_text.h"
#include "homa/driver/kernel_address.h"

namespace godwit::homa {

namespace {

Bytes two_requests() {
  std::ifstream file(GODWIT_TESTDATA "/two_requests.pcap", std::ios::binary);
  const std::string content(std::istreambuf_iterator<char>(file), {});
  return to_bytes(as_bytes(content));
}

constexpr std::string_view kHello =
    "80 00 00 63 00 00 00 00 00 00 00 00 a0 14 00 00\n00 00 00 00 00 00 00 00 00 00 00 02 00 00 00 05\n"
    "00 00 00 05 00 00 00 00 00 00 00 00 00 00 00 05\n00 00 00 00 00 00 00 00 00 00 00 00 68 65 6c 6c\n6f\n";

}  // namespace

TEST(Capture, DatagramsOfIpv4AndOfIpv6BehindAVlanTagAreFound) {
  std::vector<CapturedDatagram> found;
  const Bytes file = two_requests();
  ASSERT_TRUE(is_pcap(file));
  ASSERT_TRUE(read_capture(file, found));
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(text_of(*found[0].from), "192.0.2.7:40000");
  EXPECT_EQ(text_of(*found[0].to), "192.0.2.8:9160");
  EXPECT_EQ(text_of(*found[1].from), "[::1]:9160");
  EXPECT_DOUBLE_EQ(found[0].seconds, 1700000000.25);
  EXPECT_TRUE(is_packet(found[0].payload));
  EXPECT_TRUE(is_packet(found[1].payload));
  EXPECT_FALSE(is_packet(found[2].payload));
}

TEST(Capture, AFileThatEndsEarlyGivesWhatCameBefore) {
  const Bytes file = two_requests();
  std::size_t most = 0;
  for (std::size_t size = 0; size < file.size(); ++size) {
    std::vector<CapturedDatagram> found;
    const Result<void> read = read_capture(ConstBytes(file).first(size), found);
    most = std::max(most, found.size());
    EXPECT_TRUE(read || size < 4 || read.error().kind() == ErrorKind::truncated) << size;
  }
  EXPECT_EQ(most, 2U);
}

TEST(Capture, ARecordThatClaimsTooMuchIsRefused) {
  Bytes file = two_requests();
  file[24 + 8 + 3] = std::byte{0x7f};
  std::vector<CapturedDatagram> found;
  const Result<void> read = read_capture(file, found);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::limit);
}

TEST(Capture, HexDumpsAreReadInTheirUsualForms) {
  const std::string plain(kHello);
  std::string with_offsets, with_text;
  std::size_t offset = 0;
  for (std::size_t at = 0; at < plain.size(); offset += 16) {
    const std::size_t end = plain.find('\n', at);
    const std::string line = plain.substr(at, end - at);
    with_offsets += "0x00" + std::to_string(offset) + ":  " + line + "\n";
    with_text += "000000" + std::to_string(offset % 10) + "0: " + line + "  ..text..\n";
    at = end + 1;
  }
  const struct {
    const char* name;
    std::string text;
  } rows[] = {{"plain", plain}, {"offsets", with_offsets}, {"text column", with_text}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    std::vector<CapturedDatagram> found;
    const Result<void> read = read_hex_dump(row.text + "\n" + row.text, found);
    ASSERT_TRUE(read) << read.error().message();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].payload.size(), 65U);
    EXPECT_TRUE(is_packet(found[1].payload));
  }
  std::vector<CapturedDatagram> found;
  EXPECT_FALSE(read_hex_dump("80 0g\n", found));
}

}  // namespace godwit::homa
