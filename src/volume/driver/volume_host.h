// One host's volumes and connections: answers hosts that dial it (as A), dials hosts it pulls from (as B), carries messages
// between their links and the volumes' ownership, and exports what it has. Everything a process with a data directory does with
// volumes, without the process: the command line and the control socket are src/host's. Source: ownership.md 3, 15, 16.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "export/nbd_server.h"
#include "volume/driver/destination_link.h"
#include "volume/driver/relay.h"
#include "volume/driver/source_link.h"
#include "volume/driver/volume_shelf.h"

namespace godwit::volume {

enum class AfterHandover : std::uint8_t { relay, refuse };

struct HostOptions {
  SourceOptions source;
  DestinationOptions destination;
  bool early_reads = true;
  AfterHandover after_handover = AfterHandover::relay;
  Duration redial_min = Duration::milliseconds(100);
  Duration redial_max = Duration::seconds(5);
  std::vector<std::string> trusted_hosts;  // names that a peer's address hints may use besides the connection's own
  std::uint32_t links_max = 256;
};

// Where copies that are pulled go: a folder, or memory.
class CopyMaker {
 public:
  virtual ~CopyMaker() = default;
  virtual void make(const LocalHost& me, const std::string& name, const VolumeId& volume, Geometry geometry, Peer from,
                    Random random, net::Done<ShelfItem> done) = 0;
  // Removes what make() made, record included, when nothing of it is worth keeping.
  virtual void discard(const std::string& name, const std::string& data_name, net::Done<void> done) = 0;
  virtual void remove_data(const std::string& data_name, net::Done<void> done) = 0;
};

struct PullRequest {
  net::Address from;
  std::vector<std::string> names;                            // empty: all that the host offers
  std::string rename_to;                                     // with one name: what it is called here
  CopyMaker* copies = nullptr;                               // where new copies go; null: the host's own
  std::optional<DestinationOptions> options = std::nullopt;  // other than the host's
};

// What a pull has come to. `failed`: nothing more will happen without an operator.
struct PullStatus {
  enum class State : std::uint8_t { dialling, copying, owned, copied, failed } state = State::dialling;
  std::string text;
  std::vector<std::string> volumes;  // by their names here
  std::uint64_t bytes_received = 0;
};

class VolumeHost final : public DestinationOwner, public VolumeEvents {
 public:
  // All references outlive the host. `server` may be null: no exports. `blocks` may be null.
  VolumeHost(DriverContext context, LocalHost me, HostOptions options, CopyMaker& copies, exports::NbdServer* server,
             RelayGate* gate, BlockSource* blocks, Random random, std::function<void(NoteLevel, std::string)> note);
  ~VolumeHost() override;

  // --- volumes ---
  // One that is GONE has no store and is offered to nobody: it is there to tell, and to answer, what its record says.
  Result<Volume*> add(ShelfItem item);
  // Takes the volume off (its clients are closed); its data stay.
  void remove(const std::string& name, net::Task done);
  Volume* find(const std::string& name);
  Volume* find(const VolumeId& id);
  std::vector<Volume*> volumes();

  // --- hosts ---
  // A host has dialled us.
  void accept(std::unique_ptr<net::Stream> stream);
  // Where hosts and clients reach us, as we tell others.
  void set_addresses(std::string host_address, std::string export_address);
  // Starts pulling; `changed` is called whenever the status changes, until it is owned, copied or failed.
  std::uint64_t pull(PullRequest request, std::function<void(const PullStatus&)> changed);
  // What it has come to by now, bytes of the running connection included.
  std::optional<PullStatus> pull_status(std::uint64_t id) const;
  // Ends dialling; what is copied stays.
  void stop_pull(std::uint64_t id);
  // The user of a volume that keeps addresses (SourceVolumeOptions) has taken these out: whoever receives it is told.
  void remove_addresses(Volume& volume, const std::vector<std::uint64_t>& ids);
  // Goes on with what the records say is unfinished and nobody dials for yet: after a start.
  void resume_dialling();
  // Of that only where a host is still to be told what the record here says; what was stopped stays stopped.
  void dial_untold();

  std::vector<MoveReport> moves() const;
  std::size_t links() const { return sources_.size() + destinations_.size(); }
  // All volumes have been handed over, or copied to an original, and no relay is needed by a client (serve --once).
  bool is_done_serving() const;
  // How many histories of its volumes were met, each another host's, that fork from the one here.
  std::uint64_t forks_seen() const { return forks_.size(); }
  std::uint64_t forks_of(const Volume& volume) const;
  bool is_told(const Volume& volume) const { return !volume.ownership().durable_record().untold; }

  void shut_down(net::Task done);

  // LinkOwner, DestinationOwner, VolumeEvents
  LocalHost local_host() const override { return me_; }
  void handle_link_up(ControlLink& link) override;
  void handle_control(ControlLink& link, const ControlMessage& message) override;
  void handle_link_closed(ControlLink& link, std::optional<Error> error) override;
  void note(NoteLevel level, std::string text) override { note_(level, std::move(text)); }
  void open_copies(DestinationLink& link, const std::vector<DeviceGroupInfo::Entry>& devices,
                   net::Done<std::vector<Volume*>> done) override;
  void handle_states(DestinationLink& link, const std::map<DeviceId, ControlMessage>& states,
                     const std::vector<DeviceGroupInfo::Entry>& devices) override;
  void handle_original_completed(DestinationLink& link, Volume& volume, bool owned) override;
  void handle_effect(Volume& volume, OwnershipEffect& effect) override;
  void handle_mode(Volume& volume) override;

 private:
  struct Entry {
    std::unique_ptr<Volume> volume;
    std::unique_ptr<RelayClient> relay;
    MoveReport last_move;
    bool exported = false;
  };
  // Somebody we dial, and why.
  struct Dialler {
    std::uint64_t id = 0;
    PullRequest request;
    std::function<void(const PullStatus&)> changed;
    PullStatus status;
    std::uint64_t word = 0;
    std::vector<Volume*> volumes;
    std::vector<std::string> begun;  // copies this pull made and nobody has accepted yet
    std::set<VolumeId> given_up;     // taken back by the source: not asked for again
    bool accepted_once = false;
    bool ended = false;
    DestinationLink* link = nullptr;
    bool connecting = false;
    Duration back_off;
    net::TimerId timer;
  };

  ControlLink* find_link(LinkId id) const;
  ControlLink* find_link_to(const HostId& host) const;
  std::string resolve_hint(const std::string& text, const net::Address& from) const;
  void dial_for(const std::function<bool(const Record&)>& is_meant);
  void dial(Dialler& dialler);
  void redial(Dialler& dialler);
  bool is_wanted(const Dialler& dialler) const;
  static PullStatus status_of(const Dialler& dialler);
  void report(Dialler& dialler, PullStatus::State state, std::string text);
  void fail_pull(Dialler& dialler, std::string text);
  void refused(Dialler& dialler, Volume& volume, RefuseCode code, const std::string& text);
  Dialler* dialler_of(const ControlLink& link);
  void check_pulled(Dialler& dialler);
  void check_told(Dialler& dialler);
  void stop_dialling_for(Volume& volume);
  void end_pull_of(Volume& volume);
  void drop_later(const DestinationLink* link, std::string reason);
  void answer_unknown(ControlLink& link, const ControlMessage& message);
  void make_pull(DestinationLink& link, DeviceId device, Volume& volume, std::uint64_t word);
  void make_copies(DestinationLink& link, Dialler& dialler, std::map<DeviceId, ControlMessage> states,
                   std::vector<DeviceGroupInfo::Entry> wanted);
  void discard_begun(Dialler& dialler, net::Task done);
  Entry* entry_of(const Volume& volume);
  void tell(ControlLink& link);

  DriverContext context_;
  LocalHost me_;
  HostOptions options_;
  CopyMaker& copies_;
  exports::NbdServer* server_;
  RelayGate* gate_;
  BlockSource* blocks_;
  Random random_;
  std::function<void(NoteLevel, std::string)> note_;
  std::map<std::string, Entry> volumes_;
  static constexpr std::size_t kForksMax = 4096;  // more are noted and not counted
  std::set<std::tuple<VolumeId, HostId, HandoverId>> forks_;
  std::map<LinkId, std::unique_ptr<SourceLink>> sources_;
  std::map<LinkId, std::unique_ptr<DestinationLink>> destinations_;
  std::map<std::uint64_t, std::unique_ptr<Dialler>> diallers_;
  std::uint64_t next_link_ = 1;
  std::uint64_t next_dialler_ = 1;
  std::uint64_t pull_commands_ = 0;
  std::uint64_t relay_openings_ = 0;
  bool shutting_down_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::volume
