#include "export/nbd_negotiation.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::exports {

using namespace nbd;  // the protocol's numbers are this file's words

// More than this unsent, and handle_bytes() takes no further option.
static constexpr std::size_t kOutputBytesHigh = 64 * 1024;

Negotiation::Negotiation(Catalogue& catalogue, NegotiationLimits limits) : catalogue_(catalogue), limits_(limits) {
  output_ = encode_greeting(kFixedNewstyle | kNoZeroes);
}

std::size_t Negotiation::wanted_bytes() const {
  if (!flags_known_) return kClientFlagsBytes;
  return header_ ? header_->length : kOptionHeaderBytes;
}

std::size_t Negotiation::handle_bytes(ConstBytes bytes) {
  std::size_t taken = 0;
  while (state_ == State::running && output_.size() < kOutputBytesHigh) {
    std::size_t count = std::min(wanted_bytes() - input_.size(), bytes.size() - taken);
    append(input_, bytes.subspan(taken, count));
    taken += count;
    if (input_.size() < wanted_bytes()) break;
    handle_unit();
  }
  return taken;
}

void Negotiation::handle_unit() {
  if (!flags_known_) return handle_client_flags();
  if (!header_) return handle_option_header();
  handle_option();
}

void Negotiation::handle_client_flags() {
  std::uint32_t flags = 0;
  for (std::byte b : input_) flags = flags << 8 | std::to_integer<std::uint32_t>(b);
  input_.clear();
  flags_known_ = true;
  // A client without the fixed newstyle may send EXPORT_NAME only; one that sends more can read the answers.
  if ((flags & ~std::uint32_t{kFixedNewstyle | kNoZeroes}) != 0) return end("the client asks for an unknown handshake flag");
  no_zeroes_ = (flags & kNoZeroes) != 0;
}

void Negotiation::handle_option_header() {
  Result<OptionHeader> header = decode_option_header(input_);
  input_.clear();
  if (!header) return end("not an option: bad magic");
  header_ = *header;
  if (++options_ > limits_.options_max) return end("too many options");
  if (header_->length > limits_.option_bytes_max) {
    // Its data would have to be read to go on; nobody honest sends that much.
    if (header_->option != kOptExportName) reply_error(kRepErrTooBig, "the option's data are too long");
    return end("an option's data are too long");
  }
}

void Negotiation::handle_option() {
  switch (header_->option) {
    case kOptExportName: return handle_export_name();
    case kOptAbort: reply(kRepAck); return end("the client left");
    case kOptList: handle_list(); break;
    case kOptStartTls:
      if (input_.empty())
        reply_error(kRepErrUnsupported, "TLS is not offered within this connection");
      else
        reply_error(kRepErrInvalid, "STARTTLS takes no data");
      break;
    case kOptInfo: handle_info(false); break;
    case kOptGo: handle_info(true); break;
    case kOptStructuredReply: handle_structured_reply(); break;
    case kOptListMetaContext: handle_meta_context(false); break;
    case kOptSetMetaContext: handle_meta_context(true); break;
    default:
      if (catalogue_.handles(header_->option)) {
        state_ = State::asking;
        return;
      }
      reply_error(kRepErrUnsupported, "this server does not know the option");
  }
  next_option();
}

void Negotiation::handle_answer(std::uint32_t type, ConstBytes payload) {
  GODWIT_CHECK(state_ == State::asking);
  state_ = State::running;
  reply(type, payload);
  next_option();
}

void Negotiation::next_option() {
  header_.reset();
  input_.clear();
}

// The oldest way in: no answer but the export itself, and no way to say no but to close.
void Negotiation::handle_export_name() {
  std::string name(as_text(input_));
  std::optional<OfferedExport> offered = catalogue_.find(name);
  if (!offered) return end("the client asked for an unknown export by EXPORT_NAME");
  if (offered->sizes.min > 1) return end("EXPORT_NAME can not tell of the export's block size");
  Bytes info = encode_export_info({offered->info.size, flags_of(*offered)});
  append(output_, ConstBytes(info).subspan(sizeof(std::uint16_t)));  // here without its type
  if (!no_zeroes_) output_.resize(output_.size() + 124);
  begin_transmission(name);
}

void Negotiation::handle_list() {
  if (!input_.empty()) return reply_error(kRepErrInvalid, "LIST takes no data");
  for (const auto& [name, description] : catalogue_.list()) reply(kRepServer, encode_listed_export(name, description));
  reply(kRepAck);
}

void Negotiation::handle_info(bool go) {
  Result<InfoQuery> query = decode_info_query(input_);
  if (!query) return reply_error(kRepErrInvalid, query.error().message());
  std::optional<OfferedExport> offered = catalogue_.find(query->name);
  if (!offered) return reply_error(kRepErrUnknown, "no such export");
  auto wants = [&](std::uint16_t type) { return std::ranges::find(query->wanted, type) != query->wanted.end(); };
  // A client that does not want to hear of block sizes would send requests that we refuse.
  if (go && offered->sizes.min > 1 && !wants(kInfoBlockSize))
    return reply_error(kRepErrBlockSizeRequired, "ask for the export's block size and keep to it");

  reply(kRepInfo, encode_export_info({offered->info.size, flags_of(*offered)}));
  if (wants(kInfoName)) reply(kRepInfo, encode_info_text(kInfoName, query->name));
  if (wants(kInfoDescription) && !offered->description.empty())
    reply(kRepInfo, encode_info_text(kInfoDescription, offered->description));
  if (wants(kInfoBlockSize)) reply(kRepInfo, encode_block_sizes(offered->sizes));
  reply(kRepAck);
  if (go) begin_transmission(query->name);
}

void Negotiation::handle_structured_reply() {
  if (!input_.empty()) return reply_error(kRepErrInvalid, "STRUCTURED_REPLY takes no data");
  structured_ = true;
  reply(kRepAck);
}

void Negotiation::handle_meta_context(bool set) {
  if (set) allocation_for_.reset();
  if (!structured_) return reply_error(kRepErrInvalid, "metadata contexts need structured replies");
  Result<MetaQuery> query = decode_meta_query(input_);
  if (!query) return reply_error(kRepErrInvalid, query.error().message());
  if (!catalogue_.find(query->name)) return reply_error(kRepErrUnknown, "no such export");

  auto selects = [&](const std::string& context) { return context == kBaseAllocation || (!set && context == "base:"); };
  bool selected = std::ranges::any_of(query->contexts, selects) || (!set && query->contexts.empty());
  if (selected) {
    // Ids mean something after SET only; a LIST's are to be ignored.
    reply(kRepMetaContext, encode_meta_context({set ? kAllocationContextId : 0, std::string(kBaseAllocation)}));
    if (set) allocation_for_ = query->name;
  }
  reply(kRepAck);
}

std::uint16_t Negotiation::flags_of(const OfferedExport& offered) const {
  return static_cast<std::uint16_t>(offered.info.flags | (structured_ ? kSendDf : 0));
}

void Negotiation::begin_transmission(const std::string& name) {
  agreement_ = {name, structured_, allocation_for_ == name};
  state_ = State::transmission;
}

void Negotiation::reply(std::uint32_t type, ConstBytes payload) {
  append_option_reply(output_, header_->option, type, payload);
}

void Negotiation::end(std::string_view why) {
  state_ = State::ended;
  why_ = why;
}

}  // namespace godwit::exports
