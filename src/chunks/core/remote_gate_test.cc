#include "chunks/core/remote_gate.h"

#include <cerrno>

#include <gtest/gtest.h>

namespace godwit::chunks {
namespace {

using namespace wire;

const Bytes kData = to_bytes(as_bytes("abc"));

Message message_of(std::string_view word) {
  if (word == "INDEX") return Piece{File::index, kData};
  if (word == "INDEX_EOF") return PieceEof{File::index};
  if (word == "ARCHIVE") return Piece{File::archive, kData};
  if (word == "ARCHIVE_EOF") return PieceEof{File::archive};
  if (word == "REQUEST") return Request{Priority::low, {ChunkId{}}};
  if (word == "CHUNK") return Chunk{{}, true, kData};
  if (word == "MISSING") return Missing{};
  if (word == "GOODBYE") return Goodbye{};
  if (word == "ABORT") return Abort{13, ""};
  return Hello{std::strtoull(std::string(word).c_str(), nullptr, 16)};
}

// casync.md 2.8: which messages an end takes after the HELLO of each operation, and in which order.
TEST(RemoteGate, TakesOnlyWhatWasAgreedOn) {
  const struct {
    HelloFlags mine, peers;
    std::vector<std::string> legal;
  } rows[] = {
      {0xc0, 0x05, {"INDEX", "INDEX_EOF", "CHUNK", "MISSING", "GOODBYE"}},
      {0x40, 0x01, {"CHUNK", "MISSING", "GOODBYE"}},
      {0x80, 0x04, {"INDEX", "INDEX_EOF", "GOODBYE"}},
      {0x100, 0x10, {"ARCHIVE", "ARCHIVE_EOF", "GOODBYE"}},
      {0xe00, 0x0a, {"REQUEST", "GOODBYE"}},
      {0x400, 0x08, {"GOODBYE"}},
      {0x1000, 0x20, {"GOODBYE"}},
      {0x05, 0xc0, {"REQUEST", "GOODBYE"}},
      {0x01, 0x40, {"REQUEST", "GOODBYE"}},
      {0x04, 0x80, {"GOODBYE"}},
      {0x10, 0x100, {"GOODBYE"}},
      {0x0a, 0xe00, {"INDEX", "INDEX_EOF", "CHUNK", "MISSING", "GOODBYE"}},
      {0x08, 0x400, {"INDEX", "INDEX_EOF", "GOODBYE"}},
      {0x20, 0x1000, {"ARCHIVE", "ARCHIVE_EOF", "GOODBYE"}},
  };
  for (const auto& row : rows) {
    for (const char* word : {"INDEX", "INDEX_EOF", "ARCHIVE", "ARCHIVE_EOF", "REQUEST", "CHUNK", "MISSING", "GOODBYE", "c0"}) {
      SCOPED_TRACE(testing::Message() << std::hex << row.mine << " and " << row.peers << ": " << word);
      RemoteGate gate(row.mine);
      ASSERT_TRUE(gate.admit(Hello{row.peers}));
      const std::string text = word;
      if (text.ends_with("_EOF") && std::ranges::find(row.legal, text) != row.legal.end()) {
        EXPECT_TRUE(gate.admit(message_of(text.substr(0, text.size() - 4))));
      }
      const Result<void> admitted = gate.admit(message_of(word));
      EXPECT_EQ(admitted.has_value(), std::ranges::find(row.legal, text) != row.legal.end());
      if (!admitted) {
        EXPECT_EQ(admitted.error().kind(), ErrorKind::invalid);
        EXPECT_EQ(gate.state(), RemoteGate::State::failed);
      }
    }
  }
}

TEST(RemoteGate, SequencesThatBreakARule) {
  const struct {
    const char* name;
    HelloFlags mine;
    std::vector<std::string> words;  // all but the last are legal
    ErrorKind kind;
  } rows[] = {
      {"something else than HELLO first", 0xc0, {"INDEX"}, ErrorKind::invalid},
      {"GOODBYE first", 0xc0, {"GOODBYE"}, ErrorKind::invalid},
      {"REQUEST first", 0x05, {"REQUEST"}, ErrorKind::invalid},
      {"HELLO twice", 0xc0, {"5", "5"}, ErrorKind::invalid},
      {"HELLO of later", 0xc0, {"2005"}, ErrorKind::unsupported},
      {"HELLO that does not fit", 0xc0, {"1"}, ErrorKind::refused},
      {"a piece after the end", 0xc0, {"5", "INDEX", "INDEX_EOF", "INDEX"}, ErrorKind::invalid},
      {"a second end", 0xc0, {"5", "INDEX", "INDEX_EOF", "INDEX_EOF"}, ErrorKind::invalid},
      {"an empty file", 0xc0, {"5", "INDEX_EOF"}, ErrorKind::truncated},
      {"the other file", 0xc0, {"5", "ARCHIVE"}, ErrorKind::invalid},
      {"after GOODBYE", 0xc0, {"5", "GOODBYE", "INDEX"}, ErrorKind::invalid},
      {"GOODBYE twice", 0xc0, {"5", "GOODBYE", "GOODBYE"}, ErrorKind::invalid},
      {"ABORT before HELLO", 0xc0, {"ABORT"}, ErrorKind::refused},
      {"ABORT later", 0xc0, {"5", "INDEX", "ABORT"}, ErrorKind::refused},
  };
  for (const auto& row : rows) {
    RemoteGate gate(row.mine);
    for (std::size_t i = 0; i + 1 < row.words.size(); ++i) EXPECT_TRUE(gate.admit(message_of(row.words[i]))) << row.name;
    const Result<void> last = gate.admit(message_of(row.words.back()));
    ASSERT_FALSE(last) << row.name;
    EXPECT_EQ(last.error().kind(), row.kind) << row.name << ": " << last.error().message();
    EXPECT_FALSE(gate.admit(message_of("5"))) << row.name << ": it stays failed";
  }
}

TEST(RemoteGate, AnAbortBecomesAnErrorThatFitsItsNumber) {
  const struct {
    int number;
    ErrorKind kind;
    const char* text;
  } rows[] = {
      {0, ErrorKind::connection_lost, "abort"},
      {EACCES, ErrorKind::refused, "Permission denied"},
      {ENOENT, ErrorKind::not_found, "No such"},
      {ENOMEDIUM, ErrorKind::not_found, "edium"},
      {EBADMSG, ErrorKind::corrupt, "Bad message"},  // a damaged chunk, or anything that was not understood
      {53, ErrorKind::io, ""},
      {2'000'000'000, ErrorKind::io, ""},
  };
  for (const auto& row : rows) {
    const Error error = error_of_abort({static_cast<std::uint64_t>(row.number), ""});
    EXPECT_EQ(error.kind(), row.kind) << row.number;
    EXPECT_NE(error.message().find(row.text), std::string::npos) << error.message();
  }
  EXPECT_NE(error_of_abort({5, "HTTP request on x failed with status 500"}).message().find("status 500"), std::string::npos);
}

TEST(RemoteGate, AnErrorOfOursBecomesAnAbortOfItsKind) {
  for (const ErrorKind kind : {ErrorKind::not_found, ErrorKind::refused, ErrorKind::no_space, ErrorKind::read_only, ErrorKind::io,
                               ErrorKind::unsupported, ErrorKind::limit, ErrorKind::timed_out, ErrorKind::corrupt}) {
    const Abort abort = abort_of_error(Error(kind, "the sentence"));
    EXPECT_EQ(error_of_abort(abort).kind(), kind) << name_of(kind);
    EXPECT_EQ(abort.text, "the sentence");
  }
}

}  // namespace
}  // namespace godwit::chunks
