// Any bytes as a control message, as a reply and as a schema that may bear a mark.
#include "base/check.h"
#include "volume/core/control.h"

using namespace godwit;
using namespace godwit::volume;

static void check_message(ConstBytes payload) {
  const Result<DecodedControl> decoded = decode_control(payload);
  if (!decoded || !decoded->message) return;
  Bytes again;
  encode_control(*decoded->message, again);
  const Result<DecodedControl> second = decode_control(again);
  GODWIT_CHECK(second && second->skipped_fields == 0 && second->message == decoded->message);
}

static void check_reply(ConstBytes payload) {
  const Result<std::optional<Reply>> reply = decode_reply(payload);
  if (!reply || !*reply) return;
  Bytes again;
  encode_reply((*reply)->mark, (*reply)->hello, again);
  const Result<std::optional<Reply>> second = decode_reply(again);
  GODWIT_CHECK(second && *second && (*second)->mark == (*reply)->mark && (*second)->hello == (*reply)->hello);
}

static void check_mark(std::string_view schema) {
  if (const std::optional<Mark> mark = find_mark(schema)) GODWIT_CHECK(find_mark(with_mark(std::string(schema), *mark)) == mark);
  const Mark ours{.version = 1, .nonce = {std::string(32, '0')}};
  GODWIT_CHECK(find_mark(with_mark(std::string(schema), ours)) == ours);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  check_message(bytes);
  check_reply(bytes);
  check_mark(as_text(bytes));
  return 0;
}
