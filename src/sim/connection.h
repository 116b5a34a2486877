// One simulated connection: two ends, and in each direction a row of bytes of which the first part has arrived, the next is on
// the way and the last waits to be sent. An implementation detail of link.h.
//
//     write() -> [ arrived | in flight | unsent ] -> read()      arrived + in flight <= window, unsent <= send buffer
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "net/stream.h"
#include "sim/byte_queue.h"
#include "sim/link.h"

namespace godwit::sim {

// One direction between two hosts; connections share it, so that a change reaches those that exist.
struct Link {
  std::string from, to;
  LinkQuality quality;
  bool own_quality = false;  // set for this pair: a new default does not change it
  bool stuck = false;
  ConnectRule rule = ConnectRule::accept;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  struct End {
    std::string host;
    Group group;
    net::Address peer;
  };
  // Direction i carries what end i writes.
  Connection(World& world, Random random, std::uint64_t id, std::array<End, 2> ends, std::array<std::shared_ptr<Link>, 2> links);

  // The stream of one end; made once for each.
  std::unique_ptr<net::Stream> stream(int side);

  bool is_between(const std::string& a, const std::string& b) const;
  bool is_open() const { return !lost(0) && !lost(1) && !(sides_[0].closed && sides_[1].closed); }
  void cut();
  void crash(const std::string& host, Group group, CrashNotice notice);
  void host_restarted(const std::string& host);
  // A link has become stuck: nothing comes back any more, which both ends' keep-alive finds out in time.
  void fell_silent();
  // The links may have become free or wider.
  void take_up();

 private:
  friend class SimStream;
  struct Side {
    End end;
    bool closed = false;     // by its owner
    bool destroyed = false;  // the stream object is gone: no callbacks
    bool gone = false;       // the host crashed
    bool answers = true;     // a gone side's host sends resets
    bool lost = false;       // learnt that the connection broke
    bool probing = false;    // its keep-alive is at work
    bool reading = false, in_read_done = false, read_scheduled = false;
    std::vector<MutableBytes> into;
    net::Done<std::size_t> read_done;
    bool writing = false, write_refused = false, in_write_done = false, write_scheduled = false;
    std::vector<ConstBytes> from;
    std::size_t from_index = 0;
    net::Done<void> write_done;
  };
  struct Direction {
    std::shared_ptr<Link> link;
    ByteQueue bytes;
    std::size_t arrived = 0, in_flight = 0;
    std::size_t unsent_limit = SIZE_MAX;
    bool wire_busy = false;
    Instant last_arrival;
    std::uint32_t epoch = 0;       // events on the way of an earlier one are void
    std::deque<std::size_t> held;  // arrivals while the link is stuck, in order
    bool end_wanted = false, end_sent = false, end_arrived = false;
    std::size_t unsent() const { return bytes.size() - arrived - in_flight; }
  };
  // What travels beside segments, in their order.
  static constexpr std::size_t kEnd = 0, kReset = SIZE_MAX;

  bool lost(int side) const { return sides_[side].lost || sides_[side].gone; }
  bool is_alive(int side) const { return !sides_[side].gone && !sides_[side].destroyed; }

  void read(int side, std::span<const MutableBytes> into, net::Done<std::size_t> done);
  void write(int side, std::span<const ConstBytes> from, net::Done<void> done);
  void shut_down_sending(int side);
  void close(int side);
  void destroy(int side);
  void limit_unsent(int side, std::size_t bytes);

  bool is_read_ready(int side) const;
  void wake_reader(int side);
  void finish_read(int side);
  std::size_t deliver(int side);
  bool is_write_ready(int side) const;
  void wake_writer(int side);
  void finish_write(int side);

  void accept(int side);
  void transmit(int side);
  void send_segment(int side, std::size_t size);
  void launch(int side, std::size_t size);
  void arrive(int side, std::size_t size);
  void receive(int side, std::size_t size);
  bool is_answered(int side) const;
  void keep_alive(int side);
  void probe(int side, Duration wait, unsigned left);
  enum class Loss { what_arrived_stays, a_prefix_stays };
  void lose(int side, Loss loss);
  void drop_what_travels(int direction, std::size_t keep);

  World& world_;
  Random random_;
  const std::uint64_t id_;
  std::array<Side, 2> sides_;
  std::array<Direction, 2> directions_;
};

}  // namespace godwit::sim
