#include "sim/link.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/connection.h"

namespace godwit::sim {

namespace {

constexpr Duration kConnectTimeout = Duration::milliseconds(10'000);
constexpr Duration kConnectRetry = Duration::milliseconds(1'000);

LinkQuality loopback() {
  LinkQuality quality;
  quality.latency = Duration::microseconds(10);
  quality.jitter = Duration::microseconds(10);
  quality.bandwidth_bytes_per_second = 0;
  return quality;
}

bool is_own(const net::Address& address) {
  return address.is_unix() || address.host == "localhost" || address.host == "127.0.0.1" || address.host == "::1";
}

std::string local_part(const net::Address& address) {
  return address.is_unix() ? "unix:" + address.unix_path : std::to_string(address.port);
}

}  // namespace

// What a Listener owns and the fabric finds.
struct ListenerState {
  std::string host;
  Group group;
  net::Address address;
  std::function<void(std::unique_ptr<net::Stream>)> accept;
  bool alive = true;
};

struct Fabric::Attempt {
  std::string host;
  Group group;
  net::Address to;
  std::string target;
  Instant give_up;
  net::Done<std::unique_ptr<net::Stream>> done;
};

namespace {

class SimListener final : public net::Listener {
 public:
  explicit SimListener(std::shared_ptr<ListenerState> state) : state_(std::move(state)) {}
  ~SimListener() override { state_->alive = false; }
  net::Address address() const override { return state_->address; }

 private:
  const std::shared_ptr<ListenerState> state_;
};

}  // namespace

class HostNetwork final : public net::Network {
 public:
  HostNetwork(Fabric& fabric, std::string host, Group group) : fabric_(fabric), host_(std::move(host)), group_(group) {}

  void connect(const net::Address& to, net::Done<std::unique_ptr<net::Stream>> done) override {
    World& world = fabric_.world();
    if (world.is_over(group_)) return world.bury([done = std::move(done)] {});
    auto attempt = std::make_shared<Fabric::Attempt>();
    attempt->host = host_;
    attempt->group = group_;
    attempt->to = to;
    attempt->target = is_own(to) ? host_ : to.host;
    attempt->give_up = world.now() + kConnectTimeout;
    attempt->done = std::move(done);
    fabric_.try_connect(std::move(attempt));
  }

  Result<std::unique_ptr<net::Listener>> listen(const net::Address& at,
                                                std::function<void(std::unique_ptr<net::Stream>)> accept) override {
    if (fabric_.world().is_over(group_)) return fail(ErrorKind::cancelled, host_ + " has crashed");
    auto state = std::make_shared<ListenerState>();
    state->host = host_;
    state->group = group_;
    state->address = at;
    state->accept = std::move(accept);
    Fabric::HostState& host = fabric_.hosts_[host_];
    if (!at.is_unix() && at.port == 0) state->address.port = host.next_port++;
    std::weak_ptr<ListenerState>& place = fabric_.listeners_[{host_, local_part(state->address)}];
    const std::shared_ptr<ListenerState> earlier = place.lock();
    if (earlier && earlier->alive && !fabric_.world().is_over(earlier->group))
      return fail(ErrorKind::io, "listen on " + at.text() + ": address in use");
    place = state;
    return std::make_unique<SimListener>(std::move(state));
  }

 private:
  Fabric& fabric_;
  const std::string host_;
  const Group group_;
};

Fabric::Fabric(World& world) : world_(world), random_(world.random().fork()) {}
Fabric::~Fabric() = default;

std::unique_ptr<net::Network> Fabric::attach(const std::string& host, Group group) {
  hosts_[host].up = true;
  return std::make_unique<HostNetwork>(*this, host, group);
}

std::shared_ptr<Link> Fabric::link(const std::string& from, const std::string& to) {
  std::shared_ptr<Link>& found = links_[{from, to}];
  if (!found) found = std::make_shared<Link>(Link{from, to, from == to ? loopback() : default_quality_});
  return found;
}

// ---- connecting

void Fabric::try_connect(std::shared_ptr<Attempt> attempt) {
  const std::shared_ptr<Link> there = link(attempt->host, attempt->target);
  const std::shared_ptr<Link> back = link(attempt->target, attempt->host);
  const auto way = [&](const Link& l) {
    return world_.between(random_, l.quality.latency, l.quality.latency + l.quality.jitter);
  };
  const Duration way_there = way(*there), way_back = way(*back);
  const auto answer_error = [&](Duration delay, ErrorKind kind, const std::string& why) {
    Error error(kind, "connect to " + attempt->to.text() + ": " + why);
    world_.schedule(delay, [attempt, error = std::move(error)] { attempt->done(fail(error)); }, attempt->group);
  };
  const auto host = hosts_.find(attempt->target);
  if (host == hosts_.end()) return answer_error(way_there, ErrorKind::not_found, "no such host");
  const bool silent = there->stuck || back->stuck || there->rule == ConnectRule::ignore ||
                      (!host->second.up && host->second.notice == CrashNotice::silence);
  if (silent) {
    if (world_.now() + kConnectRetry > attempt->give_up)
      return answer_error(attempt->give_up - world_.now(), ErrorKind::timed_out, "no answer");
    world_.schedule(kConnectRetry, [this, attempt] { try_connect(attempt); }, attempt->group);
    return;
  }
  if (!host->second.up || there->rule == ConnectRule::refuse)
    return answer_error(way_there + way_back, ErrorKind::connection_lost, "refused");
  world_.schedule(way_there, [this, attempt, way_back] {
    const auto found = listeners_.find({attempt->target, local_part(attempt->to)});
    const std::shared_ptr<ListenerState> listener = found == listeners_.end() ? nullptr : found->second.lock();
    if (listener && listener->alive && !world_.is_over(listener->group)) return establish(*attempt, *listener, way_back);
    world_.schedule(
        way_back,
        [attempt] { attempt->done(fail(ErrorKind::connection_lost, "connect to " + attempt->to.text() + ": refused")); },
        attempt->group);
  });
}

void Fabric::establish(Attempt& attempt, ListenerState& listener, Duration way_back) {
  if (world_.is_over(attempt.group)) return;
  forget_dead_connections();
  const std::uint64_t id = next_connection_++;
  Connection::End client{attempt.host, attempt.group, attempt.to};
  Connection::End server{listener.host, listener.group, {}};
  if (attempt.to.is_unix())
    server.peer.unix_path = "client-" + std::to_string(id);
  else
    server.peer = {attempt.host, hosts_[attempt.host].next_port++, {}};
  auto connection = std::make_shared<Connection>(world_, random_.fork(), id, std::array{client, server},
                                                 std::array{link(client.host, server.host), link(server.host, client.host)});
  connections_.push_back(connection);
  world_.fold(0x60, id);
  if (world_.tracing()) world_.trace(fmt::format("{} connects to {}: connection {}", attempt.host, attempt.to.text(), id));

  world_.schedule(
      Duration{},
      [state = listeners_[{listener.host, local_part(listener.address)}].lock(), stream = connection->stream(1)]() mutable {
        if (state && state->alive) state->accept(std::move(stream));
      },
      listener.group);
  world_.schedule(
      way_back, [done = std::move(attempt.done), stream = connection->stream(0)]() mutable { done(std::move(stream)); },
      attempt.group);
}

// ---- what the scenario does to links

void Fabric::set_default_quality(LinkQuality quality) {
  default_quality_ = quality;
  for (auto& [pair, l] : links_) {
    if (!l->own_quality && pair.first != pair.second) l->quality = quality;
  }
}

void Fabric::set_quality(const std::string& from, const std::string& to, LinkQuality quality) {
  const std::shared_ptr<Link> l = link(from, to);
  l->quality = quality;
  l->own_quality = true;
  for (const auto& connection : connections_between(from, to)) connection->take_up();
}

void Fabric::set_quality_between(const std::string& a, const std::string& b, LinkQuality quality) {
  set_quality(a, b, quality);
  set_quality(b, a, quality);
}

void Fabric::set_stuck(const std::string& from, const std::string& to, bool stuck) {
  link(from, to)->stuck = stuck;
  for (const auto& connection : connections_between(from, to)) {
    if (stuck) {
      connection->fell_silent();
    } else {
      connection->take_up();
    }
  }
}

void Fabric::set_connect_rule(const std::string& from, const std::string& to, ConnectRule rule) {
  link(from, to)->rule = rule;
}

void Fabric::partition(const std::string& a, const std::string& b) {
  if (world_.tracing()) world_.trace(fmt::format("partition between {} and {}", a, b));
  set_stuck(a, b, true);
  set_stuck(b, a, true);
}

void Fabric::heal(const std::string& a, const std::string& b) {
  if (world_.tracing()) world_.trace(fmt::format("{} and {} see each other again", a, b));
  set_stuck(a, b, false);
  set_stuck(b, a, false);
}

std::size_t Fabric::cut(const std::string& a, const std::string& b) {
  std::size_t count = 0;
  for (const auto& connection : connections_between(a, b)) {
    count += connection->is_open();
    connection->cut();
  }
  if (world_.tracing()) world_.trace(fmt::format("{} connections between {} and {} cut", count, a, b));
  return count;
}

std::size_t Fabric::count_connections(const std::string& a, const std::string& b) const {
  const auto found = connections_between(a, b);
  return static_cast<std::size_t>(std::count_if(found.begin(), found.end(), [](const auto& c) { return c->is_open(); }));
}

std::vector<std::shared_ptr<Connection>> Fabric::connections_between(const std::string& a, const std::string& b) const {
  std::vector<std::shared_ptr<Connection>> found;
  for (const std::weak_ptr<Connection>& one : connections_) {
    std::shared_ptr<Connection> connection = one.lock();
    if (connection && connection->is_between(a, b)) found.push_back(std::move(connection));
  }
  return found;
}

void Fabric::forget_dead_connections() {
  std::erase_if(connections_, [](const std::weak_ptr<Connection>& one) { return one.expired(); });
}

// ---- hosts

void Fabric::host_crashed(const std::string& host, Group group, CrashNotice notice) {
  HostState& state = hosts_[host];
  state.up = false;
  state.notice = notice;
  for (const std::weak_ptr<Connection>& one : connections_) {
    if (const std::shared_ptr<Connection> connection = one.lock()) connection->crash(host, group, notice);
  }
}

void Fabric::host_restarted(const std::string& host) {
  for (const std::weak_ptr<Connection>& one : connections_) {
    if (const std::shared_ptr<Connection> connection = one.lock()) connection->host_restarted(host);
  }
}

}  // namespace godwit::sim
