// The destination's half of one connection: what each packet from the source does, and what goes back. Source: silo.md 7 and 9,
// ownership.md 10.2 and 15; the table of device states is in src/volume/README.md. It touches no bytes: payloads lie in buffers
// of the driver that it names by tokens, and which blocks are here is the volume's WaitingCache.
//
// A device is announced → opening → (admission) … → removed. Whether its data may be stored is the admission, which the driver
// sets from the volume's Ownership; towards an original it is `store` from the beginning until we own the copy.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "volume/core/outstanding.h"
#include "volume/core/packet.h"
#include "volume/core/waiting_cache.h"

namespace godwit::volume {

enum class ByHashFetch : std::uint8_t { read_at, read_by_hash };

struct DestinationConfig {
  std::uint32_t devices_max = 4096;
  std::uint32_t name_bytes_max = 255;
  std::uint32_t schema_bytes_max = 1u << 20;
  std::uint32_t block_bytes_min = 1;  // of a peer's announcement; local policy may be stricter
  std::uint32_t block_bytes_max = 16u << 20;
  std::uint32_t stores_in_flight_max = 1024;  // per device; then the connection is not read
  std::uint64_t stores_bytes_max = 256ull << 20;
  std::uint64_t early_bytes_max = 64ull << 20;  // for devices not announced yet
  std::uint32_t fetch_attempts_max = 3;         // of one block announced by hash
  std::uint32_t fetches_in_flight_max = 64;
  std::uint32_t map_entries_max = 1u << 20;
  ByHashFetch by_hash = ByHashFetch::read_at;
  bool completed_needs_all_blocks = true;    // towards an original with --take=never: acknowledged as it is
  std::uint32_t read_bytes_max = 64u << 20;  // of one ReadAt
  bool answer_reads = false;                 // src→dst ReadAt: a waiting cache refuses it
};

// A payload in the driver's keeping; 0: none. It lives until the driver is told Release, or has done the work that names it.
using PayloadToken = std::uint64_t;

enum class Admission : std::uint8_t {
  opening,       // announced; frames wait
  not_accepted,  // godwit: before ACCEPT; data closes the connection
  hold,          // a record is being written; frames wait
  store,
  owned,  // we own what came: WriteAt is refused, DirtyList closes the connection
};

// --- work ---

struct OpenDevices {  // decide by local policy; then handle_device_opened() or close
  std::vector<DeviceGroupInfo::Entry> devices;
  bool group = true;
};
struct StoreData {  // decode and store, except blocks that are local by then; then handle_stored()
  DeviceId device;
  TxId tx;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  WriteForm form{};
  PayloadToken payload = 0;
  bool all_zero = false;  // no bytes come with it
};
struct TakeBase {  // these blocks are to be those of the base that both sides have; then handle_base_taken()
  DeviceId device;
  TxId tx;
  std::vector<std::uint32_t> blocks;
};
struct FetchByHash {  // ask the block source; then handle_found(), or handle_fetched() without
  DeviceId device;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  Sha256 hash{};
  std::optional<std::string> location;
};
struct StoreFetched {  // check length and hash, store; then handle_fetched()
  DeviceId device;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  // Nothing for what the source itself read for us: it may have been written since it was announced, and is then the newer.
  std::optional<Sha256> hash;
  PayloadToken payload = 0;
};
struct Respond {
  DeviceId device;
  TxId tx;
  PacketType type{};
  std::uint32_t length = 0;  // WriteAtResponse
};
struct RespondRead {  // src→dst ReadAt
  DeviceId device;
  TxId tx;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
};
struct SendRequest {  // ReadAt, NeedAt, DontNeedAt, ReadByHash
  DeviceId device;
  TxId tx;
  Packet packet;  // owns nothing borrowed
};
struct ReachedCompleted {  // make durable (an original's: and own); then handle_completed()
  DeviceId device;
  TxId tx;
};
struct ReachedCustom {  // Custom/0 on device 0: respond or not is the driver's policy
  TxId tx;
  PayloadToken payload = 0;
};
struct CheckHashes {
  DeviceId device;
  std::vector<Hashes::Entry> blocks;
};
struct DeviceRemoved {
  DeviceId device;
};
struct ReleasePayload {
  PayloadToken payload = 0;
};
struct CloseSession {
  std::string reason;
};
struct Note {  // worth a line in the log
  std::string text;
};

using DestinationWork =
    std::variant<OpenDevices, StoreData, TakeBase, FetchByHash, StoreFetched, Respond, RespondRead, SendRequest, ReachedCompleted,
                 ReachedCustom, CheckHashes, DeviceRemoved, ReleasePayload, CloseSession, Note>;

class DestinationSession {
 public:
  explicit DestinationSession(DestinationConfig config);

  // One decoded frame. `payload` names the buffer that `packet` borrows from (0 when it borrows nothing); it is given back by a
  // StoreData, StoreFetched, ReachedCustom or ReleasePayload.
  void handle_packet(const FrameHeader& header, Packet packet, PayloadToken payload, std::size_t body_size);
  // A body that does not decode (silo.md 9's table).
  void handle_malformed(const FrameHeader& header, ConstBytes body, const Error& error);

  // `cache` is the volume's and outlives the session.
  void handle_device_opened(DeviceId device, WaitingCache* cache, Admission admission);
  void set_admission(DeviceId device, Admission admission);
  // Null: the copy is not this session's any more.
  void set_cache(DeviceId device, WaitingCache* cache);
  Admission admission(DeviceId device) const;
  // The addresses kept in an open device, as its source has told them so far: slots by id.
  const std::map<std::uint64_t, std::uint64_t>& address_map(DeviceId device) const { return devices_.at(device).map; }
  // The bytes are stored (or not: 0x84).
  void handle_stored(DeviceId device, TxId tx, bool ok);
  // A raw write that was received straight into place, as may_place() allowed.
  void handle_placed(const FrameHeader& header, std::uint64_t offset, std::uint64_t length);
  // The block source has bytes for a FetchByHash: they are stored if the block is still wanted from it.
  void handle_found(DeviceId device, std::uint64_t offset, PayloadToken payload);
  void handle_fetched(DeviceId device, std::uint64_t offset, bool ok);
  // The blocks of a TakeBase are the base's now; not ok: 0x84, and they stay absent.
  void handle_base_taken(DeviceId device, TxId tx, const std::vector<std::uint32_t>& blocks, bool ok);
  void handle_completed(DeviceId device, TxId tx, bool ok);

  // Whether the next frame may be given in; false while one waits or a device has too much in flight.
  bool wants_input() const;
  // Whether a raw write may be received straight into place: the device stores, and the blocks are absent and whole.
  bool may_place(DeviceId device, std::uint64_t offset, std::uint64_t length) const;

  // Something could not be stored and has not been repaired since.
  bool has_failed_writes() const;
  // Every block of the device is here and nothing of it is under way.
  bool is_whole(DeviceId device) const;
  std::optional<DestinationWork> poll_work();

  struct Counters {
    std::uint64_t unknown_packets = 0;
    std::uint64_t dropped_answers = 0;
    std::uint64_t refused_writes = 0;
  };
  const Counters& counters() const { return counters_; }
  bool is_closed() const { return closed_; }

 private:
  struct Store {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  // A range that is being written just now.
  struct Busy {
    std::uint64_t end = 0;
    bool stale = false;  // a DirtyList came meanwhile: the block does not count as present
  };
  struct Fetch {
    std::uint32_t length = 0;
    Sha256 hash{};
    std::uint32_t attempts = 0;
    bool under_way = false;
    bool storing = false;   // found, and being written
    bool stale = false;     // what is under way is not wanted any more: newer bytes came, or are announced …
    bool again = false;     // … by another hash, to be fetched next
    bool given_up = false;  // nobody has it; a DirtyList may still make it good
  };
  struct Device {
    DevInfo info;
    Geometry geometry;
    WaitingCache* cache = nullptr;
    Admission admission = Admission::opening;
    std::map<std::uint32_t, Store> stores;  // by tx
    std::map<std::uint64_t, Busy> busy;     // by beginning; disjoint, because what overlaps one waits for it
    std::uint64_t store_bytes = 0;
    std::set<std::uint64_t> failed;          // offsets of writes that could not be stored and were not repaired since
    std::map<std::uint64_t, Fetch> fetches;  // by offset: announced by hash and not here yet
    std::vector<AlternateSources::Entry> alternates;
    std::vector<Hashes::Entry> hashes;
    std::map<std::uint64_t, std::uint64_t> map;
    std::vector<TxId> completed;  // await what is under way
    bool removed = false;
  };
  struct Held {
    FrameHeader header;
    Packet packet;
    PayloadToken payload = 0;
    std::size_t body_size = 0;
  };
  struct PendingFetch {
    std::uint64_t offset = 0;
  };

  Device* find(DeviceId device);
  const Device* find(DeviceId device) const;
  // False: the frame must wait, and nothing was done.
  bool dispatch(const Held& frame);
  void dispatch_to(Device& d, const Held& frame);
  bool must_wait(const Held& frame) const;
  void retry_held();
  void announce(const FrameHeader& header, const DeviceGroupInfo& info, bool group);
  std::optional<std::string> objection_to(const DeviceGroupInfo& info) const;

  bool handle(Device& d, const FrameHeader& h, const WriteData& p, PayloadToken payload);
  bool handle(Device& d, const FrameHeader& h, const WriteByHash& p);
  void handle(Device& d, const FrameHeader& h, const AlreadyHave& p);
  void handle(Device& d, const FrameHeader& h, const DirtyList& p);
  void handle(Device& d, const FrameHeader& h, const Event& p);
  void handle(Device& d, const FrameHeader& h, const Hashes& p);
  bool handle(Device& d, const FrameHeader& h, const WriteAtWithMap& p, PayloadToken payload);
  bool handle(Device& d, const FrameHeader& h, const ReadAt& p);
  static bool is_busy(const Device& d, std::uint64_t offset, std::uint64_t length);
  static bool end_busy(Device& d, std::uint64_t offset, std::uint64_t length);
  static void drop_fetches(Device& d, std::uint64_t offset, std::uint64_t length);
  void begin_store(Device& d, const FrameHeader& h, StoreData store);
  void answer_fetch(const FrameHeader& header, const Packet& packet, PayloadToken payload);
  void start_fetches(DeviceId id, Device& d);
  void store_found(DeviceId id, std::uint64_t offset, PayloadToken payload, bool check_hash);
  void try_complete(DeviceId id, Device& d);
  bool admits_data(Device& d, const FrameHeader& h, const char* what);
  void refuse_write(const FrameHeader& h, std::string why);
  void close(std::string reason);
  void respond(const FrameHeader& h, PacketType type, std::uint32_t length = 0);

  DestinationConfig config_;
  std::map<DeviceId, Device> devices_;
  bool announced_group_ = false;
  std::deque<Held> held_;
  std::deque<Held> early_;
  std::size_t early_bytes_ = 0;
  Outstanding<PendingFetch> outstanding_;
  std::deque<DestinationWork> work_;
  Counters counters_;
  bool closed_ = false;
};

}  // namespace godwit::volume
