// Streams between simulated hosts, with what networks do to them: latency, narrow wires, full windows, a byte stream cut into
// other pieces than it was written in, connections that break, peers that fall silent.
//
// A Fabric is all the wires of a world. It keeps the promises of net/stream.h, also the inconvenient ones: callbacks come inside
// the call that gave them or later (by the seed), reads are short, a write ends when the bytes are accepted and not when they
// arrive. Clean ends are as TCP's: a stream that is closed with everything read ends with a 0-byte read at the peer; one that is
// closed with bytes unread, or that still is sent to, resets the connection.
//
// A host is known by its name. "name:port" is its address; "localhost", "127.0.0.1", "::1" and Unix paths are the caller's own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/stream.h"
#include "sim/world.h"

namespace godwit::sim {

// How one direction between two hosts behaves.
struct LinkQuality {
  Duration latency = Duration::microseconds(100);            // one way
  Duration jitter = Duration::microseconds(50);              // up to this much more; bytes stay in order
  std::uint64_t bandwidth_bytes_per_second = 1'000'000'000;  // 0: no limit
  std::size_t window_bytes = 256 * 1024;                     // sent and not yet read by the peer
  std::size_t send_buffer_bytes = 256 * 1024;                // accepted and not yet sent; Stream::limit_unsent() lowers it
  std::size_t segment_bytes_max = 64 * 1024;                 // what travels together
  double short_read_chance = 0.125;                          // that a read is given fewer bytes than there are
  double inline_chance = 0.25;                               // that a call that can end at once does so before it returns
};

// What becomes of calls to connect.
enum class ConnectRule : std::uint8_t {
  accept,
  refuse,  // ErrorKind::connection_lost after a round trip, as where nobody listens
  ignore,  // no answer: ErrorKind::timed_out, unless the rule changes in time
};

// What the peers of a crashed host notice.
enum class CrashNotice : std::uint8_t {
  reset,    // their connections break after a latency: the process died, its kernel lives
  silence,  // nothing, until keep-alive gives up or the host is back and answers with resets: the machine lost power
};

// As production's streams ask of their kernels (silo.md 12): a peer that has answered nothing for 30 s is given up. What is
// simulated is the outcome, not the probes' way over the wire.
inline constexpr Duration kKeepAliveIdle = Duration::seconds(15);
inline constexpr Duration kKeepAliveInterval = Duration::seconds(5);
inline constexpr unsigned kKeepAliveProbes = 3;

class Connection;  // both ends of a stream and what is between them (connection.h)
struct Link;
struct ListenerState;

class Fabric {
 public:
  explicit Fabric(World& world);
  ~Fabric();
  Fabric(const Fabric&) = delete;
  Fabric& operator=(const Fabric&) = delete;

  World& world() { return world_; }

  // From now on, also for connections that exist. Links within one host are as fast as loopback unless told otherwise.
  void set_default_quality(LinkQuality quality);
  void set_quality(const std::string& from, const std::string& to, LinkQuality quality);  // one direction
  void set_quality_between(const std::string& a, const std::string& b, LinkQuality quality);
  // Bytes of this direction wait on the way until it is freed again; nothing is lost unless keep-alive gives up.
  void set_stuck(const std::string& from, const std::string& to, bool stuck);
  void set_connect_rule(const std::string& from, const std::string& to, ConnectRule rule);
  // Both directions stuck and connects ignored; and the end of it.
  void partition(const std::string& a, const std::string& b);
  void heal(const std::string& a, const std::string& b);
  // Breaks every connection between the two: both ends lose it now, bytes on the way are lost but for a prefix that the seed
  // chooses. Returns how many there were.
  std::size_t cut(const std::string& a, const std::string& b);
  // Open connections between the two.
  std::size_t count_connections(const std::string& a, const std::string& b) const;

  // For Host: the network as the incarnation `group` of `host` sees it, and what happens to hosts.
  std::unique_ptr<net::Network> attach(const std::string& host, Group group);
  void host_crashed(const std::string& host, Group group, CrashNotice notice);
  void host_restarted(const std::string& host);

 private:
  friend class HostNetwork;
  struct HostState {
    bool up = true;
    CrashNotice notice = CrashNotice::reset;
    std::uint16_t next_port = 49152;
  };
  struct Attempt;  // one call to connect, repeated until it is answered or its time is over

  std::shared_ptr<Link> link(const std::string& from, const std::string& to);
  void try_connect(std::shared_ptr<Attempt> attempt);
  void establish(Attempt& attempt, ListenerState& listener, Duration way_back);
  std::vector<std::shared_ptr<Connection>> connections_between(const std::string& a, const std::string& b) const;
  void forget_dead_connections();

  World& world_;
  Random random_;
  LinkQuality default_quality_;
  std::uint64_t next_connection_ = 1;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Link>> links_;
  std::map<std::string, HostState> hosts_;
  // By host and address there ("1234" or "unix:/path"). Weak: the Listener owns it.
  std::map<std::pair<std::string, std::string>, std::weak_ptr<ListenerState>> listeners_;
  std::vector<std::weak_ptr<Connection>> connections_;
};

}  // namespace godwit::sim
