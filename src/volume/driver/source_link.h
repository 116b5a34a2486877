// A's end of one connection: binds a SourceSession to its volumes, their ownership and a stream. Decides nothing about blocks;
// reads, encodes and sends what the session names. Source: silo.md 6, ownership.md 4, 10.1, 15.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "volume/core/control.h"
#include "volume/core/source_session.h"
#include "volume/driver/block_encoder.h"
#include "volume/driver/control_link.h"
#include "volume/driver/frame_link.h"

namespace godwit::volume {

// What makes moving one volume cheaper than sending its blocks.
struct SourceVolumeOptions {
  // Blocks that are still those of a base image which the destination has too: announced, not sent. Asked when the connection
  // begins and again once writes are tracked. Empty function: there is no such base.
  std::function<Bitset()> base_blocks;
  // Blocks that the destination can find elsewhere by their hash, by offset.
  std::map<std::uint64_t, AlternateSources::Entry> alternates;
  // The volume keeps a sparse storage: its blocks travel raw with their addresses, where the destination can take that (a godwit,
  // or an original's library without a group). Outlives the connection; null: it keeps none.
  const AddressMap* addresses = nullptr;
};

struct SourceOptions {
  SourceConfig config;
  FormPolicy forms;
  std::function<SourceVolumeOptions(const Volume&)> of_volume;  // empty: nothing special about any
  bool mark = true;                       // say that we are godwit; off only for tests against the bare protocol
  std::size_t unsent_bytes = 128 * 1024;  // what the kernel may hold unsent: urgent blocks queue behind no more
};

// How a move went; kept by the host for `status` and for the report.
struct MoveReport {
  std::string volume;
  std::uint64_t bytes_total = 0;
  std::uint64_t bytes_left = 0;
  std::uint64_t bytes_on_wire = 0;
  std::uint32_t rounds = 0;
  double seconds = 0;
  double downtime_seconds = 0;  // from the lock until the other side owned; 0: not yet
  bool handed_over = false;
  bool copied = false;  // an original has acknowledged a whole copy; the volume is still ours unless it was given away too
  std::string state;    // a word for people
};

class SourceLink final : public ControlLink, private FrameHandler {
 public:
  // `volumes` in the order of their device numbers, 1..N; they outlive the link.
  SourceLink(DriverContext context, LinkOwner& owner, LinkId id, std::unique_ptr<net::Stream> stream,
             std::vector<Volume*> volumes, SourceOptions options, Random random);
  ~SourceLink() override;

  void start();

  LinkId id() const override { return id_; }
  const std::optional<Sender>& peer() const override { return peer_; }
  net::Address remote() const override { return remote_; }
  void send_control(const ControlMessage& message) override;
  void start_sending(Volume& volume, bool shares_base) override;
  void start_receiving(Volume&) override {}
  void handle_peer_ready(Volume& volume) override;
  void handle_refused(Volume&, RefuseCode, const std::string&) override {}
  void handle_mode(Volume& volume) override;
  void end_session(Volume& volume, net::Task ended) override;
  void drop(const std::string& reason) override;

  bool carries(const Volume& volume) const;
  // Its PULL was accepted on this connection, which is still there.
  bool is_sending(const Volume& volume) const;
  std::optional<DeviceId> device_of(const Volume& volume) const;
  bool serves_original() const { return session_.peer() == SourceSession::PeerKind::original; }
  // The other side has said that it owns the volume.
  void handle_owned_heard(Volume& volume);
  // These were taken out of the volume's address map: the destination is told before it has the whole.
  void handle_addresses_removed(Volume& volume, std::vector<std::uint64_t> ids);
  // The volume is taken away here for good. An original that has the whole copy is told (RemoveDev), as long as it is connected;
  // a copy that is not whole fails.
  void remove_device(Volume& volume);
  std::vector<MoveReport> reports() const;
  bool is_done() const { return session_.phase() == SourceSession::Phase::done; }

 private:
  struct Device {
    Device(Volume& of, DeviceId number, BlockEncoder with) : volume(&of), id(number), encoder(std::move(with)) {}
    Volume* volume;
    DeviceId id;
    BlockEncoder encoder;
    std::string schema;
    SourceVolumeOptions special;
    std::optional<Bitset> base_blocks;     // as announced
    std::map<std::uint32_t, Sha256> sent;  // the manifest, where one is wanted
    Instant locked_at;
    double downtime_seconds = 0;
    bool wanted = false;
    bool handed_over = false;
  };

  std::vector<Device> make_devices(const std::vector<Volume*>& volumes);
  std::vector<SourceDevice> session_devices() const;

  void handle_frame(const FrameHeader& header, ConstBytes body, net::Lease buffer) override;
  MutableBytes place(const FrameHeader&, const RawWriteHead&) override { return {}; }
  void handle_placed(const FrameHeader&, const RawWriteHead&) override {}
  bool wants_input() override { return read_bytes_ < options_.config.read_bytes_max; }
  void handle_closed(std::optional<Error> error) override;

  bool decide_peer(const FrameHeader& header, const Packet& packet);
  void begin_with_godwit(Reply reply);
  bool begin_with_original();
  void handle_control_frame(ConstBytes payload);

  void work();
  void perform(SourceWork& work);
  void send_group_info(TxId tx);
  void send_already_have(const SendAlreadyHave& work);
  void send_alternates(const SendAlternateSources& work);
  void move_block(const MoveBlock& work);
  void send_zeroes(const MoveZeroes& work);
  void send_hashes(const SendHashes& work);
  void send_removed_addresses(SendRemoveFromMap work);
  void track_base(Device& device);
  void copy_completed();
  void close_when_answered();
  void release_busy();
  void send_block(Device& device, EncodedBlock block, Lane lane);
  void ask_extents(Device& device, const AskExtents& work);
  void collect_extents(Device& device, AskExtents ask, std::uint64_t offset, Bitset zero_blocks);
  void answer_read(const AnswerRead& work);
  void answer_read_by_hash(const AnswerReadByHash& work);
  void lock_group();
  void unlock_group(const std::string& reason);
  void relinquish_group();
  void check_relinquished();
  void report_round(const RoundDone& round);
  void arm_timer();
  void send_packet(DeviceId device, TxId tx, const Packet& packet);
  Device* find(DeviceId id);
  Device* find(const Volume& volume);
  void fail(std::string reason);

  DriverContext context_;
  LinkOwner& owner_;
  LinkId id_;
  SourceOptions options_;
  std::vector<Device> devices_;
  SourceSession session_;
  FrameLink link_;
  net::Address remote_;
  std::optional<Mark> mark_;
  std::optional<Sender> peer_;
  bool working_ = false;
  bool busy_held_ = false;        // this link made its volumes busy
  bool locked_here_ = false;      // this link holds the lock, not another one of the same volumes
  std::uint64_t read_bytes_ = 0;  // of the peer's reads, by place or by hash, being read …
  std::size_t reads_ = 0;         // … and how many they are
  bool copied_ = false;
  bool closing_ = false;  // once they are answered
  bool relinquishing_ = false;
  std::size_t draining_ = 0;
  std::uint64_t lock_number_ = 0;
  TxId control_tx_{0x80000000};
  net::TimerId timer_;
  Instant timer_at_ = Instant::never();
  Instant started_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The schema text we send: valid for the original's parser, free of secrets and paths.
std::string schema_for(const std::string& name, const Geometry& geometry);

}  // namespace godwit::volume
