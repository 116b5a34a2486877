#include "sim/connection.h"

#include <fmt/format.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"
#include "base/hash.h"

namespace godwit::sim {

namespace {

enum Happening : std::uint64_t { kRead = 0x51, kWrite, kLost, kEnded };

Error lost_error() {
  return {ErrorKind::connection_lost, "the connection broke"};
}
Error cancelled_error() {
  return {ErrorKind::cancelled, "the stream was closed"};
}

}  // namespace

class SimStream final : public net::Stream {
 public:
  SimStream(std::shared_ptr<Connection> connection, int side) : connection_(std::move(connection)), side_(side) {}
  ~SimStream() override { connection_->destroy(side_); }

  void read(std::span<const MutableBytes> into, net::Done<std::size_t> done) override {
    connection_->read(side_, into, std::move(done));
  }
  void write(std::span<const ConstBytes> from, net::Done<void> done) override {
    connection_->write(side_, from, std::move(done));
  }
  void shut_down_sending() override { connection_->shut_down_sending(side_); }
  void close() override { connection_->close(side_); }
  void limit_unsent(std::size_t bytes) override { connection_->limit_unsent(side_, bytes); }
  net::Address peer() const override { return connection_->sides_[side_].end.peer; }
  std::optional<std::uint32_t> peer_user_id() const override {
    if (!peer().is_unix()) return std::nullopt;
    return ::geteuid();  // All of a world runs as the test's user.
  }

 private:
  const std::shared_ptr<Connection> connection_;
  const int side_;
};

Connection::Connection(World& world, Random random, std::uint64_t id, std::array<End, 2> ends,
                       std::array<std::shared_ptr<Link>, 2> links)
    : world_(world), random_(random), id_(id) {
  for (int i = 0; i < 2; ++i) {
    sides_[i].end = std::move(ends[i]);
    directions_[i].link = std::move(links[i]);
  }
}

std::unique_ptr<net::Stream> Connection::stream(int side) {
  return std::make_unique<SimStream>(shared_from_this(), side);
}

bool Connection::is_between(const std::string& a, const std::string& b) const {
  const std::string& one = sides_[0].end.host;
  const std::string& two = sides_[1].end.host;
  return (one == a && two == b) || (one == b && two == a);
}

// ---- reading

void Connection::read(int side, std::span<const MutableBytes> into, net::Done<std::size_t> done) {
  Side& s = sides_[side];
  GODWIT_CHECK(!s.reading);
  std::size_t room = 0;
  for (MutableBytes span : into) room += span.size();
  GODWIT_CHECK(room > 0);
  if (s.gone) return world_.bury([done = std::move(done)] {});
  s.reading = true;
  s.into.assign(into.begin(), into.end());
  s.read_done = std::move(done);
  const bool at_once = !s.in_read_done && !s.read_scheduled && is_read_ready(side) &&
                       random_.chance(directions_[1 - side].link->quality.inline_chance);
  if (at_once)
    finish_read(side);
  else
    wake_reader(side);
}

bool Connection::is_read_ready(int side) const {
  const Direction& in = directions_[1 - side];
  return in.arrived > 0 || in.end_arrived || sides_[side].lost || sides_[side].closed;
}

void Connection::wake_reader(int side) {
  Side& s = sides_[side];
  if (!s.reading || s.in_read_done || s.read_scheduled || !is_alive(side) || !is_read_ready(side)) return;
  s.read_scheduled = true;
  world_.schedule(
      Duration{},
      [self = shared_from_this(), side] {
        self->sides_[side].read_scheduled = false;
        if (self->is_alive(side) && self->sides_[side].reading) self->finish_read(side);
      },
      s.end.group);
}

void Connection::finish_read(int side) {
  const std::shared_ptr<Connection> self = shared_from_this();  // `done` may destroy the stream
  Side& s = sides_[side];
  Result<std::size_t> result{0};
  if (s.closed)
    result = fail(cancelled_error());
  else if (directions_[1 - side].arrived > 0)
    result = deliver(side);
  else if (s.lost)
    result = fail(lost_error());
  s.reading = false;
  s.into.clear();
  net::Done<std::size_t> done = std::exchange(s.read_done, nullptr);
  s.in_read_done = true;
  done(std::move(result));
  s.in_read_done = false;
  wake_reader(side);
}

std::size_t Connection::deliver(int side) {
  Direction& in = directions_[1 - side];
  std::size_t count = in.arrived;
  if (random_.chance(in.link->quality.short_read_chance))
    count = 1 + random_.below(random_.chance(0.5) ? std::min<std::size_t>(count, 48) : count);
  std::size_t given = 0;
  std::uint32_t sum = 0;
  for (MutableBytes span : sides_[side].into) {
    const std::size_t part = std::min(span.size(), count - given);
    if (part == 0) continue;
    std::memcpy(span.data(), in.bytes.front(part).data(), part);
    sum ^= crc32c(span.first(part));
    in.bytes.drop_front(part);
    given += part;
  }
  in.arrived -= given;
  world_.fold(kRead, id_ * 2 + side, (std::uint64_t{sum} << 32) ^ given);
  if (world_.tracing()) world_.trace(fmt::format("{} reads {} bytes of connection {}", sides_[side].end.host, given, id_));
  transmit(1 - side);
  return given;
}

// ---- writing

void Connection::write(int side, std::span<const ConstBytes> from, net::Done<void> done) {
  Side& s = sides_[side];
  GODWIT_CHECK(!s.writing);
  if (s.gone) return world_.bury([done = std::move(done)] {});
  s.writing = true;
  s.from.assign(from.begin(), from.end());
  s.from_index = 0;
  s.write_done = std::move(done);
  s.write_refused = s.lost || s.closed || directions_[side].end_wanted;
  s.write_scheduled = true;  // What is complete at once is taken up below, not by transmit().
  transmit(side);
  s.write_scheduled = false;
  if (!s.in_write_done && is_write_ready(side) && random_.chance(directions_[side].link->quality.inline_chance))
    finish_write(side);
  else
    wake_writer(side);
}

bool Connection::is_write_ready(int side) const {
  const Side& s = sides_[side];
  return s.from_index == s.from.size() || s.lost || s.closed || s.write_refused;
}

void Connection::wake_writer(int side) {
  Side& s = sides_[side];
  if (!s.writing || s.in_write_done || s.write_scheduled || !is_alive(side) || !is_write_ready(side)) return;
  s.write_scheduled = true;
  world_.schedule(
      Duration{},
      [self = shared_from_this(), side] {
        self->sides_[side].write_scheduled = false;
        if (self->is_alive(side) && self->sides_[side].writing && self->is_write_ready(side)) self->finish_write(side);
      },
      s.end.group);
}

void Connection::finish_write(int side) {
  const std::shared_ptr<Connection> self = shared_from_this();
  Side& s = sides_[side];
  Result<void> result;
  if (s.from_index < s.from.size()) result = fail(s.closed ? cancelled_error() : lost_error());
  s.writing = false;
  s.from.clear();
  s.from_index = 0;
  net::Done<void> done = std::exchange(s.write_done, nullptr);
  s.in_write_done = true;
  done(std::move(result));
  s.in_write_done = false;
  wake_writer(side);
}

// The kernel of `side` takes what its send buffer has room for.
void Connection::accept(int side) {
  Side& s = sides_[side];
  Direction& out = directions_[side];
  const std::size_t limit = std::max<std::size_t>(1, std::min(out.unsent_limit, out.link->quality.send_buffer_bytes));
  while (s.writing && !s.write_refused && !s.closed && s.from_index < s.from.size()) {
    ConstBytes& next = s.from[s.from_index];
    // As in a kernel, a buffer that is not full takes a page more than its limit.
    const std::size_t room = out.unsent() < limit ? std::max<std::size_t>(limit - out.unsent(), 4096) : 0;
    const std::size_t part = std::min(room, next.size());
    out.bytes.append(next.first(part));
    next = next.subspan(part);
    if (!next.empty()) break;
    ++s.from_index;
  }
}

void Connection::transmit(int side) {
  Side& s = sides_[side];
  Direction& out = directions_[side];
  if (s.lost || s.gone) return;
  const LinkQuality& quality = out.link->quality;
  for (accept(side); out.unsent() > 0 && !out.wire_busy; accept(side)) {
    const std::size_t full = out.arrived + out.in_flight;
    const std::size_t window = std::max<std::size_t>(1, quality.window_bytes);
    if (full >= window) break;
    send_segment(side, std::min({out.unsent(), window - full, std::max<std::size_t>(1, quality.segment_bytes_max)}));
  }
  const bool written = !s.writing || s.write_refused || s.closed || s.from_index == s.from.size();
  if (out.end_wanted && !out.end_sent && written && out.unsent() == 0 && !out.wire_busy) {
    out.end_sent = true;
    launch(side, kEnd);
  }
  wake_writer(side);
}

void Connection::send_segment(int side, std::size_t size) {
  Direction& out = directions_[side];
  out.in_flight += size;
  const std::uint64_t bandwidth = out.link->quality.bandwidth_bytes_per_second;
  if (bandwidth == 0) return launch(side, size);
  out.wire_busy = true;
  const Duration time{static_cast<std::int64_t>(static_cast<double>(size) * 1e9 / static_cast<double>(bandwidth))};
  world_.schedule(time, [self = shared_from_this(), side, size, epoch = out.epoch] {
    Direction& wire = self->directions_[side];
    if (wire.epoch != epoch) return;
    wire.wire_busy = false;
    self->launch(side, size);
    self->transmit(side);
  });
}

void Connection::launch(int side, std::size_t size) {
  Direction& out = directions_[side];
  const LinkQuality& quality = out.link->quality;
  const Duration way = world_.between(random_, quality.latency, quality.latency + quality.jitter);
  out.last_arrival = std::max(out.last_arrival, world_.now() + way);
  world_.schedule(out.last_arrival, [self = shared_from_this(), side, size, epoch = out.epoch] {
    if (self->directions_[side].epoch == epoch) self->arrive(side, size);
  });
}

// ---- at the other side

void Connection::arrive(int side, std::size_t size) {
  Direction& out = directions_[side];
  const bool nobody_answers = sides_[1 - side].gone && !sides_[1 - side].answers;
  if (out.link->stuck || nobody_answers || !out.held.empty())
    out.held.push_back(size);
  else
    receive(side, size);
}

void Connection::receive(int side, std::size_t size) {
  Direction& out = directions_[side];
  Side& receiver = sides_[1 - side];
  if (size == kReset) return lose(1 - side, Loss::what_arrived_stays);
  if (size == kEnd) {
    out.end_arrived = true;
    world_.fold(kEnded, id_ * 2 + side);
  } else {
    out.in_flight -= size;
    out.arrived += size;
    if (receiver.closed || receiver.gone) return launch(1 - side, kReset);
  }
  wake_reader(1 - side);
}

void Connection::take_up() {
  for (int side = 0; side < 2; ++side) {
    Direction& out = directions_[side];
    while (!out.link->stuck && !out.held.empty()) {
      const std::size_t size = out.held.front();
      out.held.pop_front();
      receive(side, size);
    }
    transmit(side);
  }
}

// ---- ends

void Connection::limit_unsent(int side, std::size_t bytes) {
  directions_[side].unsent_limit = bytes;
  transmit(side);
}

void Connection::shut_down_sending(int side) {
  directions_[side].end_wanted = true;
  transmit(side);
}

void Connection::close(int side) {
  Side& s = sides_[side];
  if (s.closed || s.gone) return;
  s.closed = true;
  Direction& in = directions_[1 - side];
  Direction& out = directions_[side];
  // What the kernel accepted still goes out; the rest of a write does not.
  if (!s.lost && in.arrived > 0) {
    launch(side, kReset);
  } else if (!s.lost) {
    out.end_wanted = true;
    transmit(side);
  }
  wake_reader(side);
  wake_writer(side);
}

void Connection::destroy(int side) {
  Side& s = sides_[side];
  if (s.gone || s.destroyed) return;
  s.destroyed = true;
  net::Done<std::size_t> read_done = std::exchange(s.read_done, nullptr);
  net::Done<void> write_done = std::exchange(s.write_done, nullptr);
  s.reading = s.writing = false;
  close(side);
}

// Of what `direction` carries, the reader may still have the first `keep` bytes.
void Connection::drop_what_travels(int direction, std::size_t keep) {
  Direction& d = directions_[direction];
  keep = std::min(keep, d.arrived + d.in_flight);
  d.bytes.truncate(keep);
  d.arrived = keep;
  d.in_flight = 0;
  d.wire_busy = false;
  d.held.clear();
  ++d.epoch;
}

// `side` learns that the connection broke.
void Connection::lose(int side, Loss loss) {
  Side& s = sides_[side];
  if (s.lost || s.gone) return;
  s.lost = true;
  world_.fold(kLost, id_ * 2 + side);
  if (world_.tracing()) world_.trace(fmt::format("{} loses connection {}", s.end.host, id_));
  const Direction& in = directions_[1 - side];
  std::size_t keep = in.arrived;
  if (loss == Loss::a_prefix_stays) keep = random_.chance(0.5) ? 0 : random_.below(in.arrived + in.in_flight + 1);
  drop_what_travels(1 - side, keep);
  wake_reader(side);
  wake_writer(side);
}

void Connection::cut() {
  lose(0, Loss::a_prefix_stays);
  lose(1, Loss::a_prefix_stays);
}

void Connection::crash(const std::string& host, Group group, CrashNotice notice) {
  for (int side = 0; side < 2; ++side) {
    Side& s = sides_[side];
    if (s.end.host != host || s.end.group != group || s.gone) continue;
    s.gone = true;
    s.answers = notice == CrashNotice::reset;
    world_.bury([a = std::exchange(s.read_done, nullptr), b = std::exchange(s.write_done, nullptr)] {});
    Direction& out = directions_[side];
    out.bytes.truncate(out.arrived + out.in_flight);
    if (notice == CrashNotice::reset && !s.lost) launch(side, kReset);
    if (notice == CrashNotice::silence) keep_alive(1 - side);
  }
}

void Connection::fell_silent() {
  keep_alive(0);
  keep_alive(1);
}

// Whether a probe from `side` would bring something back.
bool Connection::is_answered(int side) const {
  const Side& peer = sides_[1 - side];
  return !directions_[0].link->stuck && !directions_[1].link->stuck && (!peer.gone || peer.answers);
}

void Connection::keep_alive(int side) {
  if (std::exchange(sides_[side].probing, true)) return;
  probe(side, kKeepAliveIdle, kKeepAliveProbes);
}

// Idleness is counted from the moment at which the peer fell silent: what came before was an answer.
void Connection::probe(int side, Duration wait, unsigned left) {
  world_.schedule(wait, [weak = weak_from_this(), side, left] {
    const std::shared_ptr<Connection> self = weak.lock();
    if (!self || !self->is_alive(side) || self->sides_[side].lost) return;
    if (!self->is_answered(side)) {
      if (left == 0) return self->lose(side, Loss::what_arrived_stays);
      return self->probe(side, kKeepAliveInterval, left - 1);
    }
    self->sides_[side].probing = false;
    if (self->sides_[1 - side].gone) self->launch(1 - side, kReset);  // the peer's machine is back and knows nothing of it
  });
}

void Connection::host_restarted(const std::string& host) {
  for (int side = 0; side < 2; ++side) {
    if (sides_[side].end.host == host && sides_[side].gone) sides_[side].answers = true;
  }
  take_up();
}

}  // namespace godwit::sim
