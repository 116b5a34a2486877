// TLS in front of streams, for servers: whoever listens through a TlsNetwork is given streams that are what the peer means, and
// knows nothing of TLS. OpenSSL does the work in memory; bytes go through the stream below. Versions 1.2 and 1.3. Clients are not
// asked for certificates.
#pragma once

#include <memory>
#include <string>

#include "net/stream.h"

namespace godwit::net {

// A certificate with its chain, and its key.
class TlsIdentity {
 public:
  // Both in PEM; the chain follows its certificate in one file. Errors name the file: ErrorKind::not_found, ErrorKind::invalid
  // for what is no certificate or key, or where the two do not belong together.
  static Result<std::shared_ptr<const TlsIdentity>> load(const std::string& certificate, const std::string& key);
  ~TlsIdentity();
  TlsIdentity(const TlsIdentity&) = delete;
  TlsIdentity& operator=(const TlsIdentity&) = delete;

 private:
  friend std::unique_ptr<Stream> make_tls_stream(Scheduler&, std::unique_ptr<Stream>, std::shared_ptr<const TlsIdentity>);
  struct Context;
  explicit TlsIdentity(std::unique_ptr<Context> context);
  std::unique_ptr<Context> context_;
};

// The server's side over a stream that was just accepted. The handshake happens with the first read or write, whose errors tell
// of it: ErrorKind::invalid for a peer that speaks no TLS or another one, ErrorKind::connection_lost for one that leaves without
// saying goodbye, so that nothing cut off looks whole. `done`s come in later turns. The scheduler outlives it.
std::unique_ptr<Stream> make_tls_stream(Scheduler& scheduler, std::unique_ptr<Stream> below,
                                        std::shared_ptr<const TlsIdentity> identity);

// Listens through another network, which outlives it. connect() gives ErrorKind::unsupported.
class TlsNetwork final : public Network {
 public:
  TlsNetwork(Scheduler& scheduler, Network& below, std::shared_ptr<const TlsIdentity> identity)
      : scheduler_(scheduler), below_(below), identity_(std::move(identity)) {}
  void connect(const Address& to, Done<std::unique_ptr<Stream>> done) override;
  Result<std::unique_ptr<Listener>> listen(const Address& at, std::function<void(std::unique_ptr<Stream>)> accept) override;

 private:
  Scheduler& scheduler_;
  Network& below_;
  std::shared_ptr<const TlsIdentity> identity_;
};

}  // namespace godwit::net
