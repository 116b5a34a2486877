// A's half of the ownership machine: who may pull, the lock, step 4, what B answers; and giving up, whichever side cancels.
// Source: ownership.md 3, 4, 7.

#include "volume/core/ownership.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace godwit::volume {

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
    return handle_reservation_taken();
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

// B's copy is promised to nobody any more. It stays: only the operator here may say that it is to go.
void Ownership::handle_reservation_taken() {
  asked_.reset();
  end_session();
  whole_ = false;
  if (record_.state == CopyState::ready) {
    record_.decline(*record_.h, false);
    record_.h.reset();
    become(CopyState::receiving);
    decide();
  }
  effects_.push_back(StopDialling{});
}

// B gives its copy up, and tells A until A has answered.
void Ownership::leave() {
  if (record_.h) record_.decline(*record_.h, false);
  record_.h.reset();
  record_.relaying = false;
  record_.untold = record_.peer.has_value();
  const std::optional<Session> ended = session_;
  end_session();
  become(CopyState::gone);
  decide();
  effects_.push_back(RemoveData{});
  if (!record_.peer) return;
  ControlMessage message = about(ControlType::cancel);
  message.copy = record_.copy;
  send(record_.peer->host, ended ? ended->peer.link : LinkId{}, std::move(message));
}

Result<void> Ownership::cancel() {
  switch (record_.state) {
    case CopyState::receiving:
    case CopyState::ready: leave(); return {};
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

}  // namespace godwit::volume
