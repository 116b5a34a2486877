#include "chunks/core/remote_locator.h"

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

using Kind = RemoteLocator::Kind;

TEST(RemoteLocator, ClassesAreTheSpecifications) {
  const struct {
    const char* text;
    RemoteLocator locator;
  } rows[] = {
      {"/a/b", {Kind::path, "", "/a/b"}},
      {"./h:x", {Kind::path, "", "./h:x"}},
      {".", {Kind::path, "", "."}},
      {"..", {Kind::path, "", ".."}},
      {"a.caibx", {Kind::path, "", "a.caibx"}},
      {"dir/a:b", {Kind::path, "", "dir/a:b"}},
      {"h:", {Kind::path, "", "h:"}},
      {":x", {Kind::path, "", ":x"}},
      {"-oProxyCommand=x:y", {Kind::path, "", "-oProxyCommand=x:y"}},
      {"h:x.caibx", {Kind::ssh, "h", "x.caibx"}},
      {"u@h:/x", {Kind::ssh, "u@h", "/x"}},
      {"@h:/x", {Kind::path, "", "@h:/x"}},
      {"http://h/i.caibx", {Kind::url, "", "http://h/i.caibx"}},
      {"sftp://h/x", {Kind::url, "", "sftp://h/x"}},
      {"file:///a%20b", {Kind::path, "", "/a b"}},
      {"file://localhost/a", {Kind::path, "", "/a"}},
  };
  for (const auto& row : rows) {
    const Result<RemoteLocator> locator = parse_remote_locator(row.text);
    ASSERT_TRUE(locator) << row.text;
    EXPECT_EQ(*locator, row.locator) << row.text;
  }
  for (const char* text : {"", "file://elsewhere/a", "file:///a%2", "file:///a%00b", "file:///%zz"})
    EXPECT_FALSE(parse_remote_locator(text)) << text;
}

TEST(RemoteLocator, TheDefaultStoreLiesBesideTheIndex) {
  const struct {
    const char *index, *store;
  } rows[] = {
      {"h:x.caibx", "default.castr"},
      {"h:dir/x.caibx", "dir/default.castr"},
      {"/a/x.caibx", "/a/default.castr"},
      {"http://h/i.caibx", "http://h/default.castr"},
      {"http://h/d/i.caibx?a=/b;c", "http://h/d/default.castr"},
  };
  for (const auto& row : rows) EXPECT_EQ(default_store_of(*parse_remote_locator(row.index)).path, row.store) << row.index;
}

// casync.md 2.1, "Seen".
TEST(RemoteLocator, CommandsAreThoseOfARealClient) {
  const RemoteLocator index = *parse_remote_locator("h:/i.caibx"), store = *parse_remote_locator("h:/st"),
                      archive = *parse_remote_locator("h:/a.catar");
  const struct {
    const char* name;
    HelloFlags wants;
    RemoteOperands operands;
    std::vector<std::string> words;
  } rows[] = {
      {"extract index and store", 0xc0, {nullptr, &index, &store, {}}, {"pull", "-", "-", "/i.caibx", "/st"}},
      {"extract from a remote store", 0x40, {nullptr, nullptr, &store, {}}, {"pull", "-", "-", "-", "/st"}},
      {"extract a remote index", 0x80, {nullptr, &index, nullptr, {}}, {"pull", "-", "-", "/i.caibx", "-"}},
      {"extract an archive", 0x100, {&archive, nullptr, nullptr, {}}, {"pull", "-", "/a.catar", "-", "-"}},
      {"make index and store", 0xe00, {nullptr, &index, &store, {}}, {"push", "-", "-", "/i.caibx", "/st"}},
      {"make an archive", 0x1000, {&archive, nullptr, nullptr, {}}, {"push", "-", "/a.catar", "-", "-"}},
      // Ours alone: casync.md 2.6, "Known upstream defects".
      {"make an index", 0x400, {nullptr, &index, nullptr, {}}, {"push", "-", "-", "/i.caibx", "/default.castr"}},
  };
  for (const auto& row : rows) {
    std::vector<std::string> expected = {"ssh", "h", "casync"};
    expected.insert(expected.end(), row.words.begin(), row.words.end());
    EXPECT_EQ(remote_command(row.wants, row.operands, {}).value(), expected) << row.name;
  }
}

TEST(RemoteLocator, ProgramsComeFromTheEnvironmentAndUrlsHaveTheirOwn) {
  const RemoteLocator store = *parse_remote_locator("u@h:/st"), url = *parse_remote_locator("sftp://h/st");
  EXPECT_EQ(remote_command(0x40, {nullptr, nullptr, &store, {"--log-level=debug"}}, {"/my/ssh", "godwit-casync", ""}).value(),
            (std::vector<std::string>{"/my/ssh", "u@h", "godwit-casync", "--log-level=debug", "pull", "-", "-", "-", "/st"}));
  EXPECT_EQ(remote_command(0x40, {nullptr, nullptr, &url, {}}, {}).value(),
            (std::vector<std::string>{"/usr/lib/casync/protocols/casync-sftp", "pull", "-", "-", "-", "sftp://h/st"}));
}

TEST(RemoteLocator, OnePeerServesOneHost) {
  const RemoteLocator a = *parse_remote_locator("a:/i"), b = *parse_remote_locator("b:/st"), local = *parse_remote_locator("/st");
  EXPECT_FALSE(remote_command(0xc0, {nullptr, &a, &b, {}}, {}));
  EXPECT_FALSE(remote_command(0xc0, {nullptr, nullptr, &local, {}}, {}));
  EXPECT_FALSE(remote_command(0xc0, {}, {}));
}

}  // namespace
}  // namespace godwit::chunks
