// The source's half of one connection: what to send when, from DeviceGroupInfo to the hand-over. Source: silo.md 6, ownership.md
// 4 and 10.1; the table of phases is in src/volume/README.md. It names blocks and ranges; the driver reads, encodes and sends
// them. Whether it may give a volume away is not decided here but by that volume's Ownership; the driver carries facts between
// the two.
//
// Phases of the group: opening → first_pass → rounds → locking → last_set → completing → granting → done; a missed lock goes back
// to rounds. Devices move together: the next phase begins when every device has finished the one before.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bitset.h"
#include "base/time.h"
#include "volume/core/block_order.h"
#include "volume/core/bulk_window.h"
#include "volume/core/dirty_tracker.h"
#include "volume/core/outstanding.h"
#include "volume/core/packet.h"

namespace godwit::volume {

// What we keep towards a peer that is not godwit (ownership.md 10.1).
enum class LegacyHandOver : std::uint8_t { none, completed, custom };

struct SourceConfig {
  std::uint32_t rounds_max = 16;                 // dirty rounds before the lock, whatever remains
  std::uint64_t dirty_threshold_blocks = 256;    // so few dirty blocks in the whole group: lock
  Duration downtime_max = Duration::seconds(2);  // a lock that lasts longer is given up, and tried again with twice the time …
  Duration downtime_max_ever = Duration::seconds(30);  // … up to this
  std::uint32_t blocks_in_flight_max = 1024;           // per device; towards an original: the group's budget (silo.md 6.4)
  std::uint32_t blocks_in_flight_original = 100;
  std::uint32_t urgent_in_flight_max = 16;
  std::uint32_t attempts_max = 3;             // of one block that the destination refuses
  std::uint64_t run_bytes_max = 64ull << 20;  // one frame of zeroes; an original decodes it whole, so it gets shorter ones
  std::uint64_t run_bytes_original = 4ull << 20;
  std::uint64_t extents_window_bytes = 256ull << 20;  // asked for at a time
  std::uint32_t dirty_list_blocks_max = 1u << 20;
  LegacyHandOver legacy = LegacyHandOver::none;
  bool lone_device = false;                  // DevInfo instead of DeviceGroupInfo; never a hand-over
  bool lock_events = false;                  // PreLock … PostUnlock: every round takes its set under a lock (lone device only)
  bool remove_devices = false;               // RemoveDev behind the last Completed: what was copied is taken away here
  bool hashes = false;                       // a manifest of what was sent, after each pass (lone device only)
  std::uint32_t read_bytes_max = 64u << 20;  // of one ReadAt
  BulkWindow::Limits window = {};
};

struct SourceDevice {
  DeviceId id;
  DevInfo info;
  DirtyTracker* tracker = nullptr;          // the volume's; outlives the session
  const VolatilityMonitor* heat = nullptr;  // likewise; may be null with OrderKind::any
  OrderKind order = OrderKind::volatility;
  std::optional<Bitset> base_blocks;  // blocks of a base both sides have: sent as sub-type 3, tracked by now
  bool has_alternates = false;        // an AlternateSources packet is to go before the first block
  bool skips_holes = true;            // zeros go as runs; not where every block is to be named by its hash
  bool mapped = false;                // its blocks bear the addresses that are kept in them, where the peer can take that

  Geometry geometry() const { return {info.size, info.block_size}; }
};

// --- work ---

struct SendGroupInfo {
  TxId tx;
};
struct SendDevInfo {
  DeviceId device;
  TxId tx;
};
struct SendAlreadyHave {  // before the peer is known: the device's base blocks, or an empty list
  DeviceId device;
  TxId tx;
  bool with_blocks = false;
};
struct SendSharedBase {  // sub-type 3 again, to a godwit that lies on the same base
  DeviceId device;
  TxId tx;
  std::vector<std::uint32_t> blocks;
};
struct SendAlternateSources {
  DeviceId device;
  TxId tx;
};
enum class BlockClass : std::uint8_t { standard, dirty, urgent };
struct MoveBlock {  // read it (tracked by now) and send it in the best form
  DeviceId device;
  TxId tx;
  BlockIndex block;
  BlockClass block_class{};
  bool with_map = false;  // as WriteAtWithMap
};
struct MoveZeroes {  // [first, last) reads as zeros: one frame, nothing to read
  DeviceId device;
  TxId tx;
  BlockIndex first;
  BlockIndex last;
};
struct AskExtents {  // then handle_extents(); tracked by now
  DeviceId device;
  BlockIndex first;
  BlockIndex last;
};
struct SendDirtyList {
  DeviceId device;
  TxId tx;
  std::vector<std::uint32_t> blocks;
};
struct SendHashes {  // of every block sent so far
  DeviceId device;
  TxId tx;
};
struct SendRemoveFromMap {  // of these what is still not in the map; not answered
  DeviceId device;
  TxId tx;
  std::vector<std::uint64_t> ids;
};
struct SendRemoveDev {  // not answered
  DeviceId device;
  TxId tx;
};
struct SendEvent {
  DeviceId device;
  TxId tx;
  EventType type{};
};
struct SendPrepare {  // of the device's Ownership, right here in the order of frames
  DeviceId device;
};
struct LockGroup {};  // hold every volume's clients, wait for what runs, then handle_locked()
struct UnlockGroup {
  std::string reason;
};
struct RelinquishGroup {};  // step 4, for every volume; then handle_relinquished()
struct AnswerRead {         // dst→src ReadAt: through the migration's read path (tracks)
  DeviceId device;
  TxId tx;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;  // already cut at the device's end
  bool refused = false;      // answer 0x82
};
struct AnswerReadByHash {
  DeviceId device;
  TxId tx;
  Sha256 hash{};
};
struct RoundDone {  // for the report: round 0 is the first pass
  std::uint32_t round = 0;
  std::uint64_t blocks_sent = 0;
  std::uint64_t blocks_dirty = 0;  // what remains now
};
struct CopyCompleted {};  // an original has acknowledged every Completed
struct SessionFailed {
  std::string reason;
};

using SourceWork =
    std::variant<SendGroupInfo, SendDevInfo, SendAlreadyHave, SendSharedBase, SendAlternateSources, MoveBlock, MoveZeroes,
                 AskExtents, SendDirtyList, SendHashes, SendRemoveFromMap, SendRemoveDev, SendEvent, SendPrepare, LockGroup,
                 UnlockGroup, RelinquishGroup, AnswerRead, AnswerReadByHash, RoundDone, CopyCompleted, SessionFailed>;

class SourceSession {
 public:
  enum class Phase : std::uint8_t { opening, first_pass, rounds, locking, last_set, completing, granting, done, failed };
  enum class PeerKind : std::uint8_t { undecided, godwit, original };

  SourceSession(SourceConfig config, std::vector<SourceDevice> devices);

  void handle_start(Instant now);
  void handle_peer(Instant now, PeerKind kind);
  // godwit: the device's Ownership has accepted it, ACCEPT has been sent. `shared`: blocks of a base that both sides have,
  // tracked by now; they are named first, and no block travels before that is answered.
  void handle_accepted(Instant now, DeviceId device, const std::optional<Bitset>& shared = {});
  // Blocks announced as the base's that were written here before they were tracked: they are sent after all.
  void handle_base_written(DeviceId device, const Bitset& blocks);
  // godwit: a PULL for the device has come; without one it takes no part.
  void handle_wanted(DeviceId device);
  void handle_packet(Instant now, const FrameHeader& header, const Packet& packet);
  // What of [first, last) reads as zeros, by blocks wholly in holes.
  void handle_extents(DeviceId device, BlockIndex first, BlockIndex last, const Bitset& zero_blocks);
  void handle_read_failed(DeviceId device, TxId tx, const std::string& why);
  // Addresses that the device holds no more: the destination is told before the next Completed, when every block that still bore
  // them has been stored. Nothing where no map is sent.
  void handle_addresses_removed(DeviceId device, std::vector<std::uint64_t> ids);
  // The device is taken away at this end (not between godwits: there ownership says what becomes of a copy). A copy that is not
  // complete can then never be, so the session fails; a destination that has it whole is told, once.
  void handle_device_removed(DeviceId device);
  void handle_locked(Instant now);
  void handle_peer_ready(Instant now, DeviceId device);  // READY(h) under the lock
  void handle_relinquished(Instant now);                 // durable, for every volume
  void handle_timeout(Instant now);

  std::optional<SourceWork> poll_work(Instant now);
  Instant next_deadline() const { return lock_deadline_; }

  Phase phase() const { return phase_; }
  PeerKind peer() const { return peer_; }
  struct Progress {
    std::uint64_t blocks_total = 0;
    std::uint64_t blocks_left = 0;  // of the pass under way
    std::uint32_t round = 0;
    std::uint64_t in_flight_bytes = 0;
    std::uint64_t window_bytes = 0;
    std::uint64_t dropped_answers = 0;  // nobody waited for them
  };
  Progress progress() const;

 private:
  struct Request {
    enum class Kind : std::uint8_t { already_have, shared_base, blocks, dirty_list, hashes, event } kind{};
    std::uint64_t first = 0;  // blocks
    std::uint64_t last = 0;
    std::uint64_t bytes = 0;       // decoded: what the answer must say
    std::uint64_t wire_bytes = 0;  // as counted against the window
    BlockClass block_class{};
    Instant sent;
    std::uint64_t delivered_before = 0;
    EventType event{};
    std::uint32_t attempt = 0;  // which lock an event belongs to
  };
  struct Device {
    Device(SourceDevice of, std::uint64_t blocks) : spec(std::move(of)), order(blocks, spec.order, spec.heat), zeroes(blocks) {}
    SourceDevice spec;
    BlockOrder order;
    Bitset zeroes;                    // known holes, within [0, extents_known)
    std::uint64_t extents_known = 0;  // blocks below it have been asked about
    bool extents_asked = false;
    bool taking_part = true;
    bool accepted = false;
    bool alternates_sent = false;
    bool completed = false;
    bool ready = false;
    std::uint32_t blocks_in_flight = 0;
    std::uint32_t in_flight_max = 0;
    std::uint32_t completed_awaited = 0;  // Completed not yet answered, also of a lock that was missed
    std::uint32_t lists_awaited = 0;      // DirtyLists and lists of base blocks not yet answered; blocks wait for them
    bool hashes_awaited = false;
    bool removed = false;
    std::vector<std::uint64_t> addresses_removed;                  // and not told yet
    std::vector<std::pair<std::uint64_t, std::uint32_t>> refused;  // blocks refused by the destination, and how often
  };

  Device* find(DeviceId device);
  static std::optional<Request::Kind> kind_answered_by(const Packet& packet);
  void answer_write(Instant now, const FrameHeader& header, std::optional<std::uint32_t> length);
  void block_refused(Device& device, const Request& request, const std::string& why);
  void handle_need(Device& device, std::int64_t offset, std::int32_t length);
  void handle_dont_need(Device& device, std::int64_t offset, std::int32_t length);
  void handle_read(Device& device, TxId tx, const ReadAt& read);
  void answer_event(Instant now, const Request& request, Device* device);

  void send_shared_base(Instant now, Device& device, const Bitset& shared);
  void advance(Instant now);
  bool pass_is_over() const;
  void begin_pass(Instant now, bool last);
  void send_dirty_lists(Instant now, Device& device, const Bitset& dirty);
  bool is_custom_hand_over() const;
  void choose_next_round(Instant now);
  bool send_hashes(Instant now);
  // An original's groups do not listen to maps, and queue what they do not listen to (silo.md 4).
  bool sends_map(const Device& device) const { return device.spec.mapped && (peer_ == PeerKind::godwit || config_.lone_device); }
  void send_removed_addresses(Device& device);
  bool has_lock_events() const { return config_.lone_device && config_.lock_events; }
  void send_lock_event(Instant now, EventType type);
  void answer_lock_event(Instant now, EventType type);
  void begin_lock(Instant now);
  void give_lock_up(std::string reason);
  void complete(Instant now);
  void fail(std::string reason);
  std::uint64_t dirty_count() const;
  std::optional<SourceWork> poll_move(Instant now, Device& device, bool urgent_only);
  std::uint32_t wire_size_of(const Device& device, BlockIndex block) const {
    return device.spec.geometry().length_of(block) + 64;
  }

  SourceConfig config_;
  std::vector<Device> devices_;
  std::size_t turn_ = 0;  // devices take turns
  Outstanding<Request> outstanding_;
  BulkWindow window_;
  std::deque<SourceWork> work_;
  Phase phase_ = Phase::opening;
  PeerKind peer_ = PeerKind::undecided;
  std::uint32_t round_ = 0;
  std::uint64_t round_blocks_ = 0;
  std::uint64_t in_flight_bytes_ = 0;
  std::uint64_t delivered_bytes_ = 0;
  std::uint32_t urgent_in_flight_ = 0;
  std::uint64_t dropped_answers_ = 0;
  std::uint32_t misses_ = 0;
  bool locked_ = false;
  bool hashes_due_ = true;      // once in a pass that sends anything
  bool relinquishing_ = false;  // towards an original: asked for, then durable
  bool relinquished_ = false;
  bool post_copy_ = false;  // an original has resumed: the last blocks follow
  Instant lock_deadline_ = Instant::never();
};

}  // namespace godwit::volume
