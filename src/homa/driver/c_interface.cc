// The interface for C over the driver. An id is an RPC's handle plus one, so that 0 is nobody's; what has come and was not asked
// for yet waits in two queues.
#include <godwit/homa.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <optional>
#include <unordered_set>

#include "homa/driver/driver.h"
#include "homa/driver/kernel_address.h"
#include "homa/driver/transport_impl.h"

using godwit::ErrorKind;
using godwit::Instant;
using namespace godwit::homa;  // NOLINT: the functions of C stand outside of all namespaces

namespace {

std::uint64_t id_of(RpcHandle rpc) {
  return number_of(rpc) + 1;
}

int fail_with(int number) {
  errno = number;
  return -1;
}

int errno_of(CallError error) {
  switch (error) {
    case CallError::refused: return ENOTCONN;
    case CallError::unreachable: return EHOSTUNREACH;
    case CallError::server_lost_state: return ECONNRESET;
    default: return ETIMEDOUT;
  }
}

void fill(homa_address& out, const PeerAddress& peer, Port port) {
  std::memset(&out, 0, sizeof out);
  const KernelAddress address(peer, !is_ipv4(peer));
  std::memcpy(&out.udp, address.data(), address.size());
  out.homa_port = port.value;
}

}  // namespace

struct homa {
  std::unique_ptr<Driver> driver;
  Port server_port;  // kNoPort: none
  Port client_port;
  std::deque<Delivery> requests, responses;
  std::unordered_set<std::uint64_t> calls;  // whose end nobody has received yet

  void collect() {
    while (const std::optional<Port> port = driver->poll_readable())
      while (std::optional<Delivery> delivery = driver->poll_event(*port))
        (delivery->event.kind == Event::Kind::request ? requests : responses).push_back(std::move(*delivery));
  }

  // The next that fits; it is taken out of its queue.
  std::optional<Delivery> take(std::uint64_t id, int flags) {
    if (id != 0) {
      const auto found =
          std::find_if(responses.begin(), responses.end(), [&](const Delivery& d) { return id_of(d.event.rpc) == id; });
      if (found == responses.end()) return std::nullopt;
      Delivery delivery = std::move(*found);
      responses.erase(found);
      return delivery;
    }
    for (auto* queue :
         {(flags & HOMA_RECV_RESPONSE) != 0 ? &responses : nullptr, (flags & HOMA_RECV_REQUEST) != 0 ? &requests : nullptr}) {
      if (queue == nullptr || queue->empty()) continue;
      Delivery delivery = std::move(queue->front());
      queue->pop_front();
      return delivery;
    }
    return std::nullopt;
  }

  std::optional<Delivery> await(std::uint64_t id, int flags, Instant deadline) {
    while (true) {
      collect();
      if (std::optional<Delivery> delivery = take(id, flags)) return delivery;
      const Instant now = Driver::now();
      driver->transmit();
      driver->wait(deadline);
      driver->transmit();
      if (now >= deadline) {  // it has looked once more
        collect();
        return take(id, flags);
      }
    }
  }
};

extern "C" {

struct homa* homa_open(const char* bind_address, uint16_t homa_port) {
  TransportOptions options;
  if (bind_address != nullptr) options.bind = bind_address;
  LinkFacts facts;
  const godwit::Result<DriverOptions> settings = driver_options(options, facts);
  if (!settings || homa_port >= kFirstClientPort.value) {
    errno = EINVAL;
    return nullptr;
  }
  errno = 0;
  godwit::Result<std::unique_ptr<Driver>> driver = Driver::open(*settings);
  if (!driver) {
    if (errno == 0) errno = EIO;
    return nullptr;
  }
  auto made = std::make_unique<homa>();
  made->driver = std::move(*driver);
  made->client_port = *made->driver->open_port(kNoPort);
  if (homa_port != 0) made->server_port = *made->driver->open_port(Port{homa_port});
  return made.release();
}

void homa_close(struct homa* homa) {
  delete homa;
}

int homa_resolve(const char* host, uint16_t homa_port, struct homa_address* address) {
  constexpr std::uint16_t kDefaultPort = 9160;
  if (host == nullptr || address == nullptr) return fail_with(EINVAL);
  const godwit::Result<PeerAddress> peer = resolve_peer(host, kDefaultPort);
  if (!peer) return fail_with(peer.error().kind() == ErrorKind::not_found ? ENOENT : EINVAL);
  fill(*address, *peer, Port{homa_port});
  return 0;
}

int homa_getsockname(const struct homa* homa, struct homa_address* address) {
  fill(*address, homa->driver->socket().local_address(), homa->server_port);
  return 0;
}

int homa_send(struct homa* homa, const void* request, size_t length, const struct homa_address* to, uint64_t* id,
              uint64_t cookie) {
  const int family = to == nullptr ? AF_UNSPEC : to->udp.ss_family;
  if (request == nullptr || length == 0 || to->homa_port == 0 || (family != AF_INET && family != AF_INET6))
    return fail_with(EINVAL);
  if (length > HOMA_MAX_MESSAGE_LENGTH) return fail_with(EMSGSIZE);
  const auto size = static_cast<std::uint32_t>(length);
  MessageBuffer bytes = homa->driver->pool().take(size);
  std::memcpy(bytes.data(), request, size);
  const godwit::Result<StartedCall> started =
      homa->driver->call(homa->client_port, peer_address_of(to->udp), Port{to->homa_port}, std::move(bytes), size, cookie);
  if (!started) return fail_with(started.error().kind() == ErrorKind::invalid ? EINVAL : EAGAIN);
  homa->calls.insert(id_of(started->rpc));
  if (id != nullptr) *id = id_of(started->rpc);
  homa->driver->transmit();
  return 0;
}

ssize_t homa_recv(struct homa* homa, void* buffer, size_t size, int flags, int timeout_ms, struct homa_address* from,
                  uint64_t* id, size_t* message_length, uint64_t* cookie) {
  const std::uint64_t wanted = id == nullptr ? 0 : *id;
  if (wanted != 0 ? !homa->calls.contains(wanted) : (flags & (HOMA_RECV_REQUEST | HOMA_RECV_RESPONSE)) == 0)
    return fail_with(EINVAL);
  const bool now = (flags & HOMA_RECV_NONBLOCKING) != 0;
  const Instant deadline = now              ? Driver::now()
                           : timeout_ms < 0 ? Instant::never()
                                            : Driver::now() + godwit::Duration::milliseconds(timeout_ms);
  const std::optional<Delivery> delivery = homa->await(wanted, flags, deadline);
  if (!delivery) return fail_with(EAGAIN);
  const Event& event = delivery->event;
  if (event.kind != Event::Kind::request) homa->calls.erase(id_of(event.rpc));
  if (id != nullptr) *id = id_of(event.rpc);
  if (cookie != nullptr) *cookie = event.kind == Event::Kind::request ? 0 : event.cookie;
  if (message_length != nullptr) *message_length = event.length;
  if (from != nullptr) std::memset(from, 0, sizeof *from);
  if (event.kind == Event::Kind::failed) return fail_with(errno_of(event.error));
  if (from != nullptr) fill(*from, event.peer, event.peer_port);
  const std::size_t copied = std::min<std::size_t>(size, event.length);
  if (copied > 0) std::memcpy(buffer, delivery->bytes.data(), copied);
  return static_cast<ssize_t>(copied);
}

int homa_reply(struct homa* homa, const void* response, size_t length, uint64_t id) {
  if (response == nullptr || length == 0 || id == 0) return fail_with(EINVAL);
  if (length > HOMA_MAX_MESSAGE_LENGTH) return fail_with(EMSGSIZE);
  const auto size = static_cast<std::uint32_t>(length);
  MessageBuffer bytes = homa->driver->pool().take(size);
  std::memcpy(bytes.data(), response, size);
  if (!homa->driver->reply(handle_of(id - 1), std::move(bytes), size)) return fail_with(EINVAL);
  homa->driver->transmit();
  return 0;
}

int homa_abort(struct homa* homa, uint64_t id) {
  if (id == 0 || homa->calls.erase(id) == 0) return fail_with(EINVAL);
  if (!homa->driver->abort(handle_of(id - 1)))  // it has ended, and waits to be received
    std::erase_if(homa->responses, [&](const Delivery& d) { return id_of(d.event.rpc) == id; });
  return 0;
}

}  // extern "C"
