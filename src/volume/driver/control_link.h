// One connection between this host and another, as the host sees it: control messages out, sessions begun and ended. A listens
// and has SourceLinks, B dials and has DestinationLinks (ownership.md 15).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "net/buffer_pool.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "net/worker_pool.h"
#include "volume/core/ownership.h"
#include "volume/driver/volume.h"

namespace godwit::volume {

// What every part of the driver is handed: time, connections, threads, memory. All outlive it.
struct DriverContext {
  net::Scheduler& scheduler;
  net::Network& network;
  net::Workers& workers;
  net::BufferPool& buffers;
};

enum class NoteLevel : std::uint8_t { warning, info, debug };

class ControlLink {
 public:
  virtual ~ControlLink() = default;

  virtual LinkId id() const = 0;
  // The godwit at the other end, since its HELLO.
  virtual const std::optional<Sender>& peer() const = 0;
  virtual net::Address remote() const = 0;
  virtual void send_control(const ControlMessage& message) = 0;

  // Effects of a volume's Ownership for this link.
  // `shares_base`: the destination's copy lies on the same base image.
  virtual void start_sending(Volume& volume, bool shares_base) = 0;
  virtual void start_receiving(Volume& volume) = 0;
  virtual void handle_peer_ready(Volume& volume) = 0;
  virtual void handle_refused(Volume& volume, RefuseCode code, const std::string& text) = 0;
  // The face mode changed, and with it perhaps whether data may come or the lock is complete.
  virtual void handle_mode(Volume& volume) = 0;
  // Ends what runs for the volume; `ended` is called once none of its store operations is under way.
  virtual void end_session(Volume& volume, net::Task ended) = 0;
  virtual void drop(const std::string& reason) = 0;
};

// The host, as its links see it.
class LinkOwner {
 public:
  virtual ~LinkOwner() = default;

  virtual LocalHost local_host() const = 0;
  // Both HELLOs have passed.
  virtual void handle_link_up(ControlLink& link) = 0;
  virtual void handle_control(ControlLink& link, const ControlMessage& message) = 0;
  // The link is over; it is destroyed in a later turn.
  virtual void handle_link_closed(ControlLink& link, std::optional<Error> error) = 0;
  virtual void note(NoteLevel level, std::string text) = 0;
};

}  // namespace godwit::volume
