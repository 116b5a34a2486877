#include "volume/core/ownership.h"

#include <algorithm>

#include "base/check.h"

namespace godwit::volume {

ControlMessage hello_of(const LocalHost& host) {
  ControlMessage hello;
  hello.type = ControlType::hello;
  hello.host = host.host;
  hello.boot = host.boot;
  hello.name = host.name;
  hello.features = 0;
  if (!host.address.empty()) hello.address = host.address;
  return hello;
}

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

}  // namespace godwit::volume
