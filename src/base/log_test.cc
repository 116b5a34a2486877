#include "base/log.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(Log, SaysWhatItsLevelLetsThroughInOneLine) {
  auto capture = std::make_shared<LogCapture>();
  const Log log(capture, LogLevel::info);
  const std::string name = "a b";
  log.info("volume handed over", {{"volume", name}, {"bytes", 12u}, {"left", -1}, {"live", true}, {"share", 0.5}});
  log.debug("not said");
  log.error("lost");
  EXPECT_EQ(
      capture->lines(),
      (std::vector<std::string>{"info  volume handed over  volume=\"a b\" bytes=12 left=-1 live=true share=0.5", "error lost"}));
  EXPECT_TRUE(capture->contains("bytes=12"));
  EXPECT_FALSE(log.says(LogLevel::debug));
}

TEST(Log, AnEmptyLogSaysNothing) {
  const Log log;
  log.error("nobody hears");
  EXPECT_FALSE(log.says(LogLevel::error));
}

TEST(Log, TextFromAPeerCannotForgeALine) {
  const std::vector<LogField> fields = {{"peer", "x\n2026 error fake"}, {"quote", "say \"hi\""}, {"empty", ""}};
  EXPECT_EQ(log_line(LogFormat::text, LogLevel::warn, "odd\npeer", fields),
            R"(warn  odd\x0apeer  peer="x\\x0a2026 error fake" quote="say \"hi\"" empty="")");
  EXPECT_EQ(log_line(LogFormat::json, LogLevel::warn, "odd\npeer", fields),
            R"("level":"warn","message":"odd\\x0apeer","peer":"x\\x0a2026 error fake","quote":"say \"hi\"","empty":"")");
}

TEST(Log, LinesOnStderrBearTheirTime) {
  const struct {
    LogFormat format;
    std::string ending;
  } rows[] = {{LogFormat::text, "Z info  up  port=10809\n"},
              {LogFormat::json, "Z\",\"level\":\"info\",\"message\":\"up\",\"port\":10809}\n"}};
  for (const auto& row : rows) {
    const Log log(make_stderr_sink(row.format), LogLevel::trace);
    ::testing::internal::CaptureStderr();
    log.info("up", {{"port", std::uint16_t{10809}}});
    const std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(said.ends_with(row.ending)) << said;
    EXPECT_GT(said.size(), row.ending.size() + 20);
  }
}

TEST(LogLevel, IsParsedByName) {
  for (auto level : {LogLevel::error, LogLevel::warn, LogLevel::info, LogLevel::debug, LogLevel::trace})
    EXPECT_EQ(parse_log_level(name_of(level)).value(), level);
  auto none = parse_log_level("loud");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::usage);
}

}  // namespace
}  // namespace godwit
