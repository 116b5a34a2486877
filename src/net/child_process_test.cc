#include "net/child_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"

namespace godwit::net {
namespace {

// Writes `input`, ends it, and collects what comes back until the end.
struct Talk {
  Talk(EventLoop& loop, const std::vector<std::string>& argv, Bytes in) : input(std::move(in)) {
    Result<std::unique_ptr<ChildProcess>> started = ChildProcess::start(loop, argv);
    EXPECT_TRUE(started) << started.error().message();
    child = std::move(*started);
    stream = child->take_stream();
    const ConstBytes from[] = {input};
    stream->write(from, [this](Result<void> result) {
      written = result.has_value();
      stream->shut_down_sending();
    });
    read();
    child->wait([this](Result<ChildExit> exit) { ended = *exit; });
  }
  void read() {
    const MutableBytes into[] = {room};
    stream->read(into, [this](Result<std::size_t> count) {
      EXPECT_TRUE(count);
      if (!count || *count == 0) return;
      append(output, ConstBytes(room).first(*count));
      read();
    });
  }

  Bytes input, output;
  Bytes room = Bytes(4096);
  bool written = false;
  std::unique_ptr<ChildProcess> child;
  std::unique_ptr<Stream> stream;
  std::optional<ChildExit> ended;
};

TEST(ChildProcess, WhatGoesInComesOutAgain) {
  EventLoop loop;
  Bytes bytes(300'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
  // Its pipes are non-blocking, which a plain cat does not understand.
  Talk talk(loop, {"perl", "-e", "use Fcntl; fcntl(STDIN,F_SETFL,0); fcntl(STDOUT,F_SETFL,0); exec 'cat'"}, bytes);
  loop.run();
  EXPECT_TRUE(talk.written);
  EXPECT_EQ(talk.output, bytes);
  ASSERT_TRUE(talk.ended);
  EXPECT_TRUE(talk.ended->is_success());
}

TEST(ChildProcess, WordsArriveAsTheyAre) {
  EventLoop loop;
  Talk talk(loop, {"sh", "-c", "printf '<%s>' \"$@\"", "sh", "a b", "$HOME", "'", ""}, {});
  loop.run();
  EXPECT_EQ(as_text(talk.output), "<a b><$HOME><'><>");
}

TEST(ChildProcess, ItsEndsOfThePipesAreNonBlocking) {
  EventLoop loop;
  Talk talk(loop,
            {"perl", "-e",
             "use Fcntl; print((fcntl(STDIN,F_GETFL,0) & O_NONBLOCK) && (fcntl(STDOUT,F_GETFL,0) & O_NONBLOCK) ? 'yes' : 'no')"},
            {});
  loop.run();
  EXPECT_EQ(as_text(talk.output), "yes");
}

TEST(ChildProcess, HowItEndedIsTold) {
  const struct {
    const char* script;
    int code, signal;
    const char* text;
  } rows[] = {{"exit 0", 0, 0, "exit code 0"}, {"exit 3", 3, 0, "exit code 3"}, {"kill -9 $$", 0, 9, "killed by signal 9"}};
  for (const auto& row : rows) {
    EventLoop loop;
    Talk talk(loop, {"sh", "-c", row.script}, {});
    loop.run();
    ASSERT_TRUE(talk.ended) << row.script;
    EXPECT_EQ(talk.ended->code, row.code);
    EXPECT_EQ(talk.ended->signal, row.signal);
    EXPECT_EQ(talk.ended->text(), row.text);
  }
}

TEST(ChildProcess, AProgramThatIsNotThereIsAnError) {
  EventLoop loop;
  const auto started = ChildProcess::start(loop, {"/nonexistent/program"});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().kind(), ErrorKind::not_found);
  EXPECT_NE(started.error().message().find("/nonexistent/program"), std::string::npos);
}

TEST(ChildProcess, IsGoneAfterItsObject) {
  EventLoop loop;
  auto child = ChildProcess::start(loop, {"sleep", "1000"});
  ASSERT_TRUE(child);
  const int pid = (*child)->pid();
  EXPECT_EQ(::kill(pid, 0), 0);
  child->reset();
  EXPECT_NE(::kill(pid, 0), 0);
}

TEST(ChildProcess, AReaderThatLeftIsAnErrorOfTheWrite) {
  std::signal(SIGPIPE, SIG_IGN);
  EventLoop loop;
  auto child = ChildProcess::start(loop, {"true"});
  ASSERT_TRUE(child);
  std::unique_ptr<Stream> stream = (*child)->take_stream();
  const Bytes bytes(1 << 20);
  std::optional<Error> error;
  (*child)->wait([&](Result<ChildExit>) {
    const ConstBytes from[] = {bytes};
    stream->write(from, [&](Result<void> result) {
      if (!result) error = result.error();
    });
  });
  loop.run();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::connection_lost);
}

TEST(PipeStream, ARegularFileIsReadToItsEnd) {
  const TemporaryFolder folder;
  const std::string path = folder / "file";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::write(file, "abc", 3), 3);
  ASSERT_EQ(::lseek(file, 0, SEEK_SET), 0);
  EventLoop loop;
  const auto stream = loop.adopt_pipes(file, ::open("/dev/null", O_WRONLY | O_CLOEXEC), "a file");
  Bytes room(10), got;
  bool ended = false;
  std::function<void()> read = [&] {
    const MutableBytes into[] = {room};
    stream->read(into, [&](Result<std::size_t> count) {
      ASSERT_TRUE(count);
      ended = *count == 0;
      append(got, ConstBytes(room).first(*count));
      if (!ended) read();
    });
  };
  read();
  loop.run();
  EXPECT_TRUE(ended);
  EXPECT_EQ(as_text(got), "abc");
}

}  // namespace
}  // namespace godwit::net
