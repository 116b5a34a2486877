// Homa in C++: remote calls over UDP in which short messages overtake long ones. A Transport is one UDP socket with its thread,
// or with yours; it makes calls and serves ports. A call is one request and one response of 1 byte to 1 MB each: no connections,
// no order between calls; a request is executed at most once by one run of a server, and a call ends once, with the whole
// response or with a Failure.
//
//   auto transport = godwit::homa::Transport::open({});
//   auto server = godwit::homa::Address::resolve("192.0.2.7:9160");
//   auto answer = (*transport)->call_and_wait(*server, 99, bytes);           // or with a callback, or co_await
//
// Nothing here is authenticated or encrypted. Nothing here throws, and what you hand in must not throw either.
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#if defined(__GNUC__)
#define GODWIT_HOMA_API __attribute__((visibility("default")))
#else
#define GODWIT_HOMA_API
#endif

namespace godwit::homa {

enum class Reason : std::uint8_t {
  invalid,            // arguments that break a rule: a length, a port, an address
  busy,               // too much is under way already; try again when some of it has ended
  timed_out,          // the server does not answer, or the call's deadline came. It may have been executed
  server_lost_state,  // the server started anew while it answered. It may have been executed
  refused,            // nobody listens at the UDP port
  unreachable,        // the network says so
  over,               // a reply to a request that is over, or was answered
  shut_down,          // the transport was stopped
  io,                 // the operating system said no
};

struct Failure {
  Reason reason = Reason::io;
  std::string text;  // what, where, and what to do
};

template <class T>
using Outcome = std::expected<T, Failure>;

// An IP address (IPv4 as ::ffff:a.b.c.d) and a UDP port.
struct Address {
  std::array<std::byte, 16> ip{};
  std::uint16_t port = 0;

  // "HOST", "HOST:PORT", "[v6]:PORT"; asks the system's resolver and waits for it.
  GODWIT_HOMA_API static Outcome<Address> resolve(std::string_view text, std::uint16_t default_port = 9160);
  GODWIT_HOMA_API std::string text() const;
  friend auto operator<=>(const Address&, const Address&) = default;
};

// The bytes of a request or response, in a buffer of the transport's pool. Moved, never copied; may be dropped on any thread and
// after the transport is gone.
class Message {
 public:
  Message() = default;
  Message(Message&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        owner_(std::exchange(other.owner_, nullptr)) {}
  Message& operator=(Message&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(owner_, other.owner_);
    return *this;
  }
  ~Message() {
    if (owner_ != nullptr) release(owner_);
  }

  std::span<std::byte> bytes() { return {data_, size_}; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  // Keeps the first `size` bytes; no more than there are.
  void shorten(std::size_t size) {
    if (size < size_) size_ = size;
  }

 private:
  friend class Transport;
  GODWIT_HOMA_API static void release(void* owner);

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  void* owner_ = nullptr;
};

class Transport;

// A request that a server has taken. It is answered once, on any thread; one that is destroyed unanswered is forgotten, and its
// client's call times out. It must not outlive its Transport.
class Request {
 public:
  Request(Request&& other) noexcept { *this = std::move(other); }
  Request& operator=(Request&& other) noexcept {
    std::swap(transport_, other.transport_);
    std::swap(rpc_, other.rpc_);
    std::swap(from_, other.from_);
    std::swap(message_, other.message_);
    return *this;
  }
  ~Request() {
    if (transport_ != nullptr) discard();
  }

  const Address& from() const { return from_; }
  std::span<const std::byte> bytes() const { return message_.bytes(); }
  std::string_view text() const { return message_.text(); }
  // Takes the request's bytes out, for instance to fill them with the response.
  Message take_message() { return std::move(message_); }

  // Reason::invalid (its length), over. When on the transport's thread; elsewhere what goes wrong is only counted.
  GODWIT_HOMA_API Outcome<void> reply(Message response);
  GODWIT_HOMA_API Outcome<void> reply(std::span<const std::byte> response);
  Outcome<void> reply(std::string_view response) {
    return reply(std::span(reinterpret_cast<const std::byte*>(response.data()), response.size()));
  }
  GODWIT_HOMA_API void discard();

 private:
  friend class Transport;
  Request() = default;

  Transport* transport_ = nullptr;
  std::uint64_t rpc_ = 0;
  Address from_;
  Message message_;
};

// A coroutine that nobody waits for: what a handler of requests may be.
struct Task {
  struct promise_type {
    Task get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

using CallId = std::uint64_t;  // 0: none

struct CallOptions {
  // The call fails with timed_out so long after it was made; none: when the protocol gives up, some 65 ms after the server fell
  // silent. The server is not told.
  std::optional<std::chrono::nanoseconds> deadline{};
};

struct TransportOptions {
  // The address to use: "", all of IPv4 and IPv6; or "HOST", "HOST:PORT".
  std::string bind{};
  std::uint16_t udp_port = 0;  // when `bind` names none; 0: any
  // A thread of the transport's own. Without it nothing happens but in run_once() and call_and_wait(), all on one thread: the
  // shortest way there is.
  bool threaded = false;

  // What is not given here is found out: the greatest packet and the link's speed from the network interface that `bind` names; a
  // speed that the card does not tell, from how fast long messages are received: the pace is a quarter above the best of the last
  // 10 to 20 s, none before one was seen. Loopback is not paced.
  std::optional<std::uint32_t> link_mbps{};  // 0: no pacing
  std::optional<std::uint32_t> mtu{};        // of the whole way, IP header included
  // What the link carries while a full packet goes there and a short one comes back, from which follows how much is sent unasked
  // and granted ahead. Found out from the first answers to calls and long responses, at least 8, without packets of its own: the
  // least round trip of the last 10 to 20 s times the link's speed, and a packet; 10,000 to 1,000,000. 60,000 before (and for who
  // only receives, or does not know the link's speed), 261,788 on loopback. The nearest peer decides: where some are much farther
  // than others, say it.
  std::optional<std::uint32_t> rtt_bytes{};
  // Time to look for packets before every sleep. None: 50 us where that finds some and nobody else wants the processor.
  std::optional<std::chrono::nanoseconds> spin{};

  // The protocol's clock. A server that is silent for 65 of them is given up, a lost packet is asked for after 15: longer for
  // machines or networks that stall.
  std::chrono::nanoseconds tick = std::chrono::milliseconds(1);

  bool gso = true;  // where the kernel has it
  bool gro = true;
  bool mark_priorities = true;
  std::uint8_t priorities = 8;
  std::uint32_t socket_buffer_bytes = 4 << 20;
  std::uint64_t outbound_bytes_max = 64ULL << 20;
  std::size_t kept_bytes_max = 64U << 20;
  // Answer a FREEZE packet by keeping the last packets' headers: see Transport::frozen_trace().
  bool allow_freeze = false;
};

// How long the calls took: counts by upper bound, in classes an eighth of a doubling wide.
struct Latencies {
  std::uint64_t count = 0;
  std::chrono::nanoseconds sum{};
  std::chrono::nanoseconds least{}, most{};
  std::chrono::nanoseconds p50{}, p90{}, p99{}, p999{};
};

// What happened so far; metrics() has all of it.
struct Totals {
  std::uint64_t calls_completed = 0, calls_failed = 0, requests_delivered = 0;
  std::uint64_t datagrams_sent = 0, datagrams_received = 0;
  std::uint64_t retransmitted_packets = 0;  // data that we sent again
  std::uint64_t resends_sent = 0;           // times that we asked for data again
  std::uint64_t system_calls = 0;           // that sent, received or slept
};

// Where a setting comes from: TransportOptions, the network card, what was measured, or a default.
enum class Origin : std::uint8_t { said, card, measured, assumed };

// What a transport goes by at the moment.
struct Pace {
  std::uint32_t link_mbps = 0;  // 0: not paced
  Origin link_from = Origin::assumed;
  std::uint32_t rtt_bytes = 0;
  Origin rtt_from = Origin::assumed;
  std::optional<std::chrono::nanoseconds> round_trip{};  // the least of late, if enough were seen
};

class Transport {
 public:
  using Completion = std::move_only_function<void(Outcome<Message>)>;
  using Handler = std::move_only_function<void(Request)>;

  GODWIT_HOMA_API static Outcome<std::unique_ptr<Transport>> open(const TransportOptions& options);
  // Calls that are under way end without a word.
  GODWIT_HOMA_API ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  GODWIT_HOMA_API Address local_address() const;

  // Gives the requests for `port` (1 to 32767) to `handler`, on the transport's thread.
  GODWIT_HOMA_API Outcome<void> serve(std::uint16_t port, Handler handler);
  // Requests that are not answered yet are forgotten.
  GODWIT_HOMA_API void stop_serving(std::uint16_t port);

  // --- calls: from the transport's thread, or from any if it has its own ---

  // `done` is called once, on the transport's thread and never before call() returns, unless the call is cancelled. A failure
  // here means that it will not be called: invalid, busy.
  GODWIT_HOMA_API Outcome<CallId> call(const Address& to, std::uint16_t port, Message request, Completion done,
                                       const CallOptions& options = {});
  GODWIT_HOMA_API Outcome<CallId> call(const Address& to, std::uint16_t port, std::span<const std::byte> request, Completion done,
                                       const CallOptions& options = {});
  // The call ends without a word. False: it is over already (on another thread than the transport's: true means it was asked
  // for).
  GODWIT_HOMA_API bool cancel(CallId call);

  // `co_await transport.call(to, port, message)` gives Outcome<Message>; goes on on the transport's thread.
  class Awaiter;
  Awaiter call(const Address& to, std::uint16_t port, Message request, const CallOptions& options = {});
  Awaiter call(const Address& to, std::uint16_t port, std::span<const std::byte> request, const CallOptions& options = {});

  // Waits for the answer. Not from within a handler or a completion.
  GODWIT_HOMA_API Outcome<Message> call_and_wait(const Address& to, std::uint16_t port, std::span<const std::byte> request,
                                                 const CallOptions& options = {});

  // `size` bytes, their content undefined. Thread-safe.
  GODWIT_HOMA_API Message make_message(std::size_t size);
  GODWIT_HOMA_API Message make_message(std::span<const std::byte> bytes);

  // --- without a thread of its own ---

  // Sends what may go, waits for packets or for something due but no longer than `patience`, and calls handlers and completions.
  // One system call to send, one or two to wait and receive. While packets come one after another the wait is in the receiving
  // call, and stop() ends it within 10 ms.
  GODWIT_HOMA_API void run_once(std::chrono::nanoseconds patience);
  // Until stop(), which any thread may call. The thread asks the kernel for short time slices; a transport's own thread does not,
  // since a process may have many, which would only take turns more often.
  GODWIT_HOMA_API void run();
  GODWIT_HOMA_API void stop();

  // --- what happened ---

  // In Prometheus' text form. Thread-safe.
  GODWIT_HOMA_API std::string metrics() const;
  // Of completed calls. Thread-safe.
  GODWIT_HOMA_API Latencies latencies() const;
  GODWIT_HOMA_API Totals totals() const;
  // Packets kept at a FREEZE, one per line, oldest first; nothing if there was none since it was last asked. Thread-safe.
  GODWIT_HOMA_API std::optional<std::string> frozen_trace();
  // How much of a message goes into one packet.
  GODWIT_HOMA_API std::size_t packet_bytes() const;
  // Thread-safe.
  GODWIT_HOMA_API Pace pace() const;
  // What was found out so far, in a sentence. Thread-safe.
  GODWIT_HOMA_API std::string describe() const;

 private:
  friend class Request;
  struct Impl;
  friend struct Impl;
  explicit Transport(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Transport::Awaiter {
 public:
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiter) {
    // Once it is under way it may end on the transport's thread, and this object with it: nothing of it is touched afterwards.
    Outcome<CallId> made = transport_.call(
        to_, port_, std::move(request_),
        [this, waiter](Outcome<Message> outcome) {
          outcome_ = std::move(outcome);
          waiter.resume();
        },
        options_);
    if (made) return true;
    outcome_ = std::unexpected(std::move(made).error());
    return false;
  }
  Outcome<Message> await_resume() { return std::move(outcome_); }

 private:
  friend class Transport;
  Awaiter(Transport& transport, const Address& to, std::uint16_t port, Message request, const CallOptions& options)
      : transport_(transport), to_(to), port_(port), request_(std::move(request)), options_(options) {}

  Transport& transport_;
  Address to_;
  std::uint16_t port_;
  Message request_;
  CallOptions options_;
  Outcome<Message> outcome_ = std::unexpected(Failure{});
};

inline Transport::Awaiter Transport::call(const Address& to, std::uint16_t port, Message request, const CallOptions& options) {
  return Awaiter(*this, to, port, std::move(request), options);
}
inline Transport::Awaiter Transport::call(const Address& to, std::uint16_t port, std::span<const std::byte> request,
                                          const CallOptions& options) {
  return Awaiter(*this, to, port, make_message(request), options);
}

// What measure() found out about the way to a server.
struct Way {
  Latencies short_calls;           // of 100 bytes
  Latencies packet_calls;          // of one full packet
  double megabits_per_second = 0;  // one way, by calls of 1 MB, four at a time
  std::uint64_t retransmitted_packets = 0;
  // What TransportOptions::rtt_bytes should be there: what the link carries in half of a short and half of a full packet's time.
  std::uint32_t rtt_bytes = 0;
};

// Measures the way to a server that echoes, as `godwit homa echo` does; some `count` calls of each kind. `link_mbps` as
// TransportOptions' (0: as fast as it was measured). Needs a transport without a thread of its own, which nobody else uses.
GODWIT_HOMA_API Outcome<Way> measure(Transport& transport, const Address& server, std::uint16_t port, std::uint32_t link_mbps,
                                     int count = 200);

}  // namespace godwit::homa
