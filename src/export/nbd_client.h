// An NBD client as a BlockDevice: how one host relays its clients' requests to another's export. Many requests in flight on one
// connection, simple or structured replies. When the connection ends, everything unanswered and everything later fails with
// ErrorKind::connection_lost; an error value 0x4D4F5645 is ErrorKind::moved.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "net/scheduler.h"
#include "net/stream.h"
#include "store/block_device.h"

namespace godwit::exports {

// One option sent and answered before NBD_OPT_GO (the relay's opening).
struct OpeningOption {
  std::uint32_t option = 0;
  Bytes payload;
  // Given the reply's type and payload, says which export name to GO with, or why not.
  std::move_only_function<Result<std::string>(std::uint32_t type, ConstBytes payload)> answered;
};

struct NbdClientOptions {
  std::string export_name;
  std::optional<OpeningOption> opening;
};

class NbdClient : public store::BlockDevice {
 public:
  // Negotiates over `stream`; the result is ready for requests.
  static void open(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, NbdClientOptions options,
                   net::Done<std::unique_ptr<NbdClient>> done);

  // Called once when the connection is lost (not when this object is destroyed).
  virtual void on_lost(std::move_only_function<void(Error)> handler) = 0;
  // How many requests await their answer.
  virtual std::size_t unanswered() const = 0;
};

}  // namespace godwit::exports
