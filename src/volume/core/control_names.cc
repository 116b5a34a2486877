// What the numbers of control messages are called, for people.
#include "volume/core/control.h"

namespace godwit::volume {

std::string name_of(ControlType type) {
  switch (type) {
    case ControlType::hello: return "HELLO";
    case ControlType::state: return "STATE";
    case ControlType::pull: return "PULL";
    case ControlType::accept: return "ACCEPT";
    case ControlType::refuse: return "REFUSE";
    case ControlType::prepare: return "PREPARE";
    case ControlType::ready: return "READY";
    case ControlType::aborted: return "ABORTED";
    case ControlType::grant: return "GRANT";
    case ControlType::owned: return "OWNED";
    case ControlType::owned_ack: return "OWNED-ACK";
    case ControlType::revoke: return "REVOKE";
    case ControlType::declined: return "DECLINED";
    case ControlType::cancel: return "CANCEL";
    case ControlType::cancel_ok: return "CANCEL-OK";
    case ControlType::hash_ask: return "HASH-ASK";
    case ControlType::hashes: return "HASHES";
    case ControlType::relay_open: return "RELAY-OPEN";
    case ControlType::relay_ok: return "RELAY-OK";
    case ControlType::relay_no: return "RELAY-NO";
  }
  return "message " + std::to_string(static_cast<unsigned>(type));
}

std::string name_of(CopyState state) {
  switch (state) {
    case CopyState::none: return "none";
    case CopyState::receiving: return "RECEIVING";
    case CopyState::ready: return "READY";
    case CopyState::owned: return "OWNED";
    case CopyState::relinquished: return "RELINQUISHED";
    case CopyState::split: return "SPLIT";
    case CopyState::gone: return "GONE";
  }
  return "state " + std::to_string(static_cast<unsigned>(state));
}

std::string name_of(RefuseCode code) {
  switch (code) {
    case RefuseCode::busy: return "busy";
    case RefuseCode::not_owner: return "not-owner";
    case RefuseCode::split: return "split";
    case RefuseCode::geometry: return "geometry";
    case RefuseCode::gone: return "gone";
    case RefuseCode::cancelled: return "cancelled";
    case RefuseCode::paused: return "paused";
    case RefuseCode::policy: return "policy";
    case RefuseCode::not_higher: return "not higher";
  }
  return "code " + std::to_string(static_cast<unsigned>(code));
}

}  // namespace godwit::volume
