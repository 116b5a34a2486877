#include "export/nbd_negotiation.h"

#include <gtest/gtest.h>

#include <functional>

namespace godwit::exports {
namespace {

using namespace nbd;

constexpr std::uint16_t kFlags = kHasFlags | kSendFlush | kSendFua;
constexpr std::uint32_t kAnswered = 0x47445701;

class TestCatalogue final : public Catalogue {
 public:
  std::optional<OfferedExport> find(const std::string& name) override {
    if (name == "vol") return OfferedExport{{0x100000, kFlags}, {1, 4096, 32 << 20}, "a volume"};
    if (name == "sector") return OfferedExport{{0x100000, kFlags}, {512, 4096, 32 << 20}, ""};
    return std::nullopt;
  }
  std::vector<std::pair<std::string, std::string>> list() override { return {{"sector", ""}, {"vol", "a volume"}}; }
  bool handles(std::uint32_t option) override { return option == kAnswered; }
};

constexpr NegotiationLimits kLimits{.option_bytes_max = 1000, .options_max = 20};

Bytes hello(std::uint32_t flags = kFixedNewstyle | kNoZeroes) {
  return encode_client_flags(flags);
}
Bytes with_option(Bytes bytes, std::uint32_t option, ConstBytes payload = {}) {
  append_option(bytes, option, payload);
  return bytes;
}

// An answer as text, so that a row says what is expected: "7:info 0000000000001000000d".
std::string told(ConstBytes replies) {
  std::string text;
  while (!replies.empty()) {
    OptionReplyHeader header = decode_option_reply_header(replies).value();
    ConstBytes payload = replies.subspan(kOptionReplyHeaderBytes, header.length);
    replies = replies.subspan(kOptionReplyHeaderBytes + header.length);
    if (!text.empty()) text += ", ";
    text += std::to_string(header.option) + ":";
    switch (header.type) {
      case kRepAck: text += "ack"; break;
      case kRepServer: text += "server " + to_hex(payload); break;
      case kRepInfo: text += "info " + to_hex(payload); break;
      case kRepMetaContext: text += "meta " + to_hex(payload); break;
      case kRepErrUnsupported: text += "unsupported"; break;
      case kRepErrInvalid: text += "invalid"; break;
      case kRepErrUnknown: text += "unknown"; break;
      case kRepErrTooBig: text += "too big"; break;
      case kRepErrBlockSizeRequired: text += "block size required"; break;
      default: text += std::to_string(header.type) + " " + to_hex(payload);
    }
  }
  return text;
}

struct Outcome {
  std::string output;  // without the greeting
  std::size_t taken = 0;
  Negotiation::State state;
  Agreement agreement;
  std::string why;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Feeds `bytes` in two pieces, the second from `split`.
Outcome run(ConstBytes bytes, std::size_t split = 0, bool raw = false) {
  TestCatalogue catalogue;
  Negotiation machine(catalogue, kLimits);
  Bytes output = machine.poll_output();
  EXPECT_EQ(to_hex(output), "4e42444d4147494349484156454f50540003");
  output.clear();
  Outcome run;
  for (ConstBytes piece : {bytes.first(split), bytes.subspan(split)}) {
    while (true) {
      std::size_t taken = machine.handle_bytes(piece);
      piece = piece.subspan(taken);
      run.taken += taken;
      append(output, machine.poll_output());
      if (machine.state() == Negotiation::State::asking) {
        EXPECT_EQ(machine.asked_option(), kAnswered);
        Bytes payload = to_bytes(machine.asked_payload());
        machine.handle_answer(kAnswered, payload);
      } else if (taken == 0) {
        break;
      }
    }
  }
  run.state = machine.state();
  run.agreement = machine.agreement();
  run.why = machine.why();
  run.output = raw ? to_hex(output) : told(output);
  return run;
}

constexpr const char* kVolInfo = "info 00000000000000100000000d";

struct Row {
  const char* name;
  Bytes bytes;
  std::string output;
  Negotiation::State state;
};

std::vector<Row> rows() {
  using enum Negotiation::State;
  auto info = [](std::string name, std::vector<std::uint16_t> wanted = {}) {
    return encode_info_query({std::move(name), std::move(wanted)});
  };
  auto meta = [](std::string name, std::vector<std::string> contexts) {
    return encode_meta_query({std::move(name), std::move(contexts)});
  };
  const Bytes structured = with_option(hello(), kOptStructuredReply);
  return {
      {"nothing but flags", hello(), "", running},
      {"a flag nobody knows", hello(4), "", ended},
      {"not an option", to_bytes(as_bytes(std::string("\0\0\0\3GET / HTTP/1.0\r\n", 20))), "", ended},
      {"abort", with_option(hello(), kOptAbort), "2:ack", ended},
      {"list", with_option(hello(), kOptList), "3:server 00000006736563746f72, 3:server 00000003766f6c6120766f6c756d65, 3:ack",
       running},
      {"list with data", with_option(hello(), kOptList, Bytes(1)), "3:invalid", running},
      {"starttls", with_option(hello(), kOptStartTls), "5:unsupported", running},
      {"starttls with data", with_option(hello(), kOptStartTls, Bytes(1)), "5:invalid", running},
      {"extended headers", with_option(hello(), 11), "11:unsupported", running},
      {"an option of the future", with_option(hello(), 0x7777, Bytes(9)), "30583:unsupported", running},
      {"info of one", with_option(hello(), kOptInfo, info("vol")), "6:" + std::string(kVolInfo) + ", 6:ack", running},
      {"info of none", with_option(hello(), kOptInfo, info("lov")), "6:unknown", running},
      {"info of everything", with_option(hello(), kOptInfo, info("vol", {kInfoBlockSize, kInfoDescription, kInfoName, 99})),
       "6:" + std::string(kVolInfo) +
           ", 6:info 0001766f6c, 6:info 00026120766f6c756d65, 6:info 0003000000010000100002000000, 6:ack",
       running},
      {"info that does not add up", with_option(hello(), kOptInfo, Bytes(5)), "6:invalid", running},
      {"info of blocks unasked for", with_option(hello(), kOptInfo, info("sector")), "6:info 00000000000000100000000d, 6:ack",
       running},
      {"go", with_option(hello(), kOptGo, info("vol")), "7:" + std::string(kVolInfo) + ", 7:ack", transmission},
      {"go to none", with_option(hello(), kOptGo, info("")), "7:unknown", running},
      {"go without hearing of blocks", with_option(hello(), kOptGo, info("sector")), "7:block size required", running},
      {"go hearing of blocks", with_option(hello(), kOptGo, info("sector", {kInfoBlockSize})),
       "7:info 00000000000000100000000d, 7:info 0003000002000000100002000000, 7:ack", transmission},
      {"structured replies offer DF", with_option(structured, kOptInfo, info("vol")),
       "8:ack, 6:info 00000000000000100000008d, 6:ack", running},
      {"structured replies with data", with_option(hello(), kOptStructuredReply, Bytes(1)), "8:invalid", running},
      {"contexts before structured replies", with_option(hello(), kOptSetMetaContext, meta("vol", {"base:allocation"})),
       "10:invalid", running},
      {"every context", with_option(structured, kOptListMetaContext, meta("vol", {})),
       "8:ack, 9:meta 00000000626173653a616c6c6f636174696f6e, 9:ack", running},
      {"contexts of a name space", with_option(structured, kOptListMetaContext, meta("vol", {"qemu:", "base:"})),
       "8:ack, 9:meta 00000000626173653a616c6c6f636174696f6e, 9:ack", running},
      {"a context of others", with_option(structured, kOptListMetaContext, meta("vol", {"qemu:dirty-bitmap:x"})), "8:ack, 9:ack",
       running},
      {"contexts of no export", with_option(structured, kOptListMetaContext, meta("", {})), "8:ack, 9:unknown", running},
      {"contexts that do not add up", with_option(structured, kOptSetMetaContext, Bytes(3)), "8:ack, 10:invalid", running},
      {"set nothing", with_option(structured, kOptSetMetaContext, meta("vol", {})), "8:ack, 10:ack", running},
      {"set a name space", with_option(structured, kOptSetMetaContext, meta("vol", {"base:"})), "8:ack, 10:ack", running},
      {"set and go",
       with_option(with_option(structured, kOptSetMetaContext, meta("vol", {"x:y", "base:allocation"})), kOptGo, info("vol")),
       "8:ack, 10:meta 00000001626173653a616c6c6f636174696f6e, 10:ack, 7:info 00000000000000100000008d, 7:ack", transmission},
      {"answered by another", with_option(with_option(hello(), kAnswered, Bytes(3)), kOptList, Bytes(1)),
       "1195661057:1195661057 000000, 3:invalid", running},
      {"data over the limit", with_option(hello(), kOptGo, Bytes(1001)), "7:too big", ended},
      {"a name over the limit", with_option(hello(), kOptExportName, Bytes(1001)), "", ended},
      {"export name of none", with_option(hello(), kOptExportName, as_bytes("lov")), "", ended},
      {"export name of blocks", with_option(hello(), kOptExportName, as_bytes("sector")), "", ended},
  };
}

TEST(NbdNegotiation, EachOptionHasItsAnswer) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    Outcome once = run(row.bytes);
    EXPECT_EQ(once.output, row.output);
    EXPECT_EQ(once.state, row.state) << once.why;
    EXPECT_EQ(once.why.empty(), row.state != Negotiation::State::ended);
  }
}

TEST(NbdNegotiation, SplittingTheBytesAnywhereChangesNothing) {
  for (const Row& row : rows()) {
    SCOPED_TRACE(row.name);
    Outcome whole = run(row.bytes);
    for (std::size_t split = 1; split < row.bytes.size(); ++split) EXPECT_EQ(run(row.bytes, split), whole) << "at " << split;
  }
}

TEST(NbdNegotiation, ExportNameIsAnsweredByTheExportAlone) {
  const std::string info = "0000000000100000000d";
  for (bool zeroes : {false, true}) {
    Bytes bytes = with_option(hello(zeroes ? kFixedNewstyle : kFixedNewstyle | kNoZeroes), kOptExportName, as_bytes("vol"));
    Outcome done = run(bytes, 0, true);
    EXPECT_EQ(done.output, info + (zeroes ? std::string(248, '0') : ""));
    EXPECT_EQ(done.state, Negotiation::State::transmission);
    EXPECT_EQ(done.agreement, (Agreement{"vol", false, false}));
  }
}

TEST(NbdNegotiation, RequestsBehindGoAreLeftAlone) {
  Bytes bytes = with_option(hello(), kOptGo, encode_info_query({"vol", {}}));
  std::size_t handshake = bytes.size();
  bytes.resize(bytes.size() + kRequestBytes);
  EXPECT_EQ(run(bytes).taken, handshake);
}

TEST(NbdNegotiation, ContextsHoldForTheExportTheyWereSetFor) {
  Bytes set = with_option(with_option(hello(), kOptStructuredReply), kOptSetMetaContext,
                          encode_meta_query({"vol", {std::string(kBaseAllocation)}}));
  struct Case {
    const char* name;
    Bytes bytes;
    Agreement agreement;
  };
  const Bytes go_vol = encode_info_query({"vol", {}});
  const Case cases[] = {
      {"the same export", with_option(set, kOptGo, go_vol), {"vol", true, true}},
      {"another export", with_option(set, kOptGo, encode_info_query({"sector", {kInfoBlockSize}})), {"sector", true, false}},
      {"set again to nothing",
       with_option(with_option(set, kOptSetMetaContext, encode_meta_query({"vol", {}})), kOptGo, go_vol),
       {"vol", true, false}},
      {"set again in vain",
       with_option(with_option(set, kOptSetMetaContext, encode_meta_query({"lov", {}})), kOptGo, go_vol),
       {"vol", true, false}},
      {"listed, not set",
       with_option(with_option(with_option(hello(), kOptStructuredReply), kOptListMetaContext, encode_meta_query({"vol", {}})),
                   kOptGo, go_vol),
       {"vol", true, false}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(run(c.bytes).agreement, c.agreement);
  }
}

TEST(NbdNegotiation, TooManyOptionsEndIt) {
  Bytes bytes = hello();
  for (std::uint32_t i = 0; i < kLimits.options_max; ++i) bytes = with_option(std::move(bytes), 0x99);
  EXPECT_EQ(run(bytes).state, Negotiation::State::running);
  Outcome over = run(with_option(bytes, 0x99));
  EXPECT_EQ(over.state, Negotiation::State::ended);
  EXPECT_EQ(over.why, "too many options");
}

TEST(NbdNegotiation, UnsentAnswersHoldBackTheNextOption) {
  class ManyExports final : public Catalogue {
   public:
    std::optional<OfferedExport> find(const std::string&) override { return std::nullopt; }
    std::vector<std::pair<std::string, std::string>> list() override {
      return std::vector<std::pair<std::string, std::string>>(100, {std::string(1000, 'x'), ""});
    }
    bool handles(std::uint32_t) override { return false; }
  } catalogue;
  Negotiation machine(catalogue, kLimits);
  machine.poll_output();
  Bytes bytes = with_option(with_option(with_option(hello(), kOptList), kOptList), kOptAbort);
  std::size_t taken = machine.handle_bytes(bytes);
  EXPECT_EQ(taken, hello().size() + kOptionHeaderBytes);
  std::size_t one_list = machine.poll_output().size();
  taken += machine.handle_bytes(ConstBytes(bytes).subspan(taken));
  EXPECT_EQ(machine.poll_output().size(), one_list);
  EXPECT_EQ(machine.state(), Negotiation::State::running);
  machine.handle_bytes(ConstBytes(bytes).subspan(taken));
  EXPECT_EQ(machine.state(), Negotiation::State::ended);
}

}  // namespace
}  // namespace godwit::exports
