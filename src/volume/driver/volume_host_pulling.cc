// The host as B: whom it dials and why, the copies it makes, and what becomes of each pull. Source: ownership.md 3, 10.2, 15.

#include <algorithm>
#include <utility>

#include "volume/driver/volume_host.h"

namespace godwit::volume {

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
  dial_for([](const Record&) { return true; });
}
void VolumeHost::dial_untold() {
  dial_for([](const Record& record) { return record.untold; });
}

void VolumeHost::dial_for(const std::function<bool(const Record&)>& is_meant) {
  std::map<std::string, std::vector<Volume*>> by_address;
  for (auto& [name, entry] : volumes_) {
    const Record& record = entry.volume->ownership().durable_record();
    const bool dialled = std::any_of(diallers_.begin(), diallers_.end(), [&](const auto& d) {
      const std::vector<Volume*>& its = d.second->volumes;
      return !d.second->ended && std::find(its.begin(), its.end(), entry.volume.get()) != its.end();
    });
    if (!dialled && is_meant(record) && entry.volume->ownership().wants_link() && record.peer && !record.peer->address.empty())
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
  drop_later(link, "the pull was refused");
}

// What calls us from inside a link's own call must not end that link.
void VolumeHost::drop_later(const DestinationLink* link, std::string reason) {
  if (!link) return;
  context_.scheduler.post([this, alive = alive_, id = link->id(), reason = std::move(reason)] {
    if (ControlLink* l = *alive ? find_link(id) : nullptr) l->drop(reason);
  });
}

// CANCEL from the source: what has arrived stays, and nobody asks for the rest until an operator does.
void VolumeHost::stop_dialling_for(Volume& volume) {
  const std::string sentence = "volume " + volume.name() +
                               ": the other host has cancelled the move; what has arrived stays until it is pulled again or "
                               "cancelled here";
  note(NoteLevel::warning, sentence);
  for (auto& [id, dialler] : diallers_) {
    if (dialler->ended || std::erase(dialler->volumes, &volume) == 0) continue;
    dialler->given_up.insert(volume.id());
    if (!dialler->volumes.empty()) {
      check_pulled(*dialler);
      continue;
    }
    DestinationLink* link = dialler->link;
    fail_pull(*dialler, sentence);
    drop_later(link, "the move was cancelled");
  }
}

// The operator gave the copy up: the command that pulled it ends, and somebody goes on dialling until the other host knows.
void VolumeHost::end_pull_of(Volume& volume) {
  for (auto& [id, dialler] : diallers_) {
    std::vector<Volume*>& its = dialler->volumes;
    if (dialler->ended || std::find(its.begin(), its.end(), &volume) == its.end()) continue;
    dialler->given_up.insert(volume.id());
    if (its.size() > 1) {
      std::erase(its, &volume);
      check_pulled(*dialler);
      continue;
    }
    dialler->accepted_once = true;
    dialler->status.state = PullStatus::State::failed;
    dialler->status.text = "volume " + volume.name() + ": the move was cancelled here";
    if (auto changed = std::exchange(dialler->changed, nullptr))
      context_.scheduler.post([changed = std::move(changed), status = status_of(*dialler)] { changed(status); });
  }
  context_.scheduler.post([this, alive = alive_] {
    if (*alive) dial_untold();
  });
}

// One that dials only to tell of copies that are gone ends when that is told.
void VolumeHost::check_told(Dialler& dialler) {
  if (dialler.ended || dialler.changed || dialler.volumes.empty()) return;
  const bool told = std::all_of(dialler.volumes.begin(), dialler.volumes.end(), [](const Volume* v) {
    const Record& record = v->ownership().durable_record();
    return record.state == CopyState::gone && !record.untold;
  });
  if (!told) return;
  dialler.ended = true;
  context_.scheduler.cancel(dialler.timer);
  drop_later(dialler.link, "everything is told");
}

void VolumeHost::check_pulled(Dialler& dialler) {
  if (dialler.ended || dialler.volumes.empty() || dialler.status.state == PullStatus::State::owned) return;
  for (const Volume* v : dialler.volumes)
    if (v->ownership().is_failed())
      return fail_pull(dialler, "volume " + v->name() + ": its record could not be written; start this host anew");
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
    if (dialler->given_up.contains(states.at(entry.device).volume)) continue;
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
    const Record& record = volume->ownership().record();
    if (record.state == CopyState::gone) {
      // Whoever dials only to tell that the copy is gone does not want another.
      if (!dialler.changed) return make_copies(link, dialler, std::move(states), std::move(wanted));
      if (record.untold && record.peer && record.peer->host != link.peer()->host) {
        fail_pull(dialler, "volume " + volume->name() + " was cancelled here, and the host it came from then, " +
                               escaped(record.peer->name) + ", has not confirmed that yet: pull it again later");
        return link.drop("the copy was cancelled");
      }
      // It has been told on this very connection. The new copy takes the old one's place here, and what the other host promised.
      wanted.insert(wanted.begin(), entry);
      return remove(volume->name(), [this, alive = alive_, link_id = link.id(), dialler_id = dialler.id, states, wanted] {
        const auto it = *alive ? destinations_.find(link_id) : destinations_.end();
        if (it == destinations_.end() || it->second->is_closed() || !diallers_.contains(dialler_id)) return;
        make_copies(*it->second, *diallers_.at(dialler_id), states, wanted);
      });
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

}  // namespace godwit::volume
