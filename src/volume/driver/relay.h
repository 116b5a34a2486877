// After a hand-over the former owner's clients go on as if nothing had happened: A sends their requests to B's export, over one
// opening per volume. RelayClient is A's end, RelayGate B's. Source: ownership.md 9 and 15 (Relay). For now a relay that is cut
// closes its clients' connections: nothing is repeated, and a new opening fences what the old one left.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "export/nbd_client.h"
#include "export/nbd_server.h"
#include "volume/driver/control_link.h"
#include "volume/driver/volume.h"

namespace godwit::volume {

inline constexpr std::uint32_t kRelayOption = 0x47445701;
inline constexpr std::uint32_t kRelayReplyOk = 0x47445701;
inline constexpr std::uint32_t kRelayReplyNo = 0xC7445701;

// A's end for one volume: dials its owner once a request waits, hands the face what to relay to, and follows the volume from
// owner to owner: who was asked says where it went, and what he has not executed goes there.
class RelayClient {
 public:
  // What an address that a peer names may be dialled as, "" where it may not: the address, and the peer's own.
  using ResolveHint = std::function<std::string(const std::string& hint, const net::Address& from)>;
  // `clients_lost` closes the volume's clients here. `next_opening` counts the openings of this boot.
  RelayClient(DriverContext context, LinkOwner& owner, Volume& volume, std::uint64_t& next_opening, Random random,
              ResolveHint resolve, std::function<void()> clients_lost);
  ~RelayClient();
  // Looks at the volume's face mode and record: opens, re-opens, or ends the relay.
  void update();

 private:
  // What RELAY-NO says of where the volume is.
  struct NextHop {
    std::optional<HandoverId> tip;
    std::optional<Peer> peer;
  };
  void begin_at_record();
  void handle_moved();
  void handle_answerer(const HostId& host, Boot boot);
  void follow(const NextHop& hop);
  void give_up(const std::string& why);
  void retire();
  void dial();
  void open(std::unique_ptr<net::Stream> stream);
  void lost(const Error& error);
  void retry();
  void sweep(Duration after);
  Result<std::string> read_answer(std::uint32_t type, ConstBytes payload);

  DriverContext context_;
  LinkOwner& owner_;
  Volume& volume_;
  std::uint64_t& next_opening_;
  Random random_;
  ResolveHint resolve_;
  std::function<void()> clients_lost_;
  std::unique_ptr<exports::NbdClient> client_;
  std::vector<std::unique_ptr<exports::NbdClient>> retiring_;  // asked nothing more, but not everything is answered
  // One of those, when the volume has gone on from there: nobody else is asked before it has answered everything.
  const exports::NbdClient* followed_ = nullptr;
  // The process that alone can settle what was relayed (ownership.md 9).
  std::optional<std::pair<HostId, Boot>> answerer_;
  // Where the record says the volume went, then where that host says it went on to.
  std::optional<std::pair<HandoverId, std::string>> begun_at_;
  HandoverId tip_;
  std::string address_;
  std::optional<NextHop> next_hop_;
  int hops_ = 0;      // since an opening was accepted
  std::string told_;  // the newest reason for giving up
  bool dialling_ = false;
  Duration back_off_ = Duration::milliseconds(100);
  net::TimerId timer_;
  std::uint64_t generation_ = 0;  // of what is being dialled; older answers are dropped
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// What one opening's requests go to at B: executed as long as the ownership lasts that it was opened for, answered "moved" ever
// after, also when B owns again; never relayed further.
class RelayFace final : public store::BlockDevice {
 public:
  RelayFace(Volume& volume, const HandoverId& tip) : volume_(volume), tip_(tip) {}
  // The volume's face mode may have changed: what was held goes on.
  void update();

  std::uint64_t size() const override { return volume_.geometry().size_bytes; }
  bool read_only() const override { return false; }
  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override;
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) override;
  void flush(Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override;
  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) override;

 private:
  template <class T>
  void pass(Done<T> done, std::move_only_function<void(Done<T>)> execute);
  Volume& volume_;
  HandoverId tip_;
  std::deque<net::Task> held_;
};

// B's end for all volumes: answers RELAY-OPEN, and fences what a relayer's lower openings left.
class RelayGate final : public exports::OptionHandler {
 public:
  using FindVolume = std::function<Volume*(const VolumeId&)>;
  RelayGate(LinkOwner& owner, FindVolume find) : owner_(owner), find_(std::move(find)) {}
  // The server it serves; set before it accepts anyone.
  void set_server(exports::NbdServer* server) { server_ = server; }
  // A volume's mode changed: openings that waited for ownership are answered. Those of an ownership that ended stay until their
  // relayer leaves: what it still sends must hear that it was not executed.
  void update(Volume& volume);
  void forget(Volume& volume);

  bool handles(std::uint32_t option) const override { return option == kRelayOption; }
  void handle_option(exports::ConnectionId connection, std::uint32_t option, ConstBytes payload,
                     std::move_only_function<void(exports::OptionReply)> answer) override;
  void handle_closed(exports::ConnectionId connection) override;

 private:
  using Answer = std::move_only_function<void(exports::OptionReply)>;
  struct Opening {
    HostId relayer;
    Boot boot;
    std::uint64_t n = 0;
    HandoverId tip;
    exports::ConnectionId connection;
    std::shared_ptr<RelayFace> face;  // once it is open
  };
  struct Waiting {
    Opening opening;
    Answer answer;
  };
  struct Desk {  // per volume
    std::map<HostId, std::pair<Boot, std::uint64_t>> highest;
    std::vector<Opening> openings;
    std::vector<Waiting> waiting;
  };
  void decide(Volume& volume, Opening opening, Answer answer);
  void fence_and_accept(Volume& volume, Opening opening, Answer answer);
  void refuse(Volume* volume, RefuseCode code, Answer answer);

  LinkOwner& owner_;
  FindVolume find_;
  exports::NbdServer* server_ = nullptr;
  std::map<VolumeId, Desk> desks_;
};

}  // namespace godwit::volume
