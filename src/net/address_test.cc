#include "net/address.h"

#include <gtest/gtest.h>

namespace godwit::net {
namespace {

TEST(Address, IsReadFromText) {
  const struct {
    const char* text;
    std::uint16_t default_port;
    Address address;
    const char* again;
  } rows[] = {
      {"127.0.0.1:10809", 0, {"127.0.0.1", 10809, ""}, "127.0.0.1:10809"},
      {"host.example:1", 7, {"host.example", 1, ""}, "host.example:1"},
      {"host", 7, {"host", 7, ""}, "host:7"},
      {"localhost:0", 7, {"localhost", 0, ""}, "localhost:0"},
      {"[::1]:65535", 0, {"::1", 65535, ""}, "[::1]:65535"},
      {"[fe80::1]", 7, {"fe80::1", 7, ""}, "[fe80::1]:7"},
      {"[fe80::1%eth0]:5", 7, {"fe80::1%eth0", 5, ""}, "[fe80::1%eth0]:5"},
      {"unix:/run/godwit.sock", 0, {"", 0, "/run/godwit.sock"}, "unix:/run/godwit.sock"},
      {"unix:a:b", 7, {"", 0, "a:b"}, "unix:a:b"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const Result<Address> address = Address::parse(row.text, row.default_port);
    ASSERT_TRUE(address) << address.error().message();
    EXPECT_EQ(*address, row.address);
    EXPECT_EQ(address->text(), row.again);
    EXPECT_EQ(Address::parse(address->text(), 0).value(), *address);
  }
}

TEST(Address, OtherTextIsRefused) {
  for (std::string_view text : {"", ":80", "host", "host:", "host:65536", "host:-1", "host:+1", "host:80x", "host: 80", "::1",
                                "::1:80", "[::1", "[::1]x", "[host]:80", "[]:80", "[::1]:", "a b:80", "a/b:80", "unix:"}) {
    SCOPED_TRACE(text);
    const Result<Address> address = Address::parse(text, 0);
    ASSERT_FALSE(address) << address->text();
    EXPECT_EQ(address.error().kind(), ErrorKind::invalid);
  }
  EXPECT_FALSE(Address::parse("unix", 80)) << "as a host its own text would be a path";
  EXPECT_FALSE(Address::parse(std::string_view("unix:/a\0b", 9), 0));
}

TEST(Address, LoopbackIsWhatCannotLeaveTheMachine) {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/x"})
    EXPECT_TRUE(Address::parse(text, 0)->is_loopback()) << text;
  for (const char* text : {"128.0.0.1:1", "0.0.0.0:1", "[::]:1", "[::2]:1", "127.example.com:1", "localhost.example:1"})
    EXPECT_FALSE(Address::parse(text, 0)->is_loopback()) << text;
}

}  // namespace
}  // namespace godwit::net
