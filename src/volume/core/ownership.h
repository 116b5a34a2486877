// Who owns a volume: the machine that one host keeps for one volume. Facts go in (messages, records written, sessions ended,
// operators' verbs), effects come out in order; what stands behind a record write is only given out once that record is durable.
// Source: ownership.md 2–5, 7, 15, 16; the state table is in src/volume/README.md. It never moves data: the sessions do
// (source_session.h, destination_session.h), and it tells them when they may.
//
// LOCKED is a mode of OWNED in memory: a crash forgets it. Nothing here depends on a clock.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <variant>

#include "base/random.h"
#include "volume/core/control.h"
#include "volume/core/record.h"

namespace godwit::volume {

// One connection between two godwits, numbered by the driver, never re-used within a process.
using LinkId = Strong<struct LinkIdTag, std::uint64_t>;

// The other end of a link, known since its HELLO.
struct Sender {
  LinkId link;
  HostId host;
  Boot boot;
  std::string name;
  std::string address;  // where it listens, as it says
};

struct LocalHost {
  HostId host;
  Boot boot;
  std::string name;
  std::string address;         // where we listen for hosts; may be empty
  std::string export_address;  // where our NBD server listens; may be empty
};
// What a host says of itself when it meets another. Source: ownership.md 15.
ControlMessage hello_of(const LocalHost& host);

// What clients of the volume's export get at this host.
enum class FaceMode : std::uint8_t {
  none,         // no copy here
  early_reads,  // RECEIVING, READY: reads wait for blocks, writes wait for ownership
  serve,        // a durable OWNED
  hold,         // locked, relinquished and not yet heard, or a record write whose outcome decides
  relay,        // another host owns; requests go there
  refuse,       // split, gone, given to an original, or a failed record: ESHUTDOWN
};

struct WriteRecord {
  Record record;  // write it durably, then handle_record_written()
};
struct AgreeNames {  // rename the data file as the record, by now durable, says; then handle_names_agreed()
  std::string from;
  std::string to;
};
struct RemoveData {};  // the `.partial` of a copy that is gone
struct SendControl {
  HostId to;
  LinkId link;  // the connection it must travel on; 0: any to that host, or none, then it is told again at the next
  ControlMessage message;
};
struct StartSending {  // A: ACCEPT has been sent behind this; the session's device may move
  LinkId link;
  SessionId session;
  CopyId copy;
  PullMode mode;
  bool shares_base = false;  // B lies on the same base image: its blocks are named, not sent
};
struct StartReceiving {  // B: RECEIVING with the source's chain is durable; data may be stored
  LinkId link;
  SessionId session;
  PullMode mode;
};
struct EndSession {  // end every store operation of it, then handle_session_ended()
  LinkId link;       // the connection it runs on
  SessionId session;
};
struct DropLink {  // the peer broke a rule, or its story forks from ours
  LinkId link;
  std::string reason;
};
struct SyncData {  // everything stored so far durable, then handle_data_synced()
  HandoverId h;
};
struct PeerReady {  // A: READY(h) came under this very lock; relinquish() when the whole group is
  HandoverId h;
};
struct Refused {  // B: our PULL was refused
  LinkId link;
  RefuseCode code;
  std::string text;
};
struct StopDialling {  // B: the source has taken its reservation back; what is here stays until an operator decides
};
struct FaceChanged {  // face_mode() may have changed
};
struct ForkSeen {  // another host's history of the volume and ours part
  HostId host;
  HandoverId tip;  // where the other one ends
};
struct Report {
  std::string text;
};

using OwnershipEffect = std::variant<WriteRecord, AgreeNames, RemoveData, SendControl, StartSending, StartReceiving, EndSession,
                                     DropLink, SyncData, PeerReady, Refused, StopDialling, FaceChanged, ForkSeen, Report>;

class Ownership {
 public:
  // `record` as read from disk, or a fresh one (new_owned, new_receiving) that is written first when `fresh`.
  Ownership(LocalHost me, Record record, bool fresh, Random random);

  static Record new_owned(const LocalHost& me, Random& random, Geometry geometry, std::string data_name);
  static Record new_receiving(const LocalHost& me, Random& random, VolumeId volume, Geometry geometry, Peer from,
                              std::string data_name);

  // --- facts ---
  void handle_start();
  // Both HELLOs have passed on this link: what the record can tell is told. PULLs are begin_pull's.
  void handle_link_up(const Sender& peer);
  void handle_link_down(LinkId link);
  void handle_message(const Sender& from, const ControlMessage& message);
  void handle_record_written(bool ok);
  void handle_names_agreed(bool ok);
  void handle_session_ended(const SessionId& session);
  void handle_data_synced(const HandoverId& h, bool ok);
  // B: whether every block is present is the session's knowledge; it says so before it passes PREPARE on.
  void set_whole(bool whole) { whole_ = whole; }
  // Where our NBD server can be reached changed.
  void set_export_address(std::string address);
  const std::string& export_address() const { return me_.export_address; }
  // The image that our copy is an overlay on, by its hash (ownership.md 16, "Base").
  void set_base(const Sha256& base) { base_ = base; }
  const std::optional<Sha256>& base() const { return base_; }

  // --- A's session ---
  // Locks for a hand-over in the running session, under a fresh h. Clients are held from now on.
  HandoverId lock();
  // The PREPARE for the lock; sent right behind Completed.
  ControlMessage prepare() const;
  // Gives the lock up (a miss, a cut, B slow): ABORTED(h), clients go on.
  void unlock();
  // A session with an original peer is under way: nobody else may pull meanwhile.
  void set_busy(bool busy) { busy_ = busy; }
  bool is_busy() const { return busy_; }
  bool is_locked() const { return lock_.has_value(); }
  // Whether the session that is sending may go on to lock: it is there, and this host owns.
  bool may_lock() const { return is_owner() && session_ && !lock_; }
  // Whether the lock still stands, and READY has come under it. A cancel, or a record that could not be written, ends both.
  bool may_relinquish() const { return is_owner() && session_ && record_.reserved && lock_ && lock_->ready; }
  // Step 4: from here on this host is not the owner. Only after PeerReady, under the same lock.
  void relinquish();
  // Step 4 towards an original peer: no GRANT will follow, only `claim --force` brings it back (ownership.md 10.1).
  void relinquish_to_original();

  // --- B's session ---
  // PULL on a link that is up; `word`: how many pull commands there were in this boot (0: none); `source_base`: what the source
  // says its own copy lies on.
  void begin_pull(const Sender& to, std::uint64_t word, const std::optional<Sha256>& source_base = {});
  // B has taken a whole copy from an original (ownership.md 10.2): durable OWNED, entry `adopted`.
  void adopt();

  // --- operator ---
  Result<void> cancel();

  // --- state ---
  const Record& record() const { return record_; }  // as decided; maybe not yet durable
  const Record& durable_record() const { return durable_; }
  FaceMode face_mode() const;
  // Durable OWNED, not given up: the one who accepts writes.
  bool is_owner() const;
  // Whether we should be dialling record().peer: RECEIVING, READY, or something untold.
  bool wants_link() const;
  std::optional<SessionId> session() const { return session_ ? std::optional(session_->id) : std::nullopt; }
  // The connection that the session runs on.
  std::optional<LinkId> session_link() const { return session_ ? std::optional(session_->peer.link) : std::nullopt; }
  bool is_failed() const { return failed_; }
  // The data file is called what the record says; false between the record and the rename.
  bool names_agree() const { return renames_due_ == 0; }
  // The STATE message about this volume.
  ControlMessage state_message(std::optional<DeviceId> device) const;

  std::optional<OwnershipEffect> poll_effect();

 private:
  struct Session {
    SessionId id;
    Sender peer;
    CopyId copy;
  };
  struct Lock {
    HandoverId h;
    bool ready = false;
  };
  struct PendingPull {
    Sender from;
    ControlMessage message;
  };

  void tell(const Sender& peer);
  void on_pull(const Sender& from, const ControlMessage& m);
  void accept(const Sender& from, const ControlMessage& m);
  void refuse(const Sender& from, const ControlMessage& m, RefuseCode code, std::string text);
  std::optional<RefuseCode> refusal_of_owner(const Sender& from, const ControlMessage& m) const;
  void on_accept(const Sender& from, const ControlMessage& m);
  void on_refuse(const Sender& from, const ControlMessage& m);
  void on_prepare(const Sender& from, const ControlMessage& m);
  void on_ready(const Sender& from, const ControlMessage& m);
  void on_aborted(const Sender& from, const ControlMessage& m);
  void on_grant(const Sender& from, const ControlMessage& m);
  void on_owned(const Sender& from, const ControlMessage& m);
  void on_owned_ack(const Sender& from, const ControlMessage& m);
  void on_revoke(const Sender& from, const ControlMessage& m);
  void on_declined(const Sender& from, const ControlMessage& m);
  void on_cancel(const Sender& from, const ControlMessage& m);
  void on_state(const Sender& from, const ControlMessage& m);

  void own(const ControlMessage& grant);
  HandoverId newest_of_ours() const;
  void answer_owned(const HostId& to, LinkId link, const HandoverId& h);
  void send(const HostId& to, LinkId link, ControlMessage message);
  void send_grant(const HostId& to, LinkId link);
  ControlMessage about(ControlType type) const;
  bool in_session_of(const Sender& from, const ControlMessage& m) const;
  void end_session();
  void forget_start(const SessionId& session);
  void leave();
  void handle_reservation_taken();
  void become(CopyState state);
  void decide();  // queues the record as it stands, and the names that follow from it
  std::string wanted_data_name() const;
  void report(std::string text) { effects_.push_back(Report{std::move(text)}); }

  LocalHost me_;
  Record record_;
  Record durable_;
  Random random_;
  bool whole_ = false;
  bool failed_ = false;
  bool busy_ = false;
  std::uint32_t renames_due_ = 0;
  std::optional<Sha256> base_;
  std::optional<Session> session_;  // A: accepted; B: accepted by A
  std::optional<SessionId> asked_;  // B: PULL sent, not answered
  LinkId asked_link_;
  std::optional<Lock> lock_;
  std::optional<HandoverId> preparing_;  // B: syncing for this attempt
  std::optional<PendingPull> pending_pull_;
  std::optional<SessionId> ending_;
  bool barrier_ = false;  // a WriteRecord, AgreeNames or EndSession is out, its answer awaited
  Record writing_;        // the record that is out
  std::deque<OwnershipEffect> effects_;
};

}  // namespace godwit::volume
