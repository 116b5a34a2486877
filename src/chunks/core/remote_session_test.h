// What the tests of both sessions share: messages by words, and work as words, so that a conversation reads as one.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "chunks/core/remote_flags.h"
#include "chunks/core/remote_frame.h"
#include "chunks/core/remote_work.h"

namespace godwit::chunks::session_test {

inline ChunkId id_of(int number) {
  ChunkId id;
  id.bytes[0] = static_cast<std::byte>(number);
  return id;
}

inline const Bytes kData(3, std::byte{7});

// "HELLO c0", "INDEX", "INDEX_EOF", "ARCHIVE", "ARCHIVE_EOF", "HIGH 1 2", "LOW 1", "CHUNK 1", "MISSING 1", "GOODBYE", "ABORT 13".
inline wire::Message message_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = std::min(text.find(' ', at), text.size());
    words.emplace_back(text.substr(at, space - at));
    at = space + 1;
  }
  const std::string& word = words.front();
  const auto number = [&](std::size_t i, int base) { return std::stoull(words.at(i), nullptr, base); };
  if (word == "HELLO") return wire::Hello{number(1, 16)};
  if (word == "INDEX") return wire::Piece{wire::File::index, kData};
  if (word == "INDEX_EOF") return wire::PieceEof{wire::File::index};
  if (word == "ARCHIVE") return wire::Piece{wire::File::archive, kData};
  if (word == "ARCHIVE_EOF") return wire::PieceEof{wire::File::archive};
  if (word == "CHUNK") return wire::Chunk{id_of(static_cast<int>(number(1, 10))), true, kData};
  if (word == "MISSING") return wire::Missing{id_of(static_cast<int>(number(1, 10)))};
  if (word == "GOODBYE") return wire::Goodbye{};
  if (word == "ABORT") return wire::Abort{number(1, 10), ""};
  wire::Request request{word == "HIGH" ? wire::Priority::high : wire::Priority::low, {}};
  for (std::size_t i = 1; i < words.size(); ++i) request.ids.push_back(id_of(static_cast<int>(number(i, 10))));
  return request;
}

inline int number_of(const ChunkId& id) {
  return std::to_integer<int>(id.bytes[0]);
}

inline std::string text_of(const wire::Message& message) {
  if (const auto* hello = std::get_if<wire::Hello>(&message)) return fmt::format("HELLO {:x}", hello->flags);
  if (const auto* missing = std::get_if<wire::Missing>(&message)) return fmt::format("MISSING {}", number_of(missing->id));
  if (const auto* abort = std::get_if<wire::Abort>(&message)) return fmt::format("ABORT {}", abort->error_number);
  if (const auto* request = std::get_if<wire::Request>(&message)) {
    std::string text = request->priority == wire::Priority::high ? "HIGH" : "LOW";
    for (const ChunkId& id : request->ids) text += fmt::format(" {}", number_of(id));
    return text;
  }
  return std::string(wire::name_of(wire::type_of(message)));
}

// "send HELLO c0", "send piece", "load 1", "send chunk 1", "open", "read ids 2", "look up 1", "install", "end".
inline std::string text_of(const RemoteWork& work) {
  using namespace remote_work;
  if (const auto* send = std::get_if<Send>(&work)) {
    const Result<wire::Message> message = wire::decode_message(send->frame);
    EXPECT_TRUE(message);
    return "send " + (message ? text_of(*message) : "?");
  }
  if (std::holds_alternative<SendPiece>(work)) return "send piece";
  if (const auto* load = std::get_if<LoadChunk>(&work)) return fmt::format("load {}", number_of(load->id));
  if (const auto* chunk = std::get_if<SendChunk>(&work)) return fmt::format("send chunk {}", number_of(chunk->id));
  if (std::holds_alternative<OpenFile>(work)) return "open";
  if (const auto* read = std::get_if<ReadIds>(&work)) return fmt::format("read ids {}", read->count);
  if (const auto* look = std::get_if<LookUp>(&work)) return fmt::format("look up {}", number_of(look->id));
  if (std::holds_alternative<Install>(work)) return "install";
  return "end";
}

using Words = std::vector<std::string>;

inline Words& operator+=(Words& words, std::string word) {
  words.push_back(std::move(word));
  return words;
}

inline std::string text_of(const Error& error) {
  return fmt::format("error {}", name_of(error.kind()));
}

// The id at the end of an event: "loaded 1".
inline ChunkId id_in(const std::string& event) {
  return id_of(std::stoi(event.substr(event.rfind(' ') + 1)));
}

// The events that mean the same to both sessions: "piece", "eof", "loaded 1" (of 100 bytes), "absent 1", "eos" (the stream
// ended), "fail" (there is no space). False for any other.
template <typename Session>
bool handle_common_event(Session& session, const std::string& event, Words& out) {
  if (event == "piece") {
    session.handle_piece_ready();
  } else if (event == "eof") {
    session.handle_file_end();
  } else if (event.starts_with("loaded")) {
    session.handle_chunk_loaded(id_in(event), 100);
  } else if (event.starts_with("absent")) {
    session.handle_chunk_absent(id_in(event));
  } else if (event == "eos") {
    if (const Result<void> ended = session.handle_end_of_stream(); !ended) out += text_of(ended.error());
  } else if (event == "fail") {
    session.handle_failure(Error(ErrorKind::no_space, "full"));
  } else {
    return event == "start";
  }
  return true;
}

// What a session says of a frame.
inline void note_use(const Result<PayloadUse>& use, Words& out) {
  if (!use) out += text_of(use.error());
  if (use && *use != PayloadUse::none) out += *use == PayloadUse::piece ? "take piece" : "take chunk";
}

// A row's conversation, after the HELLO that a session begins with. A step is an event and the work that it leads to, in order:
// "> LOW 2 3: load 2, load 3"; an event alone leads to none.
template <typename Scene>
void converse(Scene& scene, const std::string& row, HelloFlags hello, const std::vector<std::string>& steps) {
  EXPECT_EQ(scene.run("start"), (Words{fmt::format("send HELLO {:x}", hello)})) << row;
  for (const std::string& step : steps) {
    const std::size_t colon = std::min(step.find(": "), step.size());
    const std::string expected = step.substr(std::min(colon + 2, step.size()));
    EXPECT_EQ(fmt::format("{}", fmt::join(scene.run(step.substr(0, colon)), ", ")), expected) << row << ": " << step;
  }
}

}  // namespace godwit::chunks::session_test
