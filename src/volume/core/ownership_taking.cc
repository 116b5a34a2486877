// B's half of the ownership machine: PULL, READY, GRANT, and what it tells until A knows. Source: ownership.md 3, 4, 7, 10.2.

#include "volume/core/ownership.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace godwit::volume {

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
        if (const ChainEntry* tip = m.chain->tip()) effects_.push_back(ForkSeen{from.host, tip->tag});
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
  effects_.push_back(ForkSeen{from.host, m.chain->tip()->tag});
}

}  // namespace godwit::volume
