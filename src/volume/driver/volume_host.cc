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

VolumeHost::~VolumeHost() {
  *alive_ = false;
  for (auto& [id, dialler] : diallers_) context_.scheduler.cancel(dialler->timer);
}

// --- volumes ---

Result<Volume*> VolumeHost::add(ShelfItem item) {
  if (volumes_.contains(item.name)) return fail(ErrorKind::exists, "a volume " + item.name + " is there already");
  if (find(item.record.volume)) return fail(ErrorKind::exists, "volume " + item.name + " is a copy of one that is there already");
  if (!item.store) return fail(ErrorKind::not_found, "volume " + item.name + " is gone from this host");
  Entry& entry = volumes_[item.name];
  entry.volume = std::make_unique<Volume>(context_.scheduler, *this, item.name, me_, std::move(item.record), item.fresh,
                                          std::move(item.store), std::move(item.place), random_.fork());
  Volume& volume = *entry.volume;
  if (item.overlay != nullptr) volume.set_overlay(*item.overlay, item.base_hash);
  volume.set_relaying_allowed(options_.after_handover == AfterHandover::relay);
  if (item.pristine) volume.set_pristine();
  volume.face().set_policy(options_.early_reads, options_.destination.early_writes);
  entry.relay =
      std::make_unique<RelayClient>(context_, *this, volume, relay_openings_, random_.fork(), [this, name = volume.name()] {
        if (server_) server_->close_clients(name);
      });
  if (server_) {
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
    ControlMessage hello;
    hello.type = ControlType::hello;
    hello.host = me_.host;
    hello.boot = me_.boot;
    hello.name = me_.name;
    hello.features = 0;
    if (!me_.address.empty()) hello.address = me_.address;
    link.send_control(hello);
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
std::string VolumeHost::resolve_hint(const std::string& text, const ControlLink& link) const {
  Result<net::Address> address = net::Address::parse(text, 10809);
  if (!address) return "";
  const net::Address remote = link.remote();
  if (address->is_unix()) return remote.is_unix() || remote.is_loopback() ? text : "";
  const bool unspecified = address->host == "0.0.0.0" || address->host == "::";
  if (unspecified) address->host = remote.is_unix() ? "127.0.0.1" : remote.host;
  const bool same = address->host == remote.host || (remote.is_loopback() && address->is_loopback());
  const bool trusted =
      std::find(options_.trusted_hosts.begin(), options_.trusted_hosts.end(), address->host) != options_.trusted_hosts.end();
  return same || trusted ? address->text() : "";
}

void VolumeHost::handle_control(ControlLink& link, const ControlMessage& message) {
  Volume* volume = find(message.volume);
  if (!volume || !link.peer()) return;
  ControlMessage told = message;
  if (told.address) told.address = resolve_hint(*told.address, link);
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
      // An original can not resume: what is not whole by now never will be.
      for (Volume* volume : dialler->volumes)
        if (volume->ownership().record().state == CopyState::receiving)
          volume->face().fail_all(Error(ErrorKind::io, "the connection to the source was lost before the volume was whole"));
      fail_pull(*dialler, error ? error->message() : "the source hung up before Completed");
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

// --- what ownerships decide ---

void VolumeHost::handle_effect(Volume& volume, OwnershipEffect& effect) {
  if (auto* send = std::get_if<SendControl>(&effect)) {
    ControlLink* link = send->link.value ? find_link(send->link) : nullptr;
    if (!link || !link->peer()) link = find_link_to(send->to);
    if (!link) return;  // told again at the next connection
    if (send->message.type == ControlType::owned && !me_.export_address.empty()) send->message.address = me_.export_address;
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
  } else if (const auto* said = std::get_if<Report>(&effect)) {
    note(NoteLevel::warning, "volume " + volume.name() + ": " + said->text);
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
  for (auto& [id, dialler] : diallers_) check_pulled(*dialler);
}

// --- pulling ---

VolumeHost::Dialler* VolumeHost::dialler_of(const ControlLink& link) {
  for (auto& [id, dialler] : diallers_)
    if (dialler->link == &link) return dialler.get();
  return nullptr;
}

std::uint64_t VolumeHost::pull(PullRequest request, std::function<void(const PullStatus&)> changed) {
  auto dialler = std::make_unique<Dialler>();
  dialler->id = next_dialler_++;
  dialler->request = std::move(request);
  dialler->changed = std::move(changed);
  dialler->word = ++pull_commands_;
  dialler->back_off = options_.redial_min;
  const std::uint64_t id = dialler->id;
  // A command takes over from what only went on with a record's unfinished pull of the same host.
  for (auto& [other_id, other] : diallers_)
    if (!other->changed && other->request.from == dialler->request.from) stop_pull(other_id);
  diallers_.emplace(id, std::move(dialler));
  context_.scheduler.post([this, alive = alive_, id] {
    if (*alive && diallers_.contains(id)) dial(*diallers_.at(id));
  });
  return id;
}

std::optional<PullStatus> VolumeHost::pull_status(std::uint64_t id) const {
  const auto it = diallers_.find(id);
  return it == diallers_.end() ? std::nullopt : std::optional(status_of(*it->second));
}

void VolumeHost::stop_pull(std::uint64_t id) {
  const auto it = diallers_.find(id);
  if (it == diallers_.end()) return;
  it->second->ended = true;
  context_.scheduler.cancel(it->second->timer);
  if (it->second->link) it->second->link->drop("stopped here");
}

void VolumeHost::resume_dialling() {
  std::map<std::string, std::vector<Volume*>> by_address;
  for (auto& [name, entry] : volumes_) {
    const Record& record = entry.volume->ownership().durable_record();
    if (entry.volume->ownership().wants_link() && record.peer && !record.peer->address.empty())
      by_address[record.peer->address].push_back(entry.volume.get());
  }
  for (auto& [text, volumes] : by_address) {
    const Result<net::Address> address = net::Address::parse(text, 5170);
    if (!address) continue;
    auto dialler = std::make_unique<Dialler>();
    dialler->id = next_dialler_++;
    dialler->request.from = *address;
    for (Volume* volume : volumes) dialler->request.names.push_back(volume->name());
    dialler->volumes = volumes;
    dialler->accepted_once = true;
    dialler->back_off = options_.redial_min;
    Dialler& started = *dialler;
    diallers_.emplace(dialler->id, std::move(dialler));
    dial(started);
  }
}

bool VolumeHost::is_wanted(const Dialler& dialler) const {
  if (dialler.ended || shutting_down_) return false;
  if (dialler.volumes.empty()) return true;
  return std::any_of(dialler.volumes.begin(), dialler.volumes.end(), [&](const Volume* v) {
    // A volume that goes back has a record that wants nothing yet, until it has been accepted.
    return v->ownership().wants_link() || (!dialler.accepted_once && v->ownership().record().state == CopyState::relinquished);
  });
}

void VolumeHost::dial(Dialler& dialler) {
  if (dialler.link || dialler.connecting || !is_wanted(dialler)) return;
  dialler.connecting = true;
  context_.network.connect(dialler.request.from, [this, alive = alive_,
                                                  id = dialler.id](Result<std::unique_ptr<net::Stream>> stream) {
    if (!*alive || !diallers_.contains(id)) return;
    Dialler& d = *diallers_.at(id);
    d.connecting = false;
    if (!is_wanted(d)) return;
    if (!stream) {
      report(d, d.status.state, "can not reach " + d.request.from.text() + ": " + stream.error().message() + "; trying again");
      return redial(d);
    }
    const LinkId link_id{next_link_++};
    auto link = std::make_unique<DestinationLink>(context_, *this, link_id, std::move(*stream),
                                                  d.request.options.value_or(options_.destination), blocks_);
    d.link = link.get();
    destinations_.emplace(link_id, std::move(link));
    d.link->start();
  });
}

void VolumeHost::redial(Dialler& dialler) {
  if (!is_wanted(dialler)) return;
  const auto jitter = static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(dialler.back_off.nanoseconds / 2 + 1)));
  context_.scheduler.cancel(dialler.timer);
  dialler.timer = context_.scheduler.schedule(context_.scheduler.now() + dialler.back_off + Duration{jitter},
                                              [this, alive = alive_, id = dialler.id] {
                                                if (*alive && diallers_.contains(id)) dial(*diallers_.at(id));
                                              });
  dialler.back_off = std::min(options_.redial_max, dialler.back_off * 2);
}

void VolumeHost::report(Dialler& dialler, PullStatus::State state, std::string text) {
  dialler.status.state = state;
  dialler.status.text = std::move(text);
  if (dialler.changed) dialler.changed(status_of(dialler));
}

PullStatus VolumeHost::status_of(const Dialler& dialler) {
  PullStatus status = dialler.status;
  if (dialler.link) status.bytes_received += dialler.link->bytes_received();
  return status;
}

// Told once the copies that were begun are gone: who hears of it may end the process.
void VolumeHost::fail_pull(Dialler& dialler, std::string text) {
  if (std::exchange(dialler.ended, true)) return;
  discard_begun(dialler,
                [this, id = dialler.id, text = std::move(text)] { report(*diallers_.at(id), PullStatus::State::failed, text); });
}

// Copies that were made for this pull and that nobody accepted leave no trace.
void VolumeHost::discard_begun(Dialler& dialler, net::Task done) {
  auto ended = std::make_shared<net::Task>(std::move(done));
  auto left = std::make_shared<std::size_t>(1);
  const auto one_gone = [alive = alive_, left, ended] {
    if (--*left == 0 && *alive) (*ended)();
  };
  for (const std::string& name : std::exchange(dialler.begun, {})) {
    Volume* volume = find(name);
    if (!volume) continue;
    std::erase(dialler.volumes, volume);
    const std::string data_name = volume->ownership().record().data_name;
    ++*left;
    context_.scheduler.post([this, alive = alive_, name, data_name, one_gone] {
      if (!*alive) return;
      remove(name,
             [this, name, data_name, one_gone] { copies_.discard(name, data_name, [one_gone](Result<void>) { one_gone(); }); });
    });
  }
  one_gone();
}

void VolumeHost::refused(Dialler& dialler, Volume& volume, RefuseCode code, const std::string& text) {
  const std::string sentence =
      "volume " + volume.name() + ": the other host refuses (" + name_of(code) + ")" + (text.empty() ? "" : ": " + escaped(text));
  const bool again = dialler.accepted_once && (code == RefuseCode::busy || code == RefuseCode::paused);
  if (again) {
    note(NoteLevel::info, sentence + "; trying again");
    if (dialler.link)
      context_.scheduler.post([this, alive = alive_, id = dialler.link->id()] {
        ControlLink* link = *alive ? find_link(id) : nullptr;
        if (link) link->drop("refused; trying again");
      });
    return;
  }
  DestinationLink* link = dialler.link;
  fail_pull(dialler, sentence);
  if (link)
    context_.scheduler.post([this, alive = alive_, id = link->id()] {
      ControlLink* l = *alive ? find_link(id) : nullptr;
      if (l) l->drop("the pull was refused");
    });
}

void VolumeHost::check_pulled(Dialler& dialler) {
  if (dialler.ended || dialler.volumes.empty() || dialler.status.state == PullStatus::State::owned) return;
  const bool owned = std::all_of(dialler.volumes.begin(), dialler.volumes.end(),
                                 [](const Volume* v) { return v->ownership().is_owner() && v->ownership().names_agree(); });
  if (!owned) return;
  dialler.status.volumes.clear();
  for (const Volume* v : dialler.volumes) dialler.status.volumes.push_back(v->name());
  report(dialler, PullStatus::State::owned, "owned here");
}

static bool is_named(const std::vector<std::string>& names, const std::string& name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

void VolumeHost::handle_states(DestinationLink& link, const std::map<DeviceId, ControlMessage>& states,
                               const std::vector<DeviceGroupInfo::Entry>& devices) {
  // B's turn to tell: the states of what it has too, then what its records can.
  for (const auto& [id, state] : states)
    if (Volume* volume = find(state.volume)) link.send_control(volume->ownership().state_message(std::nullopt));
  tell(link);
  Dialler* dialler = dialler_of(link);
  if (!dialler) return;
  dialler->back_off = options_.redial_min;
  std::vector<DeviceGroupInfo::Entry> wanted;
  for (const auto& entry : devices) {
    const Volume* known = find(states.at(entry.device).volume);
    if (known ? std::find(dialler->volumes.begin(), dialler->volumes.end(), known) != dialler->volumes.end() ||
                    is_named(dialler->request.names, entry.info.name)
              : is_named(dialler->request.names, entry.info.name))
      wanted.push_back(entry);
  }
  for (const std::string& name : dialler->accepted_once ? std::vector<std::string>{} : dialler->request.names)
    if (std::none_of(wanted.begin(), wanted.end(), [&](const auto& e) { return e.info.name == name; }))
      return fail_pull(*dialler, "the host at " + dialler->request.from.text() + " offers no volume " + name),
             link.drop("nothing to pull");
  make_copies(link, *dialler, states, std::move(wanted));
}

// What a lost connection left under way in the store must have ended: a late write of it would come up over newer blocks.
void VolumeHost::make_pull(DestinationLink& link, DeviceId device, Volume& volume, std::uint64_t word) {
  for (auto& [id, older] : destinations_)
    if (older.get() != &link && older->is_closed() && older->carries(volume) && older->is_busy())
      return older->end_session_then([this, alive = alive_, link_id = link.id(), device, name = volume.name(), word] {
        Volume* v = *alive ? find(name) : nullptr;
        const auto it = v ? destinations_.find(link_id) : destinations_.end();
        if (v && it != destinations_.end() && !it->second->is_closed()) make_pull(*it->second, device, *v, word);
      });
  link.pull(device, volume, word);
}

// One after another: finds or makes the copy of each wanted device, and pulls into it once its record is durable.
void VolumeHost::make_copies(DestinationLink& link, Dialler& dialler, std::map<DeviceId, ControlMessage> states,
                             std::vector<DeviceGroupInfo::Entry> wanted) {
  if (wanted.empty()) {
    dialler.status.volumes.clear();
    for (const Volume* v : dialler.volumes) dialler.status.volumes.push_back(v->name());
    return;
  }
  const DeviceGroupInfo::Entry entry = wanted.front();
  wanted.erase(wanted.begin());
  const ControlMessage& state = states.at(entry.device);
  const auto next = [this, alive = alive_, link_id = link.id(), dialler_id = dialler.id, device = entry.device, states,
                     wanted](Volume& volume) {
    const auto it = destinations_.find(link_id);
    if (it == destinations_.end() || !diallers_.contains(dialler_id)) return;
    Dialler& d = *diallers_.at(dialler_id);
    if (std::find(d.volumes.begin(), d.volumes.end(), &volume) == d.volumes.end()) d.volumes.push_back(&volume);
    make_pull(*it->second, device, volume, d.word);
    make_copies(*it->second, d, states, wanted);
  };
  if (Volume* volume = find(state.volume)) {
    if (volume->ownership().record().state == CopyState::gone) {
      fail_pull(dialler, "volume " + volume->name() +
                             " was cancelled here, and the other host has not confirmed that yet: pull it again later");
      return link.drop("the copy was cancelled");
    }
    if (volume->ownership().is_owner()) {
      note(NoteLevel::info, "volume " + volume->name() + " is owned here already");
      return make_copies(link, dialler, std::move(states), std::move(wanted));
    }
    return next(*volume);
  }
  const std::string name = dialler.request.rename_to.empty() ? entry.info.name : dialler.request.rename_to;
  if (find(name)) {
    fail_pull(dialler, "there is another volume " + name + " here already: pull it under another name");
    return link.drop("no place for the copy");
  }
  const Peer from{link.peer()->host, link.peer()->name, dialler.request.from.text()};
  CopyMaker& copies = dialler.request.copies ? *dialler.request.copies : copies_;
  copies.make(me_, name, state.volume, Geometry{entry.info.size, entry.info.block_size}, from, random_.fork(),
              [this, alive = alive_, next, link_id = link.id(), dialler_id = dialler.id](Result<ShelfItem> item) {
                if (!*alive || !diallers_.contains(dialler_id)) return;
                Result<Volume*> volume = item ? add(std::move(*item)) : Result<Volume*>(fail(std::move(item).error()));
                if (!volume) {
                  fail_pull(*diallers_.at(dialler_id), volume.error().message());
                  if (ControlLink* l = find_link(link_id)) l->drop("no place for the copy");
                  return;
                }
                diallers_.at(dialler_id)->begun.push_back((*volume)->name());
                next(**volume);
              });
}

void VolumeHost::open_copies(DestinationLink& link, const std::vector<DeviceGroupInfo::Entry>& devices,
                             net::Done<std::vector<Volume*>> done) {
  Dialler* dialler = dialler_of(link);
  if (!dialler) return done(fail(ErrorKind::cancelled, "nobody wants this connection's volumes any more"));
  dialler->accepted_once = true;
  auto volumes = std::make_shared<std::vector<Volume*>>();
  auto shared = std::make_shared<net::Done<std::vector<Volume*>>>(std::move(done));
  auto step = std::make_shared<std::function<void(std::size_t)>>();
  *step = [this, alive = alive_, id = dialler->id, devices, volumes, shared, weak = std::weak_ptr(step)](std::size_t i) {
    const auto self = weak.lock();
    if (!*alive || !diallers_.contains(id)) return;
    Dialler& d = *diallers_.at(id);
    if (i == devices.size()) {
      report(d, PullStatus::State::copying, "copying from an original Silo");
      return (*shared)(std::move(*volumes));
    }
    if (!is_named(d.request.names, devices[i].info.name)) {
      volumes->push_back(nullptr);
      return (*self)(i + 1);
    }
    const DevInfo& info = devices[i].info;
    const std::string name = d.request.rename_to.empty() ? info.name : d.request.rename_to;
    if (find(name)) return (*shared)(fail(ErrorKind::exists, "there is another volume " + name + " here already"));
    CopyMaker& copies = d.request.copies ? *d.request.copies : copies_;
    copies.make(me_, name, VolumeId::random(random_), Geometry{info.size, info.block_size}, Peer{}, random_.fork(),
                [this, alive, id, volumes, shared, self, i](Result<ShelfItem> item) {
                  if (!*alive || !diallers_.contains(id)) return;
                  if (item) item->record.peer.reset();
                  Result<Volume*> volume = item ? add(std::move(*item)) : Result<Volume*>(fail(std::move(item).error()));
                  if (!volume) return (*shared)(fail(std::move(volume).error()));
                  diallers_.at(id)->volumes.push_back(*volume);
                  volumes->push_back(*volume);
                  (*self)(i + 1);
                });
  };
  (*step)(0);
}

void VolumeHost::handle_original_completed(DestinationLink& link, Volume& volume, bool owned) {
  Dialler* dialler = dialler_of(link);
  if (!dialler || owned) return;
  note(NoteLevel::info, "volume " + volume.name() + ": the source has declared it complete; it is not owned here (--take)");
  dialler->status.volumes.push_back(volume.name());
  if (dialler->status.volumes.size() >= dialler->volumes.size()) report(*dialler, PullStatus::State::copied, "copied, not owned");
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
  if (volumes_.empty()) return false;
  // An original still has the events of other volumes, or their last blocks, to come when ours are given up on record.
  for (const auto& [id, source] : sources_)
    if (source->serves_original() && !source->is_done()) return false;
  const std::vector<MoveReport> all = moves();
  for (const auto& [name, entry] : volumes_) {
    const Record& record = entry.volume->ownership().durable_record();
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
