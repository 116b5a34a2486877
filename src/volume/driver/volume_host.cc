#include "volume/driver/volume_host.h"

#include <algorithm>
#include <utility>

namespace godwit::volume {

VolumeHost::VolumeHost(DriverContext context, LocalHost me, HostOptions options, CopyMaker& copies, exports::NbdServer* server,
                       RelayGate* gate, BlockSource* blocks, Random random, std::function<void(NoteLevel, std::string)> note)
    : context_(context),
      me_(std::move(me)),
      options_(std::move(options)),
      copies_(copies),
      server_(server),
      gate_(gate),
      blocks_(blocks),
      random_(random),
      note_(std::move(note)) {}

std::uint64_t VolumeHost::forks_of(const Volume& volume) const {
  return static_cast<std::uint64_t>(
      std::count_if(forks_.begin(), forks_.end(), [&](const auto& fork) { return std::get<0>(fork) == volume.id(); }));
}

VolumeHost::~VolumeHost() {
  *alive_ = false;
  for (auto& [id, dialler] : diallers_) context_.scheduler.cancel(dialler->timer);
}

// --- volumes ---

Result<Volume*> VolumeHost::add(ShelfItem item) {
  if (volumes_.contains(item.name)) return fail(ErrorKind::exists, "a volume " + item.name + " is there already");
  if (find(item.record.volume)) return fail(ErrorKind::exists, "volume " + item.name + " is a copy of one that is there already");
  const bool gone = item.record.state == CopyState::gone;
  if (!item.store && !gone) return fail(ErrorKind::not_found, "volume " + item.name + " is gone from this host");
  // A crash may have come between the record and the removal of what it no longer speaks of.
  if (gone && item.record.data_name.ends_with(".partial")) copies_.remove_data(item.record.data_name, [](const Result<void>&) {});
  Entry& entry = volumes_[item.name];
  entry.volume = std::make_unique<Volume>(context_.scheduler, *this, item.name, me_, std::move(item.record), item.fresh,
                                          std::move(item.store), std::move(item.place), random_.fork());
  Volume& volume = *entry.volume;
  if (item.overlay != nullptr) volume.set_overlay(*item.overlay, item.base_hash);
  volume.set_relaying_allowed(options_.after_handover == AfterHandover::relay);
  if (item.pristine) volume.set_pristine();
  volume.face().set_policy(options_.early_reads, options_.destination.early_writes);
  entry.relay = std::make_unique<RelayClient>(
      context_, *this, volume, relay_openings_, random_.fork(),
      [this](const std::string& hint, const net::Address& from) { return resolve_hint(hint, from); },
      [this, name = volume.name()] {
        if (server_) server_->close_clients(name);
      });
  if (server_ && !gone) {
    exports::ExportOptions offered;
    offered.name = volume.name();
    offered.description = [&volume] {
      return volume.ownership().is_owner()             ? std::string("owned here")
             : volume.face().mode() == FaceMode::relay ? std::string("relayed to its owner")
                                                       : std::string("not owned yet");
    };
    offered.block_size_preferred = std::min<std::uint32_t>(volume.geometry().block_size_bytes, 65536);
    if (Result<void> added = server_->add(std::move(offered), volume.face()); !added) {
      volumes_.erase(item.name);
      return fail(std::move(added).error());
    }
    entry.exported = true;
  }
  volume.start();
  return &volume;
}

// In this order: no connection moves its blocks any more, no store operation is under way, no client is left; then it goes.
void VolumeHost::remove(const std::string& name, net::Task done) {
  const auto it = volumes_.find(name);
  if (it == volumes_.end()) return done();
  Volume& volume = *it->second.volume;
  volume.face().fail_all(Error(ErrorKind::shut_down, "the volume is removed"));
  for (auto& [id, dialler] : diallers_) std::erase(dialler->volumes, &volume);
  auto left = std::make_shared<std::size_t>(1);
  auto erase = std::make_shared<net::Task>([this, alive = alive_, name, done = std::move(done)]() mutable {
    if (!*alive) return;
    const auto found = volumes_.find(name);
    if (found == volumes_.end()) return done();
    auto gone = [this, alive, name, done = std::move(done)]() mutable {
      const auto entry = *alive ? volumes_.find(name) : volumes_.end();
      if (!*alive || entry == volumes_.end()) return;
      if (gate_) gate_->forget(*entry->second.volume);
      volumes_.erase(entry);
      done();
    };
    if (!found->second.exported) return gone();
    server_->remove(name, std::move(gone));
  });
  const auto one = [left, erase] {
    if (--*left == 0) (*erase)();
  };
  std::vector<ControlLink*> carrying;
  for (auto& [id, source] : sources_)
    if (source->carries(volume)) carrying.push_back(source.get());
  for (auto& [id, destination] : destinations_)
    if (destination->carries(volume)) carrying.push_back(destination.get());
  for (ControlLink* link : carrying) {
    ++*left;
    link->end_session(volume, one);
  }
  context_.scheduler.post(one);
}

Volume* VolumeHost::find(const std::string& name) {
  const auto it = volumes_.find(name);
  return it == volumes_.end() ? nullptr : it->second.volume.get();
}
Volume* VolumeHost::find(const VolumeId& id) {
  for (auto& [name, entry] : volumes_)
    if (entry.volume && entry.volume->id() == id) return entry.volume.get();
  return nullptr;
}
std::vector<Volume*> VolumeHost::volumes() {
  std::vector<Volume*> all;
  for (auto& [name, entry] : volumes_) all.push_back(entry.volume.get());
  return all;
}
VolumeHost::Entry* VolumeHost::entry_of(const Volume& volume) {
  const auto it = volumes_.find(volume.name());
  return it == volumes_.end() ? nullptr : &it->second;
}

void VolumeHost::set_addresses(std::string host_address, std::string export_address) {
  me_.address = std::move(host_address);
  me_.export_address = export_address;
  for (auto& [name, entry] : volumes_) entry.volume->ownership().set_export_address(export_address);
}

// --- links ---

void VolumeHost::accept(std::unique_ptr<net::Stream> stream) {
  if (shutting_down_ || links() >= options_.links_max) return;
  // What we own; if we own nothing, the rest, so that a mark can be sent.
  std::vector<Volume*> offered;
  for (const bool owned : {true, false}) {
    for (auto& [name, entry] : volumes_)
      if ((entry.volume->ownership().durable_record().state == CopyState::owned) == owned &&
          entry.volume->ownership().record().state != CopyState::gone)
        offered.push_back(entry.volume.get());
    if (!offered.empty()) break;
  }
  if (offered.empty()) {
    note(NoteLevel::warning, "a host dialled, but there is no volume here: the connection is closed");
    return;
  }
  const LinkId id{next_link_++};
  auto link =
      std::make_unique<SourceLink>(context_, *this, id, std::move(stream), std::move(offered), options_.source, random_.fork());
  SourceLink& started = *link;
  sources_.emplace(id, std::move(link));
  started.start();
}

ControlLink* VolumeHost::find_link(LinkId id) const {
  if (const auto it = sources_.find(id); it != sources_.end()) return it->second.get();
  if (const auto it = destinations_.find(id); it != destinations_.end()) return it->second.get();
  return nullptr;
}

ControlLink* VolumeHost::find_link_to(const HostId& host) const {
  for (const auto& [id, link] : sources_)
    if (link->peer() && link->peer()->host == host) return link.get();
  for (const auto& [id, link] : destinations_)
    if (link->peer() && link->peer()->host == host) return link.get();
  return nullptr;
}

// Both HELLOs have passed: A says its own now and tells what its records can; B does so once A's STATEs have come.
void VolumeHost::handle_link_up(ControlLink& link) {
  if (sources_.contains(link.id())) {
    SourceLink& source = *sources_.at(link.id());
    link.send_control(hello_of(me_));
    for (auto& [name, entry] : volumes_) {
      const std::optional<DeviceId> device = source.device_of(*entry.volume);
      const std::optional<Peer>& concerned = entry.volume->ownership().durable_record().peer;
      if (device || (concerned && concerned->host == link.peer()->host))
        link.send_control(entry.volume->ownership().state_message(device));
    }
    tell(link);
  }
}

void VolumeHost::tell(ControlLink& link) {
  for (auto& [name, entry] : volumes_) {
    entry.volume->ownership().handle_link_up(*link.peer());
    entry.volume->pump();
  }
}

// An address that a peer names is dialled only when it is where the peer is, or configured (ownership.md 15).
std::string VolumeHost::resolve_hint(const std::string& text, const net::Address& remote) const {
  Result<net::Address> address = net::Address::parse(text, 10809);
  if (!address) return "";
  if (address->is_unix()) return remote.is_unix() || remote.is_loopback() ? text : "";
  const bool unspecified = address->host == "0.0.0.0" || address->host == "::";
  if (unspecified) address->host = remote.is_unix() ? "127.0.0.1" : remote.host;
  const bool same = address->host == remote.host || (remote.is_loopback() && address->is_loopback());
  const bool trusted =
      std::find(options_.trusted_hosts.begin(), options_.trusted_hosts.end(), address->host) != options_.trusted_hosts.end();
  return same || trusted ? address->text() : "";
}

void VolumeHost::handle_control(ControlLink& link, const ControlMessage& message) {
  if (!link.peer()) return;
  Volume* volume = find(message.volume);
  if (!volume) return answer_unknown(link, message);
  ControlMessage told = message;
  if (told.address) told.address = resolve_hint(*told.address, link.remote());
  const bool was_heard = volume->ownership().record().heard;
  volume->ownership().handle_message(*link.peer(), told);
  if (!was_heard && volume->ownership().record().heard)
    for (auto& [id, source] : sources_) {
      source->handle_owned_heard(*volume);
      for (const MoveReport& report : source->reports())
        if (report.volume == volume->name()) entry_of(*volume)->last_move = report;
    }
  volume->pump();
}

// No record speaks of the volume (any more).
void VolumeHost::answer_unknown(ControlLink& link, const ControlMessage& message) {
  ControlMessage answer;
  answer.volume = message.volume;
  if (message.type == ControlType::cancel) {
    answer.type = ControlType::cancel_ok;
    answer.copy = message.copy;
  } else if (message.type == ControlType::pull) {
    answer.type = ControlType::refuse;
    answer.session = message.session;
    answer.code = RefuseCode::gone;
  } else {
    return;
  }
  link.send_control(answer);
}

void VolumeHost::handle_link_closed(ControlLink& link, std::optional<Error> error) {
  const LinkId id = link.id();
  if (error) note(NoteLevel::warning, "connection with " + link.remote().text() + ": " + error->message());
  for (auto& [name, entry] : volumes_) {
    entry.volume->ownership().handle_link_down(id);
    entry.volume->pump();
  }
  if (const auto source = sources_.find(id); source != sources_.end())
    for (const MoveReport& report : source->second->reports())
      if (const auto volume = volumes_.find(report.volume); report.copied && volume != volumes_.end())
        volume->second.last_move = report;
  Dialler* dialler = dialler_of(link);
  if (dialler) {
    dialler->status.bytes_received += dialler->link->bytes_received();
    const bool original = dialler->link->is_from_original();
    const std::optional<std::string> store_error = dialler->link->store_error();
    dialler->link = nullptr;
    if (original && !dialler->ended) {
      // An original can not resume: what is not whole by now never will be. Where it is whole, the pull ends once the files bear
      // their names (check_pulled), though the source, whose Completed has been answered, hangs up before that.
      bool whole = dialler->status.state == PullStatus::State::copied || !dialler->volumes.empty();
      for (Volume* volume : dialler->volumes) {
        if (volume->ownership().record().state != CopyState::receiving) continue;
        whole = whole && dialler->status.state == PullStatus::State::copied;
        volume->face().fail_all(Error(ErrorKind::io, "the connection to the source was lost before the volume was whole"));
      }
      if (!whole) fail_pull(*dialler, error ? error->message() : "the source hung up before Completed");
    } else if (!dialler->ended && store_error) {
      // Our own pause: dialling again would meet the same disk. What is here stays, a pull goes on.
      fail_pull(*dialler, *store_error);
    } else if (!dialler->ended && !dialler->accepted_once && error && error->kind() == ErrorKind::invalid) {
      fail_pull(*dialler, error->message());
    } else {
      redial(*dialler);
    }
  }
  // The link is in the middle of calling us: it goes in a later turn, once its store operations have ended.
  context_.scheduler.post([this, alive = alive_, id] {
    if (!*alive) return;
    if (const auto it = sources_.find(id); it != sources_.end()) sources_.erase(it);
    if (const auto it = destinations_.find(id); it != destinations_.end())
      it->second->end_session_then([this, alive = alive_, id] {
        if (*alive) destinations_.erase(id);
      });
  });
}

void VolumeHost::remove_addresses(Volume& volume, const std::vector<std::uint64_t>& ids) {
  for (auto& [id, source] : sources_) source->handle_addresses_removed(volume, ids);
}

// --- what ownerships decide ---

void VolumeHost::handle_effect(Volume& volume, OwnershipEffect& effect) {
  if (auto* send = std::get_if<SendControl>(&effect)) {
    ControlLink* link = send->link.value ? find_link(send->link) : nullptr;
    if (!link || !link->peer()) link = find_link_to(send->to);
    if (!link) return;  // told again at the next connection
    const std::string& export_address = volume.ownership().export_address();
    if (send->message.type == ControlType::owned && !export_address.empty()) send->message.address = export_address;
    return link->send_control(send->message);
  }
  if (const auto* start = std::get_if<StartSending>(&effect)) {
    if (ControlLink* link = find_link(start->link)) link->start_sending(volume, start->shares_base);
  } else if (const auto* receive = std::get_if<StartReceiving>(&effect)) {
    ControlLink* link = find_link(receive->link);
    if (!link) return;
    if (Dialler* dialler = dialler_of(*link)) {
      dialler->accepted_once = true;
      std::erase(dialler->begun, volume.name());
      report(*dialler, PullStatus::State::copying, "copying");
    }
    link->start_receiving(volume);
  } else if (const auto* end = std::get_if<EndSession>(&effect)) {
    auto ended = [this, alive = alive_, name = volume.name(), session = end->session] {
      Volume* v = *alive ? find(name) : nullptr;
      if (!v) return;
      v->ownership().handle_session_ended(session);
      v->pump();
    };
    if (ControlLink* link = find_link(end->link)) return link->end_session(volume, std::move(ended));
    context_.scheduler.post(std::move(ended));
  } else if (const auto* dropped = std::get_if<DropLink>(&effect)) {
    if (ControlLink* link = find_link(dropped->link)) link->drop("volume " + volume.name() + ": " + dropped->reason);
  } else if (std::holds_alternative<PeerReady>(effect)) {
    for (auto& [id, source] : sources_)
      if (source->is_sending(volume)) source->handle_peer_ready(volume);
  } else if (const auto* no = std::get_if<Refused>(&effect)) {
    ControlLink* link = find_link(no->link);
    if (Dialler* dialler = link ? dialler_of(*link) : nullptr) refused(*dialler, volume, no->code, no->text);
  } else if (std::holds_alternative<RemoveData>(effect)) {
    copies_.remove_data(volume.ownership().record().data_name, [](Result<void>) {});
    end_pull_of(volume);
    // Its clients have been answered; nobody finds it here any more.
    if (Entry* entry = entry_of(volume); entry && entry->exported) server_->remove(volume.name(), [] {});
  } else if (std::holds_alternative<StopDialling>(effect)) {
    stop_dialling_for(volume);
  } else if (const auto* said = std::get_if<Report>(&effect)) {
    note(NoteLevel::warning, "volume " + volume.name() + ": " + said->text);
  } else if (const auto* fork = std::get_if<ForkSeen>(&effect)) {
    // The same is heard at every connection.
    if (forks_.size() < kForksMax && !forks_.insert({volume.id(), fork->host, fork->tip}).second) return;
    note(NoteLevel::warning, "volume " + volume.name() + ": host " + fork->host.hex() +
                                 " has it with a history that forks from ours; nothing is overwritten here");
  }
}

void VolumeHost::handle_mode(Volume& volume) {
  Entry* entry = entry_of(volume);
  if (!entry || !entry->relay) return;
  entry->relay->update();
  if (gate_) gate_->update(volume);
  // A link may be destroyed by what it is told: walk over a copy.
  std::vector<LinkId> ids;
  for (const auto& [id, link] : sources_) ids.push_back(id);
  for (const auto& [id, link] : destinations_) ids.push_back(id);
  for (LinkId id : ids)
    if (ControlLink* link = find_link(id)) link->handle_mode(volume);
  for (auto& [id, dialler] : diallers_) {
    check_pulled(*dialler);
    check_told(*dialler);
  }
}

// --- the rest ---

std::vector<MoveReport> VolumeHost::moves() const {
  std::vector<MoveReport> all;
  for (const auto& [id, source] : sources_)
    for (MoveReport& report : source->reports()) all.push_back(std::move(report));
  for (const auto& [name, entry] : volumes_) {
    const bool running = std::any_of(all.begin(), all.end(), [&](const MoveReport& r) { return r.volume == name; });
    if (!running && (entry.last_move.handed_over || entry.last_move.copied)) all.push_back(entry.last_move);
  }
  return all;
}

bool VolumeHost::is_done_serving() const {
  const auto is_gone = [](const auto& named) { return named.second.volume->ownership().record().state == CopyState::gone; };
  if (std::all_of(volumes_.begin(), volumes_.end(), is_gone)) return false;
  // An original still has the events of other volumes, or their last blocks, to come when ours are given up on record.
  for (const auto& [id, source] : sources_)
    if (source->serves_original() && !source->is_done()) return false;
  const std::vector<MoveReport> all = moves();
  for (const auto& [name, entry] : volumes_) {
    const Record& record = entry.volume->ownership().durable_record();
    if (record.state == CopyState::gone) continue;
    const bool copied = record.state == CopyState::owned &&
                        std::any_of(all.begin(), all.end(), [&](const MoveReport& r) { return r.volume == name && r.copied; });
    if (!copied && (record.state != CopyState::relinquished || (record.peer && !record.heard))) return false;
    if (server_ && server_->open_connections(name) > 0) return false;
  }
  return true;
}

void VolumeHost::shut_down(net::Task done) {
  shutting_down_ = true;
  for (auto& [id, dialler] : diallers_) {
    dialler->ended = true;
    context_.scheduler.cancel(dialler->timer);
  }
  std::vector<LinkId> ids;
  for (const auto& [id, link] : sources_) ids.push_back(id);
  for (const auto& [id, link] : destinations_) ids.push_back(id);
  for (LinkId id : ids)
    if (ControlLink* link = find_link(id)) link->drop("this host shuts down");
  // What clients had acknowledged and not flushed is flushed: an orderly end loses nothing.
  auto left = std::make_shared<std::size_t>(1);
  auto ended = std::make_shared<net::Task>(std::move(done));
  const auto one = [left, ended] {
    if (--*left == 0) (*ended)();
  };
  for (auto& [name, entry] : volumes_) {
    if (!entry.volume->ownership().is_owner()) continue;
    ++*left;
    entry.volume->close([one](Result<void>) { one(); });
  }
  one();
}

}  // namespace godwit::volume
