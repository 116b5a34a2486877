#include "host/volume_verbs.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "host/json_fields.h"
#include "host/quantity.h"

namespace godwit::host {

namespace json = boost::json;
using volume::CopyState;
using volume::Volume;

namespace {

std::string_view name_of_mode(volume::FaceMode mode) {
  switch (mode) {
    case volume::FaceMode::none: return "none";
    case volume::FaceMode::early_reads: return "not owned yet";
    case volume::FaceMode::serve: return "served";
    case volume::FaceMode::hold: return "held";
    case volume::FaceMode::relay: return "relayed to its owner";
    case volume::FaceMode::refuse: return "refused";
  }
  return "?";
}

std::string_view name_of_kind(const volume::Record& record) {
  switch (record.kind) {
    case volume::Record::Kind::file: return "file";
    case volume::Record::Kind::overlay: return "overlay";
    case volume::Record::Kind::block_device: return "device";
  }
  return "?";
}

// Whether any other host ever had this volume or was promised it: then a record must stay behind (ownership.md 2).
bool had_other_hosts(const volume::Record& record) {
  const auto elsewhere = [&](const volume::ChainEntry& entry) { return entry.owner != record.host; };
  return record.chain.entries.size() > 1 || std::ranges::any_of(record.chain.entries, elsewhere) || record.peer ||
         record.reserved || !record.words.empty() || !record.declined.empty();
}

// What is said once, when the process starts. A request that says it again would otherwise believe itself obeyed.
constexpr std::string_view kOfTheProcess[] = {"listen",    "nbd",         "metrics",         "insecure",     "once",
                                              "form",      "rounds",      "dirty_threshold", "max_downtime", "after_handover",
                                              "hand_over", "early_reads", "blocks",          "trust_host"};

// What a record still has to say when the data are gone: that the copy was given up, or which attempts were declined.
bool is_worth_telling(const volume::Record& record) {
  return record.untold || !record.declined.empty();
}

}  // namespace

void VolumeVerbs::perform(const Object& request, Say say, net::Done<Object> done) {
  JsonFields fields(request);
  const std::string verb = fields.text("verb");
  if (fields.error()) return done(fail(*fields.error()));
  if (process_.is_shutting_down()) return done(fail(ErrorKind::shut_down, "the process is ending"));
  if (verb == "serve" || verb == "pull")
    for (const std::string_view field : kOfTheProcess)
      if (fields.has(field))
        return done(fail(ErrorKind::usage, fmt::format("\"{}\" belongs to the process, which keeps what it was started with: "
                                                       "leave it out, or start the process anew with it",
                                                       field)));
  if (verb == "status") return status(std::move(done));
  if (verb == "list") return list(request, std::move(done));
  if (verb == "create") return create(request, std::move(done));
  if (verb == "serve") return serve(request, say, std::move(done));
  if (verb == "pull") return pull(request, std::move(say), std::move(done));
  if (verb == "export") return change_exports(request, std::move(done));
  if (verb == "cancel") return cancel(request, std::move(done));
  if (verb == "remove") return remove(request, std::move(done));
  done(fail(ErrorKind::usage, fmt::format("there is no verb \"{}\"", escaped(verb))));
}

// --- looking ---

VolumeVerbs::Object VolumeVerbs::describe(Volume& v) {
  const volume::Record& record = v.ownership().durable_record();
  Object out;
  out["name"] = v.name();
  out["id"] = record.volume.hex();
  out["state"] = volume::name_of(record.state);
  out["clients"] = name_of_mode(v.face().mode());
  out["size"] = v.geometry().size_bytes;
  out["block_size"] = v.geometry().block_size_bytes;
  out["kind"] = v.is_memory() ? "memory" : name_of_kind(record);
  if (!v.is_memory()) out["path"] = process_.places().data_path(v.name(), record.data_name);
  out["connections"] = process_.nbd_server().open_connections(v.name());
  if (const volume::ChainEntry* tip = record.chain.tip()) out["epoch"] = tip->epoch;
  if (record.peer)
    out["peer"] = Object{{"host", record.peer->host.hex()}, {"name", record.peer->name}, {"address", record.peer->address}};
  json::array nbd;
  for (const net::Address& at : process_.nbd_addresses(v.name())) nbd.push_back(json::string(at.text()));
  if (!nbd.empty()) out["nbd"] = std::move(nbd);
  if (const std::uint64_t forks = process_.host().forks_of(v)) out["forks"] = forks;
  if (record.reserved) out["reserved_for"] = record.reserved->host.hex();
  if (const volume::WaitingCache* cache = v.cache()) {
    out["blocks_present"] = cache->present_count();
    out["blocks"] = v.geometry().block_count();
  }
  if (record.untold) out["untold"] = true;
  if (v.ownership().is_failed()) out["failed"] = "its record could not be written; start the process anew";
  return out;
}

void VolumeVerbs::status(net::Done<Object> done) {
  Object out;
  out["host"] = process_.me().host.hex();
  out["boot"] = process_.me().boot.value;
  out["data"] = process_.data().path();
  if (const auto at = process_.host_address()) out["listen"] = at->text();
  json::array nbd;
  for (const net::Address& at : process_.nbd_addresses()) nbd.push_back(json::string(at.text()));
  out["nbd"] = std::move(nbd);
  if (const auto at = process_.metrics_address()) out["metrics"] = at->text();
  out["links"] = process_.host().links();
  json::array volumes;
  for (Volume* v : process_.host().volumes()) volumes.push_back(describe(*v));
  out["volumes"] = std::move(volumes);
  json::array moves;
  for (const volume::MoveReport& move : process_.host().moves())
    moves.push_back(Object{{"volume", move.volume},
                           {"bytes_total", move.bytes_total},
                           {"bytes_left", move.bytes_left},
                           {"bytes_on_wire", move.bytes_on_wire},
                           {"rounds", move.rounds},
                           {"seconds", move.seconds},
                           {"downtime_seconds", move.downtime_seconds},
                           {"handed_over", move.handed_over}});
  out["moves"] = std::move(moves);
  json::array pulls;
  for (const auto& [id, pull] : pulls_)
    if (const auto now = process_.host().pull_status(id)) pulls.push_back(describe_pull(*pull, *now));
  out["pulls"] = std::move(pulls);
  done(std::move(out));
}

void VolumeVerbs::list(const Object& request, net::Done<Object> done) {
  JsonFields fields(request);
  const std::string folder = fields.text("folder", "");
  if (fields.error()) return done(fail(*fields.error()));
  struct Listing {
    json::array volumes;
    std::size_t left = 1;
    net::Done<Object> done;
  };
  auto listing = std::make_shared<Listing>();
  listing->done = std::move(done);
  for (Volume* v : process_.host().volumes()) listing->volumes.push_back(describe(*v));
  const auto one_done = [listing] {
    if (--listing->left == 0) listing->done(Object{{"volumes", std::move(listing->volumes)}});
  };
  process_.places().list(folder, [this, alive = alive_, folder, listing, one_done](Result<std::vector<std::string>> names) {
    if (!*alive) return;
    if (!names) return listing->done(fail(std::move(names).error()));
    for (const std::string& name : *names) {
      if (process_.host().find(name) != nullptr) continue;
      ++listing->left;
      process_.places().read_record(folder, name, [this, alive, name, listing, one_done](Result<volume::Record> record) {
        if (!*alive) return;
        Object out{{"name", name}};
        if (!record) {
          out["problem"] = record.error().message();
        } else {
          out["state"] = volume::name_of(record->state);
          out["size"] = record->geometry.size_bytes;
          out["block_size"] = record->geometry.block_size_bytes;
          out["kind"] = name_of_kind(*record);
          if (record->kind == volume::Record::Kind::block_device) out["path"] = record->data_name;
          if (record->host != process_.me().host) out["problem"] = "its record belongs to another host";
        }
        listing->volumes.push_back(std::move(out));
        one_done();
      });
    }
    one_done();
  });
}

// --- making and serving ---

// A volume as JSON: what `create` and the elements of `serve` have in common.
static Result<VolumeRequest> read_volume(const json::object& object) {
  JsonFields fields(object);
  VolumeRequest request;
  request.name = fields.text("name", "");
  request.folder = fields.text("folder", "");
  const std::string path = fields.text("path", "");
  request.device = fields.text("device", "");
  const std::string kind = fields.text("kind", request.device.empty() ? "sparse" : "device");
  request.size_bytes = fields.number("size", 0);
  const std::string block_size = std::to_string(fields.number("block_size", 64 * 1024));
  request.base = fields.text("base", "");
  request.content = fields.text("content", "");
  if (fields.error()) return fail(*fields.error());
  Result<VolumeKind> known = parse_volume_kind(kind);
  if (!known) return fail(std::move(known).error());
  request.kind = *known;
  Result<std::uint32_t> block = parse_block_size(block_size);
  if (!block) return fail(std::move(block).error());
  request.block_size_bytes = *block;
  if (!path.empty()) {
    const std::filesystem::path whole(path);
    request.name = whole.filename().string();
    request.folder = whole.has_parent_path() ? whole.parent_path().string() : ".";
  }
  if (request.name.empty()) return fail(ErrorKind::usage, "a volume needs a name or a path");
  if (request.kind != VolumeKind::device && !request.device.empty())
    return fail(ErrorKind::usage, "volume " + request.name + ": only a volume of kind device lies on one");
  return request;
}

VolumeVerbs::Object VolumeVerbs::describe(const VolumeRequest& request) {
  Object out{{"name", request.name},
             {"folder", request.folder},
             {"kind", name_of(request.kind)},
             {"block_size", request.block_size_bytes}};
  if (request.size_bytes > 0) out["size"] = request.size_bytes;
  if (!request.base.empty()) out["base"] = request.base;
  if (!request.device.empty()) out["device"] = request.device;
  return out;
}

void VolumeVerbs::create(const Object& request, net::Done<Object> done) {
  Result<VolumeRequest> wanted = read_volume(request);
  if (!wanted) return done(fail(std::move(wanted).error()));
  if (process_.host().find(wanted->name) != nullptr)
    return done(fail(ErrorKind::exists, "a volume " + wanted->name + " is there already"));
  // A cancelled copy may still have the device that is asked for.
  forget_gone([this, wanted = std::move(*wanted), done = std::move(done)]() mutable {
    process_.places().make(process_.me(), wanted, process_.random(),
                           [this, alive = alive_, done = std::move(done)](Result<volume::ShelfItem> item) mutable {
                             if (!*alive) return;
                             if (!item) return done(fail(std::move(item).error()));
                             Result<Volume*> added = process_.host().add(std::move(*item));
                             if (!added) return done(fail(std::move(added).error()));
                             when_recorded((*added)->name(), std::move(done));
                           });
  });
}

struct VolumeVerbs::Serving {
  std::vector<VolumeRequest> requests;
  std::size_t next = 0;
  json::array served;
  net::Done<Object> done;
};

void VolumeVerbs::serve(const Object& request, const Say&, net::Done<Object> done) {
  const json::value* volumes = request.if_contains("volumes");
  if (volumes == nullptr || !volumes->is_array()) return done(fail(ErrorKind::usage, "\"volumes\" must be an array"));
  auto serving = std::make_shared<Serving>();
  for (const json::value& element : volumes->get_array()) {
    if (!element.is_object()) return done(fail(ErrorKind::usage, "each of \"volumes\" must be an object"));
    Result<VolumeRequest> wanted = read_volume(element.get_object());
    if (!wanted) return done(fail(std::move(wanted).error()));
    serving->requests.push_back(std::move(*wanted));
  }
  serving->done = std::move(done);
  serve_next(std::move(serving));
}

void VolumeVerbs::serve_next(std::shared_ptr<Serving> serving) {
  if (serving->next == serving->requests.size()) return serving->done(Object{{"volumes", std::move(serving->served)}});
  const VolumeRequest& wanted = serving->requests[serving->next++];
  if (Volume* known = process_.host().find(wanted.name)) {
    serving->served.push_back(describe(*known));
    return serve_next(std::move(serving));
  }
  process_.places().open_or_make(
      process_.me(), wanted, process_.random(), [this, alive = alive_, serving](Result<PlacedVolume> placed) {
        if (!*alive) return;
        if (!placed) return serving->done(fail(std::move(placed).error()));
        if (placed->item.record.state == CopyState::gone)
          return serving->done(fail(ErrorKind::not_found, "volume " + placed->item.name + " is gone from this host"));
        const PlacedVolume::How how = placed->how;
        Result<Volume*> added = process_.host().add(std::move(placed->item));
        if (!added) return serving->done(fail(std::move(added).error()));
        when_recorded((*added)->name(), [this, alive, serving, how](Result<Object> described) {
          if (!*alive) return;
          if (!described) return serving->done(std::move(described));
          (*described)["how"] = how == PlacedVolume::How::opened    ? "opened"
                                : how == PlacedVolume::How::adopted ? "adopted"
                                                                    : "made";
          serving->served.push_back(std::move(*described));
          serve_next(serving);
        });
      });
}

// A volume's record is on disk as it was decided (or could not be written).
void VolumeVerbs::when_recorded(const std::string& name, net::Done<Object> done) {
  Volume* volume = process_.host().find(name);
  if (volume == nullptr) return done(fail(ErrorKind::cancelled, "volume " + name + " is gone"));
  if (volume->ownership().is_failed()) return done(fail(ErrorKind::io, "the record of volume " + name + " could not be written"));
  if (volume->ownership().durable_record() == volume->ownership().record()) return done(describe(*volume));
  net::EventLoop& loop = process_.loop();
  loop.schedule(loop.now() + Duration::milliseconds(1), [this, alive = alive_, name, done = std::move(done)]() mutable {
    if (*alive) when_recorded(name, std::move(done));
  });
}

void VolumeVerbs::open_all(net::Task done) {
  process_.places().list("", [this, alive = alive_, done = std::move(done)](Result<std::vector<std::string>> names) mutable {
    if (!*alive) return;
    if (!names) {
      process_.log().error(names.error().message());
      return done();
    }
    open_each(std::make_shared<std::vector<std::string>>(std::move(*names)), "", "",
              [done = std::move(done)](Result<void>) mutable { done(); });
  });
}

// Opens volumes one after another; one that can not be opened is logged and left alone, and the first such error is the whole's.
void VolumeVerbs::open_each(std::shared_ptr<std::vector<std::string>> names, const std::string& folder, const std::string& base,
                            net::Done<void> done, Result<void> so_far) {
  while (!names->empty() && process_.host().find(names->back()) != nullptr) names->pop_back();
  if (names->empty()) {
    // Only where no living copy of the same volume took their place.
    for (volume::ShelfItem& item : std::exchange(gone_, {}))
      if (process_.host().find(item.record.volume) == nullptr) (void)process_.host().add(std::move(item));
    return done(std::move(so_far));
  }
  VolumeRequest request;
  request.name = std::exchange(names->back(), "");
  request.folder = folder;
  request.base = base;
  names->pop_back();
  process_.places().open_or_make(process_.me(), request, process_.random(),
                                 [this, alive = alive_, names, folder, base, name = request.name, done = std::move(done),
                                  so_far = std::move(so_far)](Result<PlacedVolume> placed) mutable {
                                   if (!*alive) return;
                                   const auto log = [&](const Error& error) {
                                     process_.log().error("volume not opened", {{"volume", name}, {"why", error.message()}});
                                     if (so_far) so_far = fail(error);
                                   };
                                   const bool gone = placed && placed->item.record.state == CopyState::gone;
                                   if (gone && is_worth_telling(placed->item.record)) gone_.push_back(std::move(placed->item));
                                   if (!placed) log(placed.error());
                                   if (placed && !gone)
                                     if (Result<Volume*> added = process_.host().add(std::move(placed->item)); !added)
                                       log(added.error());
                                   open_each(names, folder, base, std::move(done), std::move(so_far));
                                 });
}

// --- exports ---

void VolumeVerbs::change_exports(const Object& request, net::Done<Object> done) {
  JsonFields fields(request);
  const std::string name = fields.text("name");
  const bool drop = fields.has("drop");
  const std::string text = fields.text(drop ? "drop" : "add");
  if (fields.error()) return done(fail(*fields.error()));
  Result<net::Address> at = net::Address::parse(text, kNbdPort);
  if (!at) return done(fail(std::move(at).error()));
  const Volume* volume = process_.host().find(name);
  if (volume == nullptr || volume->ownership().record().state == CopyState::gone)
    return done(fail(ErrorKind::not_found, "the running process has no volume " + name));
  if (drop) {
    if (Result<void> dropped = process_.drop_nbd_address(*at, name); !dropped) return done(fail(std::move(dropped).error()));
    return done(Object{{"name", name}, {"dropped", at->text()}});
  }
  Result<net::Address> added = process_.add_nbd_address(*at, name);
  if (!added) return done(fail(std::move(added).error()));
  done(Object{{"name", name}, {"added", added->text()}});
}

// --- ending ---

// A volume of this process, or one that is opened for the verb.
void VolumeVerbs::find_or_open(const std::string& name, const std::string& folder, net::Done<Volume*> done) {
  if (Volume* volume = process_.host().find(name)) return done(volume);
  VolumeRequest request;
  request.name = name;
  request.folder = folder;
  process_.places().read_record(
      folder, name, [this, alive = alive_, request, done = std::move(done)](Result<volume::Record> record) mutable {
        if (!*alive) return;
        if (!record && record.error().kind() == ErrorKind::not_found)
          return done(fail(ErrorKind::not_found, fmt::format("there is no volume {}{}", request.name,
                                                             request.folder.empty() ? "" : " in " + request.folder)));
        if (!record) return done(fail(std::move(record).error()));
        process_.places().open_or_make(process_.me(), request, process_.random(),
                                       [this, alive, done = std::move(done)](Result<PlacedVolume> placed) mutable {
                                         if (!*alive) return;
                                         if (!placed) return done(fail(std::move(placed).error()));
                                         done(process_.host().add(std::move(placed->item)));
                                       });
      });
}

void VolumeVerbs::cancel(const Object& request, net::Done<Object> done) {
  JsonFields fields(request);
  const std::string name = fields.text("name");
  const std::string folder = fields.text("folder", "");
  if (fields.error()) return done(fail(*fields.error()));
  find_or_open(name, folder, [this, name, done = std::move(done)](Result<Volume*> volume) mutable {
    if (!volume) return done(fail(std::move(volume).error()));
    if (Result<void> cancelled = (*volume)->ownership().cancel(); !cancelled)
      return done(fail(std::move(cancelled).error().within("volume " + name)));
    (*volume)->pump();
    if ((*volume)->ownership().record().state == CopyState::gone) process_.drop_nbd_addresses_of(name);
    process_.host().dial_untold();  // to tell the other host, where nobody is connected with it
    when_recorded(name, [name, done = std::move(done)](Result<Object> described) mutable {
      if (!described) return done(std::move(described));
      (*described)["cancelled"] = name;
      done(std::move(described));
    });
  });
}

// What must not happen to a volume in this state, or not without a yes.
static std::optional<Error> objection_to_removing(const volume::Record& record, const std::string& name, bool yes) {
  switch (record.state) {
    case CopyState::gone:
      return Error(ErrorKind::refused, "volume " + name + " is gone already; its record may be removed by hand");
    case CopyState::receiving:
    case CopyState::ready:
      return Error(ErrorKind::refused,
                   fmt::format("volume {} is being received: `godwit volume cancel {}` ends that", name, name));
    case CopyState::relinquished:
      if (!record.peer || record.heard) return std::nullopt;
      return Error(ErrorKind::refused,
                   fmt::format("volume {} is on its way to {}, which has not said yet that it owns it: without this host's "
                               "record nobody could finish that",
                               name, record.peer->name));
    default: break;
  }
  if (yes) return std::nullopt;
  if (record.kind == volume::Record::Kind::block_device)
    return Error(ErrorKind::refused,
                 fmt::format("volume {} is owned here: removing it forgets that; what is on {} stays. Say --yes if that is meant",
                             name, record.data_name));
  return Error(ErrorKind::refused,
               fmt::format("volume {} is owned here: removing it destroys its data, {}. Say --yes if that is meant", name,
                           text_of_bytes(record.geometry.size_bytes)));
}

void VolumeVerbs::remove(const Object& request, net::Done<Object> done) {
  JsonFields fields(request);
  const std::string name = fields.text("name");
  const std::string folder = fields.text("folder", "");
  const bool yes = fields.flag("yes");
  if (fields.error()) return done(fail(*fields.error()));
  Volume* volume = process_.host().find(name);
  if (volume == nullptr)
    return process_.places().read_record(
        folder, name, [this, alive = alive_, name, folder, yes, done = std::move(done)](Result<volume::Record> record) mutable {
          if (!*alive) return;
          if (!record && record.error().kind() == ErrorKind::not_found)
            return done(fail(ErrorKind::not_found, "there is no volume " + name + (folder.empty() ? "" : " in " + folder)));
          if (!record) return done(fail(std::move(record).error()));
          if (std::optional<Error> objection = objection_to_removing(*record, name, yes))
            return done(fail(std::move(*objection)));
          remove_closed(name, folder, *record, std::move(done));
        });
  const volume::Record& record = volume->ownership().durable_record();
  if (std::optional<Error> objection = objection_to_removing(record, name, yes)) return done(fail(std::move(*objection)));
  const bool memory = volume->is_memory();
  process_.drop_nbd_addresses_of(name);
  process_.host().remove(name, [this, alive = alive_, name, folder, memory, last = record, done = std::move(done)]() mutable {
    if (!*alive) return;
    if (memory) return done(Object{{"removed", name}, {"record_kept", false}});
    remove_closed(name, folder, last, std::move(done));
  });
}

void VolumeVerbs::remove_closed(const std::string& name, const std::string& folder, const volume::Record& record,
                                net::Done<Object> done) {
  Object answer{{"removed", name}, {"record_kept", had_other_hosts(record)}};
  if (record.kind == volume::Record::Kind::block_device) answer["device"] = record.data_name;
  process_.places().remove(process_.me(), folder, name, had_other_hosts(record),
                           [name, answer = std::move(answer), done = std::move(done)](Result<void> removed) mutable {
                             if (!removed) return done(fail(std::move(removed).error().within("remove volume " + name)));
                             done(std::move(answer));
                           });
}

void VolumeVerbs::forget_gone(net::Task done) {
  for (Volume* v : process_.host().volumes()) {
    const volume::Record& record = v->ownership().durable_record();
    if (record.state != CopyState::gone || record.untold) continue;
    return process_.host().remove(v->name(), [this, alive = alive_, done = std::move(done)]() mutable {
      if (*alive) forget_gone(std::move(done));
    });
  }
  done();
}

}  // namespace godwit::host
