// `godwit homa echo`: a server for ping, bench and doctor; and what these have in common.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <godwit/homa.hpp>

#include "cli/settings.h"

namespace godwit::cli {

struct HomaLinkOptions {
  std::uint16_t homa_port = 99;
  std::string bind;
  std::optional<std::uint32_t> mtu;
  std::optional<std::uint32_t> link_mbps;
  std::optional<std::uint32_t> rtt_bytes;
  std::optional<std::uint32_t> spin_us;
  std::uint32_t tick_ms = 1;

  homa::TransportOptions transport_options() const;
};

struct HomaEchoOptions {
  HomaLinkOptions link;
  std::uint16_t udp_port = 9160;
  std::string metrics;
  bool insecure = false;
  bool allow_freeze = false;
};

int run_homa_echo(const Settings& settings, const HomaEchoOptions& options);

// A client's transport towards `server`, bound to our address on that way, so that the interface's MTU and speed are known.
Result<std::unique_ptr<homa::Transport>> open_towards(const HomaLinkOptions& options, const homa::Address& server);
Error error_of(const homa::Failure& failure);
// Serves `port` with what it is sent.
homa::Outcome<void> serve_echo(homa::Transport& transport, std::uint16_t port);

}  // namespace godwit::cli
