#include "chunks/core/remote_flags.h"

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

// casync.md 2.3, "Flags seen on the wire".
constexpr struct {
  const char* operation;
  HelloFlags client, server;
} kOperations[] = {
    {"pull index and chunks", 0x0c0, 0x05}, {"pull chunks only", 0x040, 0x01},      {"pull index only", 0x080, 0x04},
    {"pull archive", 0x100, 0x10},          {"push index and chunks", 0xe00, 0x0a}, {"push index only", 0x400, 0x08},
    {"push chunks only", 0x200, 0x02},      {"push archive", 0x1000, 0x20},
};

TEST(RemoteFlags, TheEightOperationsFitFromBothSides) {
  for (const auto& row : kOperations) {
    EXPECT_TRUE(check_hello(row.client, row.server)) << row.operation;
    EXPECT_TRUE(check_hello(row.server, row.client)) << row.operation;
  }
}

TEST(RemoteFlags, AnOperationFitsNoServerThatLacksAService) {
  for (const auto& client : kOperations) {
    for (const auto& server : kOperations) {
      // The services of every client are just the server flags of its row, so a server fits if it offers at least these.
      const bool fits = (server.server & client.server) == client.server;
      EXPECT_EQ(check_hello(client.client, server.server).has_value(), fits) << client.operation << " at " << server.operation;
      EXPECT_EQ(check_hello(server.server, client.client).has_value(), fits) << client.operation << " at " << server.operation;
    }
  }
}

TEST(RemoteFlags, WhatDoesNotFitIsRefusedByKind) {
  const struct {
    const char* name;
    HelloFlags mine, peers;
    ErrorKind kind;
  } rows[] = {
      {"a flag of later", 0x05, 0x20c0, ErrorKind::unsupported},
      {"the highest flag", 0x05, 0x8000'0000'0000'0000, ErrorKind::unsupported},
      {"0x800 alone", 0x0a, 0x800, ErrorKind::refused},
      {"0x800 without the index", 0x0a, 0xa00, ErrorKind::refused},
      {"0x800 without chunks", 0x0a, 0xc00, ErrorKind::refused},
      {"neither wants anything", 0x05, 0x05, ErrorKind::refused},
      {"an index for reading and writing", 0x80, 0x0c, ErrorKind::refused},
      {"an archive for reading and writing", 0x100, 0x30, ErrorKind::refused},
  };
  for (const auto& row : rows) {
    const Result<void> result = check_hello(row.mine, row.peers);
    ASSERT_FALSE(result) << row.name;
    EXPECT_EQ(result.error().kind(), row.kind) << row.name;
  }
}

TEST(RemoteFlags, MoreServicesThanAskedForAreNoError) {
  EXPECT_TRUE(check_hello(0x40, 0x05));
  EXPECT_TRUE(check_hello(0x400, 0x0a)) << "an index push to a server with a store";
}

TEST(RemoteFlags, AreNamedInMessages) {
  EXPECT_EQ(text_of_hello(0x41), "READABLE_STORE, PULL_CHUNKS");
  EXPECT_EQ(text_of_hello(0x2000), "0x2000");
  EXPECT_EQ(text_of_hello(0), "nothing");
}

}  // namespace
}  // namespace godwit::chunks
