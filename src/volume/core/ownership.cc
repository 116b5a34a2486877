#include "volume/core/ownership.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::volume {

Ownership::Ownership(LocalHost me, Record record, bool fresh, Random random)
    : me_(std::move(me)), record_(std::move(record)), random_(random) {
  if (fresh) {
    durable_ = record_;
    durable_.state = CopyState::none;
    decide();
  } else {
    durable_ = record_;
  }
}

Record Ownership::new_owned(const LocalHost& me, Random& random, Geometry geometry, std::string data_name) {
  Record record;
  record.volume = VolumeId::random(random);
  record.copy = CopyId::random(random);
  record.geometry = geometry;
  record.host = me.host;
  record.state = CopyState::owned;
  record.chain.add(OwnershipKind::created, HandoverId::random(random), me.host);
  record.data_name = std::move(data_name);
  return record;
}

Record Ownership::new_receiving(const LocalHost& me, Random& random, VolumeId volume, Geometry geometry, Peer from,
                                std::string data_name) {
  Record record;
  record.volume = volume;
  record.copy = CopyId::random(random);
  record.geometry = geometry;
  record.host = me.host;
  record.state = CopyState::receiving;
  record.peer = std::move(from);
  record.data_name = std::move(data_name);
  return record;
}

// --- state ---

bool Ownership::is_owner() const {
  return !failed_ && record_.state == CopyState::owned && durable_.state == CopyState::owned;
}

FaceMode Ownership::face_mode() const {
  if (failed_) return FaceMode::refuse;
  switch (record_.state) {
    case CopyState::none: return FaceMode::none;
    case CopyState::receiving:
    case CopyState::ready:
      if (durable_.state == CopyState::none) return FaceMode::hold;
      return record_.relaying ? FaceMode::relay : FaceMode::early_reads;
    case CopyState::owned:
      if (durable_.state != CopyState::owned) {
        // OWNED is under way: whoever could read early goes on doing so, and a relay goes on until it is durable.
        if (durable_.relaying) return FaceMode::relay;
        const bool had_early_reads = durable_.state == CopyState::ready || durable_.state == CopyState::receiving;
        return had_early_reads ? FaceMode::early_reads : FaceMode::hold;
      }
      return lock_ ? FaceMode::hold : FaceMode::serve;
    case CopyState::relinquished:
      if (!record_.peer) return FaceMode::refuse;
      return durable_.state == CopyState::relinquished && durable_.heard ? FaceMode::relay : FaceMode::hold;
    case CopyState::split:
    case CopyState::gone: return FaceMode::refuse;
  }
  return FaceMode::refuse;
}

bool Ownership::wants_link() const {
  if (failed_ || !record_.peer) return false;
  return record_.state == CopyState::receiving || record_.state == CopyState::ready || record_.untold;
}

ControlMessage Ownership::about(ControlType type) const {
  ControlMessage message;
  message.type = type;
  message.volume = record_.volume;
  return message;
}

ControlMessage Ownership::state_message(std::optional<DeviceId> device) const {
  ControlMessage message = about(ControlType::state);
  message.device = device;
  message.copy = durable_.copy;
  message.state = durable_.state;
  message.size = durable_.geometry.size_bytes;
  message.block_size = durable_.geometry.block_size_bytes;
  message.chain = durable_.chain;
  message.h = durable_.h;
  message.peer = durable_.peer;
  message.base = base_;
  if (!me_.export_address.empty()) message.address = me_.export_address;
  return message;
}

std::string Ownership::wanted_data_name() const {
  if (record_.kind == Record::Kind::block_device) return record_.data_name;
  std::string base = record_.data_name;
  for (std::string_view suffix : {".partial", ".moved"})
    if (base.ends_with(suffix)) {
      base.resize(base.size() - suffix.size());
      break;
    }
  if (record_.state == CopyState::receiving || record_.state == CopyState::ready) return base + ".partial";
  if (record_.state == CopyState::relinquished && record_.heard) return base + ".moved";
  if (record_.state == CopyState::relinquished || record_.state == CopyState::gone) return record_.data_name;
  return base;
}

// --- effects ---

std::optional<OwnershipEffect> Ownership::poll_effect() {
  if (barrier_ || effects_.empty()) return std::nullopt;
  OwnershipEffect effect = std::move(effects_.front());
  effects_.pop_front();
  if (const auto* write = std::get_if<WriteRecord>(&effect)) {
    writing_ = write->record;
    barrier_ = true;
  } else if (std::holds_alternative<AgreeNames>(effect) || std::holds_alternative<EndSession>(effect)) {
    barrier_ = true;
  }
  return effect;
}

void Ownership::decide() {
  ++record_.gen;
  std::string old_name = record_.data_name;
  record_.data_name = wanted_data_name();
  effects_.push_back(WriteRecord{record_});
  effects_.push_back(FaceChanged{});
  if (record_.data_name == old_name) return;
  ++renames_due_;
  effects_.push_back(AgreeNames{std::move(old_name), record_.data_name});
}

void Ownership::become(CopyState state) {
  record_.state = state;
  effects_.push_back(FaceChanged{});
}

void Ownership::handle_record_written(bool ok) {
  GODWIT_CHECK(barrier_);
  barrier_ = false;
  if (ok) {
    durable_ = writing_;
    return;
  }
  // The outcome is unknown: neither serve, grant nor answer until the process has read the record back.
  failed_ = true;
  lock_.reset();
  effects_.clear();
  renames_due_ = 0;
  effects_.push_back(FaceChanged{});
  report("the ownership record could not be written; the volume is not served until the process has started anew");
}

void Ownership::handle_names_agreed(bool ok) {
  GODWIT_CHECK(barrier_);
  barrier_ = false;
  --renames_due_;
  if (!ok) report("the data file keeps its old name: the new one is taken, or the rename failed");
}

void Ownership::send(const HostId& to, LinkId link, ControlMessage message) {
  effects_.push_back(SendControl{to, link, std::move(message)});
}

// --- links ---

void Ownership::handle_start() {
  if (record_.host != me_.host) {
    failed_ = true;
    report("the record belongs to another host id: a copied data directory");
    return;
  }
  effects_.push_back(FaceChanged{});
}

void Ownership::handle_link_up(const Sender& peer) {
  if (!failed_) tell(peer);
}

// What the record can tell is told again at each new connection, until it has been answered.
void Ownership::tell(const Sender& peer) {
  const bool concerns = record_.peer && record_.peer->host == peer.host;
  switch (record_.state) {
    case CopyState::relinquished:
      if (!concerns || record_.heard) break;
      if (record_.reserved) {
        send_grant(peer.host, peer.link);
      } else {
        ControlMessage revoke = about(ControlType::revoke);
        revoke.h = record_.h;
        send(peer.host, peer.link, std::move(revoke));
      }
      break;
    case CopyState::owned:
      if (concerns && record_.untold) answer_owned(peer.host, peer.link, newest_of_ours());
      break;
    case CopyState::gone:
      if (concerns && record_.untold) {
        ControlMessage message = about(ControlType::cancel);
        message.copy = record_.copy;
        send(peer.host, peer.link, std::move(message));
      }
      break;
    default: break;
  }
}

void Ownership::handle_link_down(LinkId link) {
  if (asked_ && asked_link_ == link) asked_.reset();
  if (pending_pull_ && pending_pull_->from.link == link) pending_pull_.reset();
  if (!session_ || session_->peer.link != link) return;
  if (lock_) unlock();  // a cut while locked unlocks at once
  forget_start(session_->id);
  session_.reset();
  preparing_.reset();
  if (record_.state == CopyState::receiving) whole_ = false;
}

void Ownership::handle_session_ended(const SessionId& session) {
  GODWIT_CHECK(barrier_ && ending_ == session);
  barrier_ = false;
  ending_.reset();
  if (std::optional<PendingPull> pull = std::exchange(pending_pull_, std::nullopt)) on_pull(pull->from, pull->message);
}

// What was to begin behind a record write does not begin any more.
void Ownership::forget_start(const SessionId& session) {
  std::erase_if(effects_, [&](const OwnershipEffect& effect) {
    const auto* sending = std::get_if<StartSending>(&effect);
    const auto* receiving = std::get_if<StartReceiving>(&effect);
    return (sending && sending->session == session) || (receiving && receiving->session == session);
  });
}

void Ownership::end_session() {
  if (!session_) return;
  forget_start(session_->id);
  ending_ = session_->id;
  effects_.push_back(EndSession{session_->peer.link, session_->id});
  session_.reset();
  preparing_.reset();
  if (record_.state == CopyState::receiving) whole_ = false;
}

void Ownership::set_export_address(std::string address) {
  me_.export_address = std::move(address);
}

bool Ownership::in_session_of(const Sender& from, const ControlMessage& m) const {
  return session_ && session_->peer.link == from.link && (!m.session || *m.session == session_->id);
}

void Ownership::handle_message(const Sender& from, const ControlMessage& m) {
  if (failed_) return;
  switch (m.type) {
    case ControlType::pull: return on_pull(from, m);
    case ControlType::accept: return on_accept(from, m);
    case ControlType::refuse: return on_refuse(from, m);
    case ControlType::prepare: return on_prepare(from, m);
    case ControlType::ready: return on_ready(from, m);
    case ControlType::aborted: return on_aborted(from, m);
    case ControlType::grant: return on_grant(from, m);
    case ControlType::owned: return on_owned(from, m);
    case ControlType::owned_ack: return on_owned_ack(from, m);
    case ControlType::revoke: return on_revoke(from, m);
    case ControlType::declined: return on_declined(from, m);
    case ControlType::cancel: return on_cancel(from, m);
    case ControlType::cancel_ok:
      if (record_.state == CopyState::gone && record_.untold && m.copy == record_.copy) {
        record_.untold = false;
        decide();
      }
      return;
    case ControlType::state: return on_state(from, m);
    default: return;  // HELLO and RELAY-* concern no copy, HASH-ASK and HASHES are the sessions'
  }
}

// --- A: giving ---

void Ownership::refuse(const Sender& from, const ControlMessage& m, RefuseCode code, std::string text) {
  ControlMessage message = about(ControlType::refuse);
  message.session = m.session;
  message.code = code;
  if (code == RefuseCode::not_owner) message.peer = record_.peer;
  if (!text.empty()) message.text = std::move(text);
  send(from.host, from.link, std::move(message));
}

std::optional<RefuseCode> Ownership::refusal_of_owner(const Sender& from, const ControlMessage& m) const {
  if (m.size != record_.geometry.size_bytes || m.block_size != record_.geometry.block_size_bytes) return RefuseCode::geometry;
  if (busy_ || (lock_ && session_ && session_->copy != *m.copy)) return RefuseCode::busy;
  const std::uint64_t word = m.word.value_or(0);
  if (record_.reserved) {
    if (record_.reserved->host != from.host) return RefuseCode::busy;
  } else {
    const auto noted =
        std::find_if(record_.words.begin(), record_.words.end(), [&](const auto& w) { return w.host == from.host; });
    const bool is_new = noted == record_.words.end() || std::pair(from.boot, word) > std::pair(noted->boot, noted->word);
    if (word == 0 || !is_new) return RefuseCode::cancelled;
  }
  const bool unfinished = m.state == CopyState::receiving || m.state == CopyState::ready;
  if (!unfinished && !m.chain->is_ancestor_of(record_.chain)) return RefuseCode::split;
  return std::nullopt;
}

void Ownership::on_pull(const Sender& from, const ControlMessage& m) {
  switch (record_.state) {
    case CopyState::owned: {
      if (durable_.state != CopyState::owned) return refuse(from, m, RefuseCode::busy, "ownership is just arriving here");
      if (std::optional<RefuseCode> code = refusal_of_owner(from, m)) {
        std::string holder = record_.reserved ? "reserved for host " + record_.reserved->host.hex() : "";
        return refuse(from, m, *code, std::move(holder));
      }
      if (lock_) unlock();
      if (ending_) {
        pending_pull_ = PendingPull{from, m};
        return;
      }
      if (session_) {
        pending_pull_ = PendingPull{from, m};
        return end_session();
      }
      return accept(from, m);
    }
    case CopyState::relinquished:
      if (record_.reserved && record_.reserved->copy == m.copy) return send_grant(from.host, from.link);
      return refuse(from, m, RefuseCode::not_owner, "");
    case CopyState::split: return refuse(from, m, RefuseCode::split, "");
    case CopyState::gone:
    case CopyState::none: return refuse(from, m, RefuseCode::gone, "");
    default: return refuse(from, m, RefuseCode::not_owner, "");
  }
}

void Ownership::accept(const Sender& from, const ControlMessage& m) {
  record_.reserved = Record::Reserved{*m.copy, from.host};
  auto noted = std::find_if(record_.words.begin(), record_.words.end(), [&](const auto& w) { return w.host == from.host; });
  if (noted == record_.words.end()) {
    if (record_.words.size() == kWordsMax) record_.words.erase(record_.words.begin());
    record_.words.push_back({from.host, from.boot, m.word.value_or(0)});
  } else if (std::pair(from.boot, m.word.value_or(0)) > std::pair(noted->boot, noted->word)) {
    noted->boot = from.boot;
    noted->word = m.word.value_or(0);
  }
  decide();
  session_ = Session{*m.session, from, *m.copy};
  ControlMessage message = about(ControlType::accept);
  message.session = m.session;
  message.chain = record_.chain;
  message.mode = PullMode::all;
  send(from.host, from.link, std::move(message));
  effects_.push_back(StartSending{from.link, *m.session, *m.copy, PullMode::all, base_ && m.base == base_});
}

HandoverId Ownership::lock() {
  GODWIT_CHECK(is_owner() && !lock_);
  lock_ = Lock{HandoverId::random(random_), false};
  effects_.push_back(FaceChanged{});
  return lock_->h;
}

ControlMessage Ownership::prepare() const {
  GODWIT_CHECK(lock_ && session_);
  ControlMessage message = about(ControlType::prepare);
  message.session = session_->id;
  message.h = lock_->h;
  message.epoch = record_.chain.highest_epoch() + 1;
  return message;
}

void Ownership::unlock() {
  if (!lock_ || record_.state != CopyState::owned) return;
  if (session_) {
    ControlMessage message = about(ControlType::aborted);
    message.h = lock_->h;
    send(session_->peer.host, session_->peer.link, std::move(message));
  }
  lock_.reset();
  effects_.push_back(FaceChanged{});
}

void Ownership::on_ready(const Sender& from, const ControlMessage& m) {
  if (record_.state == CopyState::relinquished && record_.h == m.h) return send_grant(from.host, from.link);
  if (record_.state != CopyState::owned) return;
  if (lock_ && lock_->h == *m.h && session_ && session_->peer.host == from.host) {
    if (!std::exchange(lock_->ready, true)) effects_.push_back(PeerReady{lock_->h});
    return;
  }
  if (record_.chain.contains(*m.h)) return;
  ControlMessage message = about(ControlType::aborted);
  message.h = m.h;
  send(from.host, from.link, std::move(message));
}

void Ownership::relinquish() {
  GODWIT_CHECK(may_relinquish());
  const HandoverId h = lock_->h;
  record_.chain.add(OwnershipKind::moved, h, session_->peer.host);
  record_.h = h;
  record_.peer = Peer{session_->peer.host, session_->peer.name, session_->peer.address};
  record_.heard = false;
  record_.untold = false;
  become(CopyState::relinquished);
  lock_.reset();
  decide();
  send_grant(session_->peer.host, session_->peer.link);
  session_.reset();  // there is nothing left to send
}

void Ownership::relinquish_to_original() {
  GODWIT_CHECK(is_owner());
  record_.h = lock_ ? lock_->h : HandoverId::random(random_);
  record_.peer.reset();
  record_.reserved.reset();
  record_.heard = false;
  become(CopyState::relinquished);
  lock_.reset();
  decide();
}

void Ownership::send_grant(const HostId& to, LinkId link) {
  if (!record_.reserved) return;
  ControlMessage message = about(ControlType::grant);
  message.h = record_.h;
  message.copy = record_.reserved->copy;
  message.chain = record_.chain;
  send(to, link, std::move(message));
}

void Ownership::on_owned(const Sender& from, const ControlMessage& m) {
  const bool ours = record_.state == CopyState::relinquished && record_.h == m.h;
  const ChainEntry* entry = record_.chain.find(*m.h);
  if (!ours && !(entry && entry->owner == from.host)) return;
  if (ours) {
    const std::string address = m.address.value_or("");
    if (!record_.heard || record_.peer->address != address) {
      record_.heard = true;
      record_.reserved.reset();
      record_.peer = Peer{from.host, from.name, address};
      decide();
    }
  }
  ControlMessage message = about(ControlType::owned_ack);
  message.h = m.h;
  send(from.host, from.link, std::move(message));
}

void Ownership::on_declined(const Sender& from, const ControlMessage& m) {
  (void)from;
  if (record_.state != CopyState::relinquished || record_.h != m.h || record_.heard) return;
  GODWIT_CHECK(!record_.chain.empty());
  record_.chain.add(OwnershipKind::returned, HandoverId::random(random_), me_.host);
  record_.reserved.reset();
  record_.h.reset();
  end_session();
  become(CopyState::owned);
  decide();
  report("the other host declined; this host owns the volume again");
}

void Ownership::on_cancel(const Sender& from, const ControlMessage& m) {
  if (record_.state == CopyState::receiving || record_.state == CopyState::ready) {
    if (record_.copy != *m.copy) return;
    return leave(false);
  }
  ControlMessage ok = about(ControlType::cancel_ok);
  ok.copy = m.copy;
  if (record_.state == CopyState::owned && record_.reserved && record_.reserved->copy == *m.copy) {
    if (lock_) unlock();
    record_.reserved.reset();
    decide();
    end_session();
  } else if (record_.state == CopyState::relinquished && record_.reserved && record_.reserved->copy == *m.copy) {
    send_grant(from.host, from.link);  // DECLINED follows
  }
  send(from.host, from.link, std::move(ok));
}

// B gives its copy up.
void Ownership::leave(bool tell_peer) {
  if (record_.h) record_.decline(*record_.h, false);
  record_.h.reset();
  record_.untold = tell_peer;
  const std::optional<Session> ended = session_;
  end_session();
  become(CopyState::gone);
  decide();
  effects_.push_back(RemoveData{});
  if (!tell_peer || !record_.peer) return;
  ControlMessage message = about(ControlType::cancel);
  message.copy = record_.copy;
  send(record_.peer->host, ended ? ended->peer.link : LinkId{}, std::move(message));
}

Result<void> Ownership::cancel() {
  switch (record_.state) {
    case CopyState::receiving:
    case CopyState::ready: leave(record_.peer.has_value()); return {};
    case CopyState::owned: {
      if (!record_.reserved) return fail(ErrorKind::refused, "nobody is pulling this volume: there is nothing to cancel");
      ControlMessage message = about(ControlType::cancel);
      message.copy = record_.reserved->copy;
      const HostId holder = record_.reserved->host;
      const LinkId link = session_ ? session_->peer.link : LinkId{};
      if (lock_) unlock();
      record_.reserved.reset();
      decide();
      end_session();
      send(holder, link, std::move(message));
      return {};
    }
    case CopyState::relinquished: {
      if (record_.heard || !record_.peer)
        return fail(ErrorKind::refused, "the volume has been handed over: the other host owns it");
      record_.reserved.reset();
      decide();
      ControlMessage message = about(ControlType::revoke);
      message.h = record_.h;
      send(record_.peer->host, LinkId{}, std::move(message));
      report("the other host may own the volume already; it has been asked to decline");
      return {};
    }
    default: return fail(ErrorKind::refused, "there is nothing to cancel in state " + name_of(record_.state));
  }
}

// --- B: taking ---

void Ownership::begin_pull(const Sender& to, std::uint64_t word, const std::optional<Sha256>& source_base) {
  if (failed_ || session_ || asked_) return;
  if (record_.state == CopyState::owned || record_.state == CopyState::split || record_.state == CopyState::gone) return;
  asked_ = SessionId::random(random_);
  asked_link_ = to.link;
  // A RELINQUISHED record names whom it was given to, until another's ACCEPT.
  if (record_.state != CopyState::relinquished &&
      (!record_.peer || record_.peer->host != to.host || record_.peer->name != to.name)) {
    record_.peer = Peer{to.host, to.name, record_.peer && record_.peer->host == to.host ? record_.peer->address : to.address};
    decide();
  }
  ControlMessage message = about(ControlType::pull);
  message.session = asked_;
  message.copy = record_.copy;
  message.state = record_.state;
  message.h = record_.h;
  message.chain = record_.chain;
  message.size = record_.geometry.size_bytes;
  message.block_size = record_.geometry.block_size_bytes;
  message.claims = 0;
  if (base_ && source_base == base_) message.base = base_;
  message.word = word;
  send(to.host, to.link, std::move(message));
}

void Ownership::on_accept(const Sender& from, const ControlMessage& m) {
  if (!asked_ || *asked_ != *m.session || asked_link_ != from.link) return;
  switch (record_.state) {
    case CopyState::ready:
      if (record_.h) record_.decline(*record_.h, false);
      break;
    case CopyState::receiving: break;
    case CopyState::relinquished:
      // Without this test an owner that never learnt of a forced claim is pulled over newer data.
      if (!record_.chain.tip() || !m.chain->contains(record_.chain.tip()->tag)) {
        asked_.reset();
        effects_.push_back(DropLink{from.link, "its history of the volume forks from ours; nothing is overwritten"});
        return;
      }
      record_.relaying = record_.heard;
      record_.peer = Peer{from.host, from.name, from.address};  // whom we dial from now on
      break;
    default: asked_.reset(); return;
  }
  session_ = Session{*std::exchange(asked_, std::nullopt), from, record_.copy};
  whole_ = false;
  record_.h.reset();
  record_.heard = false;
  record_.reserved.reset();
  record_.chain = *m.chain;
  become(CopyState::receiving);
  decide();
  effects_.push_back(StartReceiving{from.link, session_->id, *m.mode});
}

void Ownership::on_refuse(const Sender& from, const ControlMessage& m) {
  if (!asked_ || *asked_ != *m.session) return;
  asked_.reset();
  effects_.push_back(Refused{from.link, *m.code, m.text.value_or("")});
}

void Ownership::on_prepare(const Sender& from, const ControlMessage& m) {
  if (!in_session_of(from, m)) return;
  if (record_.state == CopyState::ready && record_.h == m.h) {
    ControlMessage message = about(ControlType::ready);
    message.h = m.h;
    message.copy = record_.copy;
    return send(from.host, from.link, std::move(message));
  }
  const bool sound = record_.state == CopyState::receiving && !record_.has_declined(*m.h) && !record_.chain.contains(*m.h);
  if (!sound || !whole_) {
    effects_.push_back(
        DropLink{from.link, !sound ? "PREPARE for an attempt that is over" : "PREPARE before every block was here"});
    return;
  }
  preparing_ = *m.h;
  effects_.push_back(SyncData{*m.h});
}

void Ownership::handle_data_synced(const HandoverId& h, bool ok) {
  if (preparing_ != h || record_.state != CopyState::receiving || !session_) return;
  preparing_.reset();
  if (!ok) {
    effects_.push_back(DropLink{session_->peer.link, "the data could not be made durable here"});
    return;
  }
  record_.h = h;
  become(CopyState::ready);
  decide();
  ControlMessage message = about(ControlType::ready);
  message.h = h;
  message.copy = record_.copy;
  send(session_->peer.host, session_->peer.link, std::move(message));
}

void Ownership::on_aborted(const Sender& from, const ControlMessage& m) {
  if (record_.state == CopyState::receiving && preparing_ == *m.h && session_ && session_->peer.host == from.host) {
    preparing_.reset();  // that READY is not sent any more
    return;
  }
  if (record_.state != CopyState::ready || record_.h != m.h) return;
  record_.decline(*m.h, true);
  record_.h.reset();
  become(CopyState::receiving);
  decide();
}

void Ownership::on_grant(const Sender& from, const ControlMessage& m) {
  if (record_.state == CopyState::ready && record_.h == m.h) {
    const ChainEntry* tip = m.chain ? m.chain->tip() : nullptr;
    if (!tip || tip->tag != *m.h || tip->owner != me_.host) {
      effects_.push_back(DropLink{from.link, "GRANT whose history does not end with this host"});
      return;
    }
    own(m);
    return answer_owned(from.host, from.link, *m.h);
  }
  if (const ChainEntry* entry = record_.chain.find(*m.h); entry && entry->owner == me_.host)
    return answer_owned(from.host, from.link, *m.h);
  if (record_.has_declined(*m.h)) {
    ControlMessage message = about(ControlType::declined);
    message.h = m.h;
    return send(from.host, from.link, std::move(message));
  }
  report("GRANT for an attempt this host knows nothing of; absence proves nothing, so it is not answered");
}

void Ownership::own(const ControlMessage& grant) {
  record_.chain = *grant.chain;
  record_.h.reset();
  record_.reserved.reset();
  record_.relaying = false;
  record_.untold = true;
  // A READY copy is whole: nothing of the session is under way, and there is nothing left to ask for.
  session_.reset();
  asked_.reset();
  become(CopyState::owned);
  decide();
}

HandoverId Ownership::newest_of_ours() const {
  const auto& entries = record_.chain.entries;
  const auto ours = std::find_if(entries.rbegin(), entries.rend(), [&](const ChainEntry& e) { return e.owner == me_.host; });
  GODWIT_CHECK(ours != entries.rend());
  return ours->tag;
}

void Ownership::answer_owned(const HostId& to, LinkId link, const HandoverId& h) {
  ControlMessage message = about(ControlType::owned);
  message.h = h;
  message.chain = record_.chain;
  if (!me_.export_address.empty()) message.address = me_.export_address;
  send(to, link, std::move(message));
}

void Ownership::on_owned_ack(const Sender& from, const ControlMessage& m) {
  if (record_.state != CopyState::owned || !record_.untold || !record_.peer || record_.peer->host != from.host) return;
  if (!record_.chain.contains(*m.h)) return;
  record_.untold = false;
  decide();
}

void Ownership::on_revoke(const Sender& from, const ControlMessage& m) {
  if (record_.state == CopyState::ready && record_.h == m.h) {
    record_.decline(*m.h, false);
    record_.h.reset();
    session_.reset();  // whole, so nothing of it is under way; its next PULL begins another
    asked_.reset();
    whole_ = false;
    become(CopyState::receiving);
    decide();
    ControlMessage message = about(ControlType::declined);
    message.h = m.h;
    return send(from.host, from.link, std::move(message));
  }
  on_grant(from, m);
}

void Ownership::adopt() {
  GODWIT_CHECK(record_.state == CopyState::receiving);
  record_.chain.add(OwnershipKind::adopted, HandoverId::random(random_), me_.host);
  record_.peer.reset();
  record_.untold = false;
  become(CopyState::owned);
  decide();
}

void Ownership::on_state(const Sender& from, const ControlMessage& m) {
  if (m.state != CopyState::owned || !m.chain || !m.chain->tip()) return;
  if (record_.state == CopyState::relinquished && record_.h && m.chain->contains(*record_.h) && !record_.heard) {
    ControlMessage owned = m;
    owned.h = record_.h;
    return on_owned(from, owned);
  }
  const bool ours_is_serving = record_.state == CopyState::owned || record_.state == CopyState::relinquished;
  if (!ours_is_serving || m.chain->is_ancestor_of(record_.chain) || record_.chain.is_ancestor_of(*m.chain)) return;
  report("host " + from.host.hex() + " owns this volume with a history that forks from ours");
}

}  // namespace godwit::volume
