// The server's side of the NBD handshake as a machine without I/O: the client's bytes go in, ours come out, until the client has
// chosen an export (the rest of its bytes are requests), has left, or has broken a rule. Fixed newstyle of doc/proto.md.
// What exports there are it asks of a Catalogue at each option; options it does not know itself may be the catalogue's, then it
// waits until handle_answer().
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "export/nbd_protocol.h"

namespace godwit::exports {

struct OfferedExport {
  nbd::ExportInfo info;  // without kSendDf, which the machine adds where it may stand
  nbd::BlockSizes sizes;
  std::string description;
};

class Catalogue {
 public:
  virtual ~Catalogue() = default;
  virtual std::optional<OfferedExport> find(const std::string& name) = 0;
  // Names and descriptions, in the order in which they are to be told.
  virtual std::vector<std::pair<std::string, std::string>> list() = 0;
  // Whether somebody answers this option; asked for unknown ones only.
  virtual bool handles(std::uint32_t option) = 0;
};

struct NegotiationLimits {
  std::uint32_t option_bytes_max = 0;  // one option's data; more closes the connection, after an answer
  std::uint32_t options_max = 0;       // then the connection is closed
};

// What was agreed for transmission.
struct Agreement {
  std::string export_name;
  bool structured_replies = false;
  bool allocation_context = false;  // base:allocation, whose id is kAllocationContextId

  friend bool operator==(const Agreement&, const Agreement&) = default;
};
inline constexpr std::uint32_t kAllocationContextId = 1;

class Negotiation {
 public:
  enum class State {
    running,       // wants bytes
    asking,        // an option waits for handle_answer(); takes no bytes
    transmission,  // agreement() stands; takes no bytes
    ended,         // why() says how; what poll_output() still gives may be sent, then the connection is to be closed
  };

  // `catalogue` outlives this. The greeting is ready at once.
  Negotiation(Catalogue& catalogue, NegotiationLimits limits);

  // Takes bytes while running and while little output waits; says how many it took. Whoever feeds it sends the output and comes
  // back with the rest: so a row of LISTs asks for no more memory than one.
  std::size_t handle_bytes(ConstBytes bytes);
  // The answer to asked_option(), in state asking.
  void handle_answer(std::uint32_t type, ConstBytes payload);
  // Everything to be sent by now.
  Bytes poll_output() { return std::exchange(output_, {}); }

  State state() const { return state_; }
  std::uint32_t asked_option() const { return header_->option; }
  ConstBytes asked_payload() const { return input_; }
  const Agreement& agreement() const { return agreement_; }
  std::string_view why() const { return why_; }

 private:
  std::size_t wanted_bytes() const;
  void handle_unit();
  void handle_client_flags();
  void handle_option_header();
  void handle_option();
  void handle_export_name();
  void handle_list();
  void handle_info(bool go);
  void handle_structured_reply();
  void handle_meta_context(bool set);
  void reply(std::uint32_t type, ConstBytes payload = {});
  void reply_error(std::uint32_t type, std::string_view text) { reply(type, as_bytes(text)); }
  void next_option();
  void end(std::string_view why);
  std::uint16_t flags_of(const OfferedExport& offered) const;
  void begin_transmission(const std::string& name);

  Catalogue& catalogue_;
  NegotiationLimits limits_;
  State state_ = State::running;
  bool flags_known_ = false;
  bool no_zeroes_ = false;
  bool structured_ = false;
  std::optional<std::string> allocation_for_;  // the export whose base:allocation was chosen
  std::uint32_t options_ = 0;
  std::optional<nbd::OptionHeader> header_;  // of the option whose data are awaited
  Bytes input_;                              // the beginning of what is awaited
  Bytes output_;
  Agreement agreement_;
  std::string_view why_;
};

}  // namespace godwit::exports
