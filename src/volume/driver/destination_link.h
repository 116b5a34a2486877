// B's end of one connection: binds a DestinationSession to volumes, their ownership and a stream. Stores what comes, asks for
// what readers wait for, and speaks for B in the hand-over. Source: silo.md 7, ownership.md 4, 10.2, 15.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "volume/core/control.h"
#include "volume/core/destination_session.h"
#include "volume/driver/block_source.h"
#include "volume/driver/control_link.h"
#include "volume/driver/frame_link.h"
#include "volume/driver/memory_touch.h"

namespace godwit::volume {

// When a copy that an original sends becomes ours (ownership.md 10.2).
enum class Take : std::uint8_t { completed, custom, never };

struct DestinationOptions {
  DestinationConfig config;
  Take take = Take::completed;
  bool post_copy = false;     // Custom/0 before the data are whole: losing the source loses data
  bool answer_mark = true;    // off only for tests against the bare protocol
  bool early_writes = false;  // local writes before ownership: never between godwits
};

class DestinationLink;

// What a device is at this host: decided by local policy, never by the peer's names and paths.
class DestinationOwner : public LinkOwner {
 public:
  // An original announced these devices: make a fresh copy for each that is wanted (null: not wanted, data for it closes).
  virtual void open_copies(DestinationLink& link, const std::vector<DeviceGroupInfo::Entry>& devices,
                           net::Done<std::vector<Volume*>> done) = 0;
  // A godwit has told the state of every announced device: find or make the copies and call pull() for each that is wanted.
  virtual void handle_states(DestinationLink& link, const std::map<DeviceId, ControlMessage>& states,
                             const std::vector<DeviceGroupInfo::Entry>& devices) = 0;
  // An original's copy is complete here: owned now (take), or just acknowledged.
  virtual void handle_original_completed(DestinationLink& link, Volume& volume, bool owned) = 0;
};

class DestinationLink final : public ControlLink, private FrameHandler {
 public:
  // `blocks` may be null.
  DestinationLink(DriverContext context, DestinationOwner& owner, LinkId id, std::unique_ptr<net::Stream> stream,
                  DestinationOptions options, BlockSource* blocks);
  ~DestinationLink() override;

  void start() { link_.start(); }
  // Binds a device to our copy of it and sends PULL.
  void pull(DeviceId device, Volume& volume, std::uint64_t word);

  LinkId id() const override { return id_; }
  const std::optional<Sender>& peer() const override { return peer_; }
  net::Address remote() const override { return remote_; }
  void send_control(const ControlMessage& message) override;
  void start_sending(Volume&, bool) override {}
  void start_receiving(Volume& volume) override;
  void handle_peer_ready(Volume&) override {}
  void handle_refused(Volume& volume, RefuseCode code, const std::string& text) override;
  void handle_mode(Volume& volume) override;
  void end_session(Volume& volume, net::Task ended) override;
  void drop(const std::string& reason) override { fail(reason); }

  bool carries(const Volume& volume) const;
  // The connection is over: calls back once none of its store operations is under way.
  void end_session_then(net::Task ended);
  // The refusal that ended the last PULL, if one did.
  const std::optional<std::pair<RefuseCode, std::string>>& refusal() const { return refusal_; }
  bool is_from_original() const { return original_; }
  std::uint64_t bytes_received() const { return link_.bytes_received(); }
  const DestinationSession& session() const { return session_; }
  bool is_closed() const { return link_.is_closed(); }
  // Store operations are under way.
  bool is_busy() const { return operations_ > 0; }
  // Why something could not be stored here, if so.
  std::optional<std::string> store_error() const { return session_.has_failed_writes() ? store_error_ : std::nullopt; }

 private:
  struct Device {
    Volume* volume = nullptr;
    bool receiving = false;      // StartReceiving has come
    std::optional<TxId> owning;  // an original's Completed (or Custom) waits for the record
    bool completed_whole = false;
    std::unique_ptr<MemoryTouch> touch;  // of a volume in memory, since its first data
  };
  struct Payload {
    net::Lease buffer;
    ConstBytes body;
    bool is_plain = false;  // the bytes to be stored themselves, not a packet
  };

  void handle_frame(const FrameHeader& header, ConstBytes body, net::Lease buffer) override;
  std::optional<Payload> inflate(const WriteData& write);
  MutableBytes place(const FrameHeader& header, const RawWriteHead& head) override;
  void handle_placed(const FrameHeader& header, const RawWriteHead& head) override;
  bool wants_input() override { return session_.wants_input() && read_bytes_ < options_.config.read_bytes_max; }
  void handle_closed(std::optional<Error> error) override;

  void open_devices(OpenDevices work);
  void answer_mark(const Mark& mark);
  void handle_control_frame(ConstBytes payload);
  void handle_hello(const ControlMessage& hello);
  void handle_state(const ControlMessage& state);

  void work();
  void perform(DestinationWork& work);
  void store_data(const StoreData& work);
  void take_base(const TakeBase& work);
  void stored(const StoreData& work, Result<void> result);
  void fetch_by_hash(const FetchByHash& work);
  void store_fetched(const StoreFetched& work);
  void respond_read(const RespondRead& work);
  void reached_completed(const ReachedCompleted& work);
  void reached_custom(const ReachedCustom& work);
  struct HashChecks {
    DeviceId device;
    std::vector<Hashes::Entry> blocks;
    std::size_t next = 0;
  };
  void check_hashes(const CheckHashes& work);
  void check_next_hash(const std::shared_ptr<HashChecks>& checks);
  void check_owning();
  void custom_acknowledged();
  void touch_ahead(Device& device, std::uint64_t offset);
  Admission admission_of(const Device& device) const;
  void update_admission(DeviceId id, Device& device);
  void send_packet(DeviceId device, TxId tx, const Packet& packet);
  void fail(std::string reason);
  void operation_ended();

  DriverContext context_;
  DestinationOwner& owner_;
  LinkId id_;
  DestinationOptions options_;
  BlockSource* blocks_;
  DestinationSession session_;
  std::optional<std::string> store_error_;
  FrameLink link_;
  net::Address remote_;
  std::optional<Sender> peer_;
  bool original_ = false;
  bool group_ = false;
  std::vector<DeviceGroupInfo::Entry> announced_;
  std::map<DeviceId, ControlMessage> states_;
  std::map<DeviceId, Device> devices_;
  std::unordered_map<PayloadToken, Payload> payloads_;
  PayloadToken next_payload_ = 1;
  std::optional<std::pair<RefuseCode, std::string>> refusal_;
  std::optional<TxId> custom_;    // Custom/0 has come …
  bool custom_answered_ = false;  // … and was acknowledged
  std::uint64_t read_bytes_ = 0;  // of the peer's ReadAts, being read
  TxId control_tx_{0x80000000};
  std::size_t operations_ = 0;  // store operations under way
  std::vector<net::Task> when_idle_;
  bool working_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::volume
