// One host's Ownership on a bench: records it may be started from, messages it may hear, and what it asks for as a row of words.
#pragma once

#include <string>

#include "volume/core/ownership.h"

namespace godwit::volume {

template <class Id>
Id id_of(char letter) {
  Id id;
  id.bytes.fill(static_cast<std::byte>(letter));
  return id;
}
inline const HostId kMe = id_of<HostId>('m'), kPeer = id_of<HostId>('p'), kThird = id_of<HostId>('t');
inline const CopyId kMyCopy = id_of<CopyId>('c'), kPeerCopy = id_of<CopyId>('d'), kOtherCopy = id_of<CopyId>('e');
inline const HandoverId kFirst = id_of<HandoverId>('0'), kH = id_of<HandoverId>('h'), kOld = id_of<HandoverId>('o'),
                        kDead = id_of<HandoverId>('x');
inline const VolumeId kVolume = id_of<VolumeId>('v');
inline const SessionId kSession = id_of<SessionId>('s'), kOtherSession = id_of<SessionId>('u');
inline const Geometry kGeometry{1 << 20, 4096};

inline const Sender kFromPeer{LinkId{1}, kPeer, Boot{3}, "peer", "peer:5170"};
inline const Sender kFromPeerAgain{LinkId{2}, kPeer, Boot{3}, "peer", "peer:5170"};
inline const Sender kFromThird{LinkId{3}, kThird, Boot{1}, "third", "third:5170"};

inline Chain chain_of(std::initializer_list<std::pair<HandoverId, HostId>> entries) {
  Chain chain;
  for (const auto& [tag, owner] : entries) chain.add(chain.empty() ? OwnershipKind::created : OwnershipKind::moved, tag, owner);
  return chain;
}

inline ControlMessage message_of(ControlType type) {
  ControlMessage m;
  m.type = type;
  m.volume = kVolume;
  return m;
}
inline ControlMessage about_h(ControlType type, HandoverId h) {
  ControlMessage m = message_of(type);
  m.h = h;
  m.copy = kMyCopy;
  return m;
}
inline ControlMessage grant_of(HandoverId h, Chain chain) {
  ControlMessage m = about_h(ControlType::grant, h);
  m.chain = std::move(chain);
  return m;
}
inline ControlMessage owned_of(HandoverId h, Chain chain) {
  ControlMessage m = about_h(ControlType::owned, h);
  m.chain = std::move(chain);
  m.address = "peer:10809";
  return m;
}
inline ControlMessage cancel_of(CopyId copy) {
  ControlMessage m = message_of(ControlType::cancel);
  m.copy = copy;
  return m;
}
inline ControlMessage pull_of(SessionId session, std::uint64_t word, CopyState state = CopyState::receiving, Chain chain = {}) {
  ControlMessage m = message_of(ControlType::pull);
  m.session = session;
  m.copy = kPeerCopy;
  m.state = state;
  m.chain = std::move(chain);
  m.size = kGeometry.size_bytes;
  m.block_size = kGeometry.block_size_bytes;
  m.claims = 0;
  m.word = word;
  return m;
}

// One host's machine, and what it asked for as a row of words. Records and renames succeed at once unless they are held.
class Bench {
 public:
  explicit Bench(Record record, bool fresh = false)
      : ownership({kMe, Boot{7}, "me", "me:5170", "me:10809"}, std::move(record), fresh, Random(1)) {}

  std::string run() {
    while (std::optional<OwnershipEffect> effect = ownership.poll_effect()) note(*effect);
    return std::exchange(log_, "");
  }
  std::string hear(const Sender& from, const ControlMessage& m) {
    ownership.handle_message(from, m);
    return run();
  }
  std::string written(bool ok) {
    held_ = false;
    ownership.handle_record_written(ok);
    return run();
  }
  void hold_records() { hold_ = true; }
  void stop_holding() { hold_ = false; }
  const Record& record() const { return ownership.record(); }

  Ownership ownership;
  std::vector<ControlMessage> sent;

 private:
  void say(const std::string& word) { log_ += (log_.empty() ? "" : ", ") + word; }
  void note(OwnershipEffect& effect) {
    if (auto* write = std::get_if<WriteRecord>(&effect)) {
      say("record " + name_of(write->record.state));
      if (hold_)
        held_ = true;
      else
        ownership.handle_record_written(true);
    } else if (auto* names = std::get_if<AgreeNames>(&effect)) {
      say("name " + names->to);
      ownership.handle_names_agreed(true);
    } else if (auto* end = std::get_if<EndSession>(&effect)) {
      say("end session");
      ownership.handle_session_ended(end->session);
    } else if (auto* send = std::get_if<SendControl>(&effect)) {
      sent.push_back(send->message);
      say(name_of(send->message.type) + (send->message.code ? " " + name_of(*send->message.code) : ""));
    } else if (std::holds_alternative<RemoveData>(effect))
      say("remove data");
    else if (std::holds_alternative<StartSending>(effect))
      say("start sending");
    else if (std::holds_alternative<StartReceiving>(effect))
      say("start receiving");
    else if (std::holds_alternative<DropLink>(effect))
      say("drop");
    else if (std::holds_alternative<SyncData>(effect))
      say("sync");
    else if (std::holds_alternative<PeerReady>(effect))
      say("peer ready");
    else if (std::holds_alternative<Refused>(effect))
      say("refused");
    else if (std::holds_alternative<StopDialling>(effect))
      say("stop dialling");
    else if (std::holds_alternative<ForkSeen>(effect))
      say("fork");
    else if (std::holds_alternative<Report>(effect))
      say("report");
  }
  std::string log_;
  bool hold_ = false;
  bool held_ = false;
};

inline Record record_in(CopyState state) {
  Record r;
  r.volume = kVolume;
  r.copy = kMyCopy;
  r.geometry = kGeometry;
  r.host = kMe;
  r.state = state;
  r.gen = 4;
  r.data_name = "disk";
  r.decline(kDead, false);
  switch (state) {
    case CopyState::receiving:
    case CopyState::ready:
      r.chain = chain_of({{kFirst, kMe}, {kOld, kPeer}});
      r.peer = Peer{kPeer, "peer", "peer:5170"};
      r.data_name = "disk.partial";
      if (state == CopyState::ready) r.h = kH;
      break;
    case CopyState::relinquished:
      r.chain = chain_of({{kFirst, kMe}, {kH, kPeer}});
      r.h = kH;
      r.peer = Peer{kPeer, "peer", "peer:5170"};
      r.reserved = Record::Reserved{kPeerCopy, kPeer};
      break;
    default: r.chain = chain_of({{kFirst, kMe}}); break;
  }
  return r;
}

// RECEIVING in a session, READY from it, OWNED with one accepted: as links and messages bring it about.
inline void in_session(Bench& bench) {
  switch (bench.record().state) {
    case CopyState::owned: bench.hear(kFromPeer, pull_of(kSession, 1)); break;
    case CopyState::receiving: {
      bench.ownership.begin_pull(kFromPeer, 1);
      bench.run();
      ControlMessage m = message_of(ControlType::accept);
      m.session = bench.sent.back().session;
      m.chain = bench.record().chain;
      m.mode = PullMode::all;
      bench.hear(kFromPeer, m);
      break;
    }
    default: break;
  }
}
inline void lock_in_session(Bench& bench) {
  in_session(bench);
  bench.ownership.lock();
  bench.run();
}
inline std::string ready_in_session(Bench& bench, bool durable = true) {
  in_session(bench);
  bench.ownership.set_whole(true);
  ControlMessage m = about_h(ControlType::prepare, kH);
  m.session = bench.ownership.session();
  bench.hear(kFromPeer, m);
  bench.ownership.handle_data_synced(kH, durable);
  return bench.run();
}
inline ControlMessage accept_of(Bench& bench, Chain chain) {
  ControlMessage m = message_of(ControlType::accept);
  m.session = bench.sent.back().session;
  m.chain = std::move(chain);
  m.mode = PullMode::all;
  return m;
}

}  // namespace godwit::volume
