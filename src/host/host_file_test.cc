#include "host/host_file.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "base/hash.h"

namespace godwit::host {
namespace {

HostFile example() {
  HostFile host;
  for (std::size_t i = 0; i < 16; ++i) host.id.bytes[i] = static_cast<std::byte>(0xa0 + i);
  host.boot = volume::Boot{7};
  return host;
}

Bytes file_with(std::initializer_list<HostFile> hosts) {
  Bytes file(kHostFileSize);
  for (const HostFile& host : hosts) {
    const Bytes slot = encode_host_slot(host);
    std::ranges::copy(slot, file.begin() + static_cast<std::ptrdiff_t>(host_slot_offset(host.boot)));
  }
  return file;
}

HostFile at_boot(std::uint64_t boot) {
  HostFile host = example();
  host.boot = volume::Boot{boot};
  return host;
}

TEST(HostFile, ASlotHasTheBytesOfItsFormatPage) {
  EXPECT_EQ(to_hex(encode_host_slot(example())),
            "474f44574954484f01000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf07000000000000009ddce783");
  EXPECT_EQ(host_slot_offset(volume::Boot{7}), 512u);
}

TEST(HostFile, TheKeptSampleOfVersion1IsRead) {
  std::ifstream sample(GODWIT_TESTDATA "/host", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(sample), {}};
  EXPECT_EQ(decode_host_file(as_bytes(bytes)).value(), example());
}

TEST(HostFile, TheSlotOfTheNewestStartCounts) {
  EXPECT_EQ(decode_host_file(file_with({at_boot(7)})).value(), at_boot(7));
  EXPECT_EQ(decode_host_file(file_with({at_boot(7), at_boot(8)})).value(), at_boot(8));
  EXPECT_EQ(decode_host_file(file_with({at_boot(9), at_boot(8)})).value(), at_boot(9));
}

TEST(HostFile, ATornWriteOfOneSlotLeavesTheStartBefore) {
  for (std::size_t written = 0; written < kHostSlotSize; ++written) {
    Bytes file = file_with({at_boot(7), at_boot(8)});
    const Bytes next = encode_host_slot(at_boot(9));
    std::copy_n(next.begin(), written, file.begin() + 512);
    const Result<HostFile> host = decode_host_file(file);
    ASSERT_TRUE(host) << written;
    EXPECT_EQ(host->boot, volume::Boot{8}) << written;
  }
}

TEST(HostFile, WhatIsNoHostFileIsRefused) {
  Bytes newer = file_with({at_boot(7)});
  newer[512 + 8] = std::byte{2};
  const std::uint32_t crc = crc32c(ConstBytes(newer).subspan(512, kHostSlotSize - 4));
  std::memcpy(newer.data() + 512 + 36, &crc, 4);
  Bytes misplaced(kHostFileSize);
  std::ranges::copy(encode_host_slot(at_boot(7)), misplaced.begin());
  const struct {
    std::string_view name;
    Bytes file;
    ErrorKind kind;
  } rows[] = {
      {"an empty file is a directory without a host yet", {}, ErrorKind::not_found},
      {"so are zeros", Bytes(kHostFileSize), ErrorKind::not_found},
      {"text", to_bytes(as_bytes("this is no host file")), ErrorKind::corrupt},
      {"a slot where another start's belongs", misplaced, ErrorKind::corrupt},
      {"no host id", file_with({HostFile{{}, volume::Boot{3}}}), ErrorKind::corrupt},
      {"a newer version", newer, ErrorKind::unsupported},
  };
  for (const auto& row : rows) {
    const Result<HostFile> host = decode_host_file(row.file);
    ASSERT_FALSE(host) << row.name;
    EXPECT_EQ(host.error().kind(), row.kind) << row.name;
  }
}

}  // namespace
}  // namespace godwit::host
