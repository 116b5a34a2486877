#include "export/nbd_client_negotiation.h"

#include <algorithm>

#include <fmt/format.h>

namespace godwit::exports {

using namespace nbd;

// No reply that we ask for is longer; the opening option's is the largest.
static constexpr std::uint32_t kReplyBytesMax = 256 * 1024 + 64;

std::size_t ClientNegotiation::wanted_bytes() const {
  if (step_ == Step::greeting) return kGreetingBytes;
  return header_ ? header_->length : kOptionReplyHeaderBytes;
}

std::size_t ClientNegotiation::handle_bytes(ConstBytes bytes) {
  std::size_t taken = 0;
  while (state_ == State::running) {
    std::size_t count = std::min(wanted_bytes() - input_.size(), bytes.size() - taken);
    append(input_, bytes.subspan(taken, count));
    taken += count;
    if (input_.size() < wanted_bytes()) break;
    handle_unit();
  }
  return taken;
}

void ClientNegotiation::handle_unit() {
  if (step_ == Step::greeting) return handle_greeting();
  if (!header_) return handle_reply_header();
  OptionReplyHeader header = *std::exchange(header_, std::nullopt);
  handle_reply(header, std::exchange(input_, {}));
}

void ClientNegotiation::handle_greeting() {
  Result<std::uint16_t> flags = decode_greeting(std::exchange(input_, {}));
  if (!flags) return end(std::move(flags).error());
  append(output_, encode_client_flags(kFixedNewstyle | (*flags & kNoZeroes)));
  if (options_.opening)
    ask(Step::opening, options_.opening->option, options_.opening->payload);
  else
    ask_structured_reply();
}

void ClientNegotiation::handle_reply_header() {
  Result<OptionReplyHeader> header = decode_option_reply_header(std::exchange(input_, {}));
  if (!header) return end(std::move(header).error());
  if (header->option != asked_)
    return end(Error(ErrorKind::invalid, fmt::format("a reply to option {} where {} was asked", header->option, asked_)));
  if (header->length > kReplyBytesMax)
    return end(Error(ErrorKind::limit, fmt::format("an option reply of {} bytes", header->length)));
  header_ = *header;
}

void ClientNegotiation::handle_reply(const OptionReplyHeader& header, ConstBytes payload) {
  switch (step_) {
    case Step::greeting: return;
    case Step::opening: return handle_opening(header, payload);
    case Step::structured_reply:
      opened_.structured_replies = header.type == kRepAck;
      if (!opened_.structured_replies) return ask_go();
      return ask(Step::meta_context, kOptSetMetaContext,
                 encode_meta_query({options_.export_name, {std::string(kBaseAllocation)}}));
    case Step::meta_context: return handle_meta_context(header, payload);
    case Step::go: return handle_go(header, payload);
  }
}

void ClientNegotiation::handle_opening(const OptionReplyHeader& header, ConstBytes payload) {
  Result<std::string> name = options_.opening->answered(header.type, payload);
  if (!name) return end(std::move(name).error());
  options_.export_name = std::move(*name);
  ask_structured_reply();
}

void ClientNegotiation::handle_meta_context(const OptionReplyHeader& header, ConstBytes payload) {
  if (header.type != kRepMetaContext) return ask_go();  // that was the last one, or it has none
  Result<MetaContext> context = decode_meta_context(payload);
  if (!context) return end(std::move(context).error());
  if (context->name == kBaseAllocation) opened_.allocation_context = context->id;
}

void ClientNegotiation::handle_go(const OptionReplyHeader& header, ConstBytes payload) {
  if (header.type == kRepInfo) return handle_info(payload);
  if (header.type == kRepAck) {
    if (!told_) return end(Error(ErrorKind::invalid, "the server opened an export without telling its size"));
    state_ = State::open;
    return;
  }
  ErrorKind kind = ErrorKind::refused;
  if (header.type == kRepErrUnknown) kind = ErrorKind::not_found;
  if (header.type == kRepErrUnsupported) kind = ErrorKind::unsupported;
  if (header.type == kRepErrShutdown) kind = ErrorKind::shut_down;
  end(Error(kind, fmt::format("export \"{}\": the server says {:#x} \"{}\"", escaped(options_.export_name), header.type,
                              escaped(as_text(payload.first(std::min(payload.size(), kStringBytesMax)))))));
}

void ClientNegotiation::handle_info(ConstBytes payload) {
  if (payload.size() < sizeof(std::uint16_t)) return end(Error(ErrorKind::invalid, "information without a type"));
  const auto type =
      static_cast<std::uint16_t>(std::to_integer<unsigned>(payload[0]) << 8 | std::to_integer<unsigned>(payload[1]));
  if (type == kInfoExport) {
    Result<ExportInfo> info = decode_export_info(payload);
    if (!info) return end(std::move(info).error());
    opened_.info = *info;
    told_ = true;
  } else if (type == kInfoBlockSize) {
    Result<BlockSizes> sizes = decode_block_sizes(payload);
    if (!sizes) return end(std::move(sizes).error());
    opened_.sizes = *sizes;
  }
}

void ClientNegotiation::ask(Step step, std::uint32_t option, ConstBytes payload) {
  step_ = step;
  asked_ = option;
  append_option(output_, option, payload);
}

void ClientNegotiation::ask_structured_reply() {
  ask(Step::structured_reply, kOptStructuredReply, {});
}
void ClientNegotiation::ask_go() {
  ask(Step::go, kOptGo, encode_info_query({options_.export_name, {kInfoBlockSize}}));
}

void ClientNegotiation::end(Error error) {
  state_ = State::failed;
  error_ = std::move(error).within("NBD handshake");
}

}  // namespace godwit::exports
