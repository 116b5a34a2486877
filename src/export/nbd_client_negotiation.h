// The client's side of the NBD handshake as a machine without I/O: the server's bytes go in, ours come out, until an export is
// open or the server has said no. In order: the opening option if there is one, structured replies, base:allocation, GO. What a
// server does not offer is done without, but GO.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "export/nbd_client.h"
#include "export/nbd_protocol.h"

namespace godwit::exports {

struct OpenedExport {
  nbd::ExportInfo info;
  nbd::BlockSizes sizes;
  bool structured_replies = false;
  std::optional<std::uint32_t> allocation_context;  // its id
};

class ClientNegotiation {
 public:
  enum class State { running, open, failed };

  explicit ClientNegotiation(NbdClientOptions options) : options_(std::move(options)) {}

  // Takes bytes while running; says how many it took.
  std::size_t handle_bytes(ConstBytes bytes);
  Bytes poll_output() { return std::exchange(output_, {}); }

  State state() const { return state_; }
  const OpenedExport& opened() const { return opened_; }
  // In state failed: why.
  const Error& error() const { return *error_; }

 private:
  enum class Step { greeting, opening, structured_reply, meta_context, go };

  std::size_t wanted_bytes() const;
  void handle_unit();
  void handle_greeting();
  void handle_reply_header();
  void handle_reply(const nbd::OptionReplyHeader& header, ConstBytes payload);
  void handle_opening(const nbd::OptionReplyHeader& header, ConstBytes payload);
  void handle_meta_context(const nbd::OptionReplyHeader& header, ConstBytes payload);
  void handle_go(const nbd::OptionReplyHeader& header, ConstBytes payload);
  void handle_info(ConstBytes payload);
  void ask(Step step, std::uint32_t option, ConstBytes payload);
  void ask_structured_reply();
  void ask_go();
  void end(Error error);

  NbdClientOptions options_;
  State state_ = State::running;
  Step step_ = Step::greeting;
  std::uint32_t asked_ = 0;                       // the option whose replies are awaited
  std::optional<nbd::OptionReplyHeader> header_;  // of the reply whose data are awaited
  bool told_ = false;                             // the export's size and flags have come
  Bytes input_;
  Bytes output_;
  OpenedExport opened_;
  std::optional<Error> error_;
};

}  // namespace godwit::exports
