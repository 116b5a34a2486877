// The mark in a schema, and the reply to it: how two godwits find each other (silo.md 13, docs/formats/control-frames.md).
// Declared in control.h.
#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "volume/core/control.h"

namespace godwit::volume {
namespace {

constexpr std::string_view kProgram = "godwit/";
constexpr std::string_view kComment = "# ";
constexpr std::size_t kNonceSize = 32;

bool is_nonce(std::string_view text) {
  return text.size() == kNonceSize &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string line_of(const Mark& mark) {
  GODWIT_CHECK(mark.version >= 1 && is_nonce(mark.nonce.text));
  return std::string(kProgram) + std::to_string(mark.version) + " " + mark.nonce.text + "\n";
}

// A decimal number of at least 1, without leading zeros.
std::optional<std::uint32_t> parse_version(std::string_view text) {
  std::uint32_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size() || text.front() == '0') return std::nullopt;
  return version;
}

// "godwit/1 NONCE", without the newline.
std::optional<Mark> parse_line(std::string_view line) {
  if (!line.starts_with(kProgram)) return std::nullopt;
  line.remove_prefix(kProgram.size());
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || !is_nonce(line.substr(space + 1))) return std::nullopt;
  const std::optional<std::uint32_t> version = parse_version(line.substr(0, space));
  if (!version) return std::nullopt;
  return Mark{.version = *version, .nonce = Nonce{std::string(line.substr(space + 1))}};
}

// The last line with its newline; empty when the text does not end in one.
std::string_view last_line(std::string_view text) {
  if (!text.ends_with('\n')) return {};
  const std::size_t before = text.substr(0, text.size() - 1).rfind('\n');
  return before == std::string_view::npos ? text : text.substr(before + 1);
}

}  // namespace

std::string with_mark(std::string schema, const Mark& mark) {
  // A schema that came from a godwit still bears that connection's mark.
  while (find_mark(schema)) schema.resize(schema.size() - last_line(schema).size());
  if (!schema.empty() && !schema.ends_with('\n')) schema += '\n';
  schema += kComment;
  schema += line_of(mark);
  return schema;
}

std::optional<Mark> find_mark(std::string_view schema) {
  std::string_view line = last_line(schema);
  if (!line.starts_with(kComment)) return std::nullopt;
  line.remove_prefix(kComment.size());
  line.remove_suffix(1);
  return parse_line(line);
}

void encode_reply(const Mark& mark, const ControlMessage& hello, Bytes& out) {
  GODWIT_CHECK(hello.type == ControlType::hello);
  append(out, as_bytes(line_of(mark)));
  encode_control(hello, out);
}

Result<std::optional<Reply>> decode_reply(ConstBytes payload) {
  const std::string_view text = as_text(payload);
  if (!text.starts_with(kProgram)) return std::nullopt;
  const std::size_t newline = text.find('\n');
  if (newline == std::string_view::npos) return fail(ErrorKind::truncated, "a reply without an end of line");
  const std::optional<Mark> mark = parse_line(text.substr(0, newline));
  if (!mark) return fail(ErrorKind::invalid, "a reply that can not be read");
  Result<DecodedControl> hello = decode_control(payload.subspan(newline + 1));
  if (!hello) return fail(std::move(hello).error().within("reply"));
  if (!hello->message || hello->message->type != ControlType::hello) return fail(ErrorKind::invalid, "a reply without a HELLO");
  return Reply{.mark = *mark, .hello = std::move(*hello->message)};
}

}  // namespace godwit::volume
