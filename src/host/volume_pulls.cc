// The verb `pull`: finds a place for the copies, hands the pull to the host, and tells of it until it is owned, copied or
// refused.
#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "host/json_fields.h"
#include "host/volume_verbs.h"

namespace godwit::host {

namespace json = boost::json;
using volume::PullStatus;
using volume::Volume;

struct VolumeVerbs::Pull {
  volume::PullRequest request;
  std::string into;
  std::string base;    // what the copies lie on as overlays
  std::string device;  // what the one copy goes over
  bool memory = false;
  Say say;
  net::Done<Object> done;
  std::uint64_t id = 0;
  Instant started;
  Duration patience;   // until the other host must have been reached; 0: for ever
  Duration interval;   // between two lines of progress
  bool begun = false;  // something has been accepted
};

static std::string_view name_of(PullStatus::State state) {
  switch (state) {
    case PullStatus::State::dialling: return "dialling";
    case PullStatus::State::copying: return "copying";
    case PullStatus::State::owned: return "owned";
    case PullStatus::State::copied: return "copied";
    case PullStatus::State::failed: return "failed";
  }
  return "?";
}

static Result<volume::Take> parse_take(const std::string& text) {
  if (text == "completed") return volume::Take::completed;
  if (text == "custom") return volume::Take::custom;
  if (text == "never") return volume::Take::never;
  return fail(ErrorKind::usage, "\"take\" must be completed, custom or never");
}

// Where new copies go.
Result<void> VolumeVerbs::choose_place(Pull& pull, VolumePlaces& places) {
  if (!pull.into.empty() + pull.memory + !pull.device.empty() > 1)
    return fail(ErrorKind::usage, "a copy goes into a folder, into memory or over a device, not both");
  if (!pull.base.empty() && pull.memory) return fail(ErrorKind::usage, "a copy in memory lies on no base");
  if (!pull.base.empty() && !pull.device.empty()) return fail(ErrorKind::usage, "a copy on a device lies on no base");
  if (!pull.device.empty() && pull.request.names.size() != 1)
    return fail(ErrorKind::usage, "a device is for one volume: name it");
  if (pull.memory) {
    pull.request.copies = &places.copies_into_memory();
    return {};
  }
  Result<volume::CopyMaker*> copies =
      pull.device.empty() ? places.copies_into(pull.into, pull.base) : places.copies_into_device(pull.device);
  if (!copies) return fail(std::move(copies).error());
  pull.request.copies = *copies;
  return {};
}

void VolumeVerbs::pull(const Object& request, Say say, net::Done<Object> done) {
  JsonFields fields(request);
  auto pull = std::make_shared<Pull>();
  const std::string from = fields.text("from");
  pull->request.names = fields.texts("names");
  pull->request.rename_to = fields.text("as", "");
  pull->into = fields.text("into", "");
  pull->memory = fields.flag("memory");
  pull->base = fields.text("base", "");
  pull->device = fields.text("device", "");
  pull->patience = Duration::seconds(fields.real("wait_seconds", 0));
  pull->interval = Duration::seconds(std::clamp(fields.real("progress_seconds", 1), 0.05, 3600.0));
  Result<volume::Take> take = parse_take(fields.text("take", "completed"));
  volume::DestinationOptions options;
  options.post_copy = fields.flag("post_copy");
  if (fields.error()) return done(fail(*fields.error()));
  if (!take) return done(fail(std::move(take).error()));
  options.take = *take;
  options.config.completed_needs_all_blocks = *take != volume::Take::never;
  pull->request.options = options;
  Result<net::Address> address = net::Address::parse(from, kHostPort);
  if (!address) return done(fail(std::move(address).error()));
  pull->request.from = *address;
  if (!pull->request.rename_to.empty() && pull->request.names.size() != 1)
    return done(fail(ErrorKind::usage, "another name needs exactly one volume to be named"));
  if (Result<void> placed = choose_place(*pull, process_.places()); !placed) return done(fail(std::move(placed).error()));
  pull->say = std::move(say);
  pull->done = std::move(done);
  pull->started = process_.loop().now();
  forget_gone([this, pull] {
    if (pull->memory) return begin_pull(pull);
    open_unfinished(pull, [this, pull](Result<void> opened) {
      // What was asked for by name and is here, but can not be gone on with, is better told than met as a name that is taken.
      if (!opened && !pull->request.names.empty()) return pull->done(fail(std::move(opened).error()));
      if (Result<void> same = check_device(*pull); !same) return pull->done(fail(std::move(same).error()));
      begin_pull(pull);
    });
  });
}

// A copy that is here already goes on where it is: on another device than is asked for now, that would be a surprise.
Result<void> VolumeVerbs::check_device(const Pull& pull) {
  if (pull.device.empty()) return {};
  const std::string& name = pull.request.rename_to.empty() ? pull.request.names.front() : pull.request.rename_to;
  Volume* known = process_.host().find(name);
  if (known == nullptr || known->ownership().record().data_name == pull.device) return {};
  const std::string place = process_.places().data_path(name, known->ownership().record().data_name);
  return fail(ErrorKind::exists, fmt::format("volume {} is here already, in {}: pull without a device goes on there", name,
                                             place.empty() ? "memory" : place));
}

// Of the names (all, where none are given) those that have a record here which the pull may go on with.
void VolumeVerbs::open_unfinished(std::shared_ptr<Pull> pull, net::Done<void> done) {
  process_.places().list(
      pull->into, [this, alive = alive_, pull, done = std::move(done)](Result<std::vector<std::string>> there) mutable {
        if (!*alive) return;
        const std::vector<std::string> names =
            pull->request.rename_to.empty() ? pull->request.names : std::vector{pull->request.rename_to};
        std::vector<std::string> look_at;
        if (there)
          for (const std::string& name : *there)
            if (names.empty() || std::ranges::find(names, name) != names.end()) look_at.push_back(name);
        keep_unfinished(pull, std::move(look_at), std::make_shared<std::vector<std::string>>(), std::move(done));
      });
}

void VolumeVerbs::keep_unfinished(std::shared_ptr<Pull> pull, std::vector<std::string> looked_at,
                                  std::shared_ptr<std::vector<std::string>> kept, net::Done<void> done) {
  if (looked_at.empty()) return open_each(kept, pull->into, pull->base, std::move(done));
  const std::string name = looked_at.back();
  looked_at.pop_back();
  process_.places().read_record(pull->into, name,
                                [this, alive = alive_, pull, looked_at = std::move(looked_at), kept, name,
                                 done = std::move(done)](Result<volume::Record> record) mutable {
                                  if (!*alive) return;
                                  using volume::CopyState;
                                  const bool unfinished =
                                      record && record->host == process_.me().host &&
                                      (record->state == CopyState::receiving || record->state == CopyState::ready ||
                                       record->state == CopyState::relinquished ||
                                       (record->state == CopyState::gone && record->untold));
                                  if (unfinished) kept->push_back(name);
                                  keep_unfinished(pull, std::move(looked_at), kept, std::move(done));
                                });
}

void VolumeVerbs::begin_pull(std::shared_ptr<Pull> pull) {
  pull->id = process_.host().pull(pull->request, [this, alive = alive_, pull](const PullStatus& status) {
    if (*alive) report_pull(pull, status);
  });
  pulls_[pull->id] = pull;
  tick(pull);
}

void VolumeVerbs::report_pull(const std::shared_ptr<Pull>& pull, const PullStatus& status) {
  if (!pull->done) return;
  pull->begun = pull->begun || status.state != PullStatus::State::dialling;
  Object line = describe_pull(*pull, status);
  if (pull->say) pull->say(line);
  switch (status.state) {
    case PullStatus::State::owned:
    case PullStatus::State::copied: return finish_pull(pull, std::move(line));
    case PullStatus::State::failed: return finish_pull(pull, fail(ErrorKind::refused, status.text));
    default: return;
  }
}

void VolumeVerbs::tick(const std::shared_ptr<Pull>& pull) {
  net::EventLoop& loop = process_.loop();
  loop.schedule(loop.now() + pull->interval, [this, alive = alive_, pull] {
    if (!*alive || !pull->done || process_.is_shutting_down()) return;
    const std::optional<PullStatus> status = process_.host().pull_status(pull->id);
    if (!status) return finish_pull(pull, fail(ErrorKind::cancelled, "the pull was ended"));
    if (!pull->begun && pull->patience.nanoseconds > 0 && process_.loop().now() - pull->started >= pull->patience) {
      process_.host().stop_pull(pull->id);
      return finish_pull(pull, fail(ErrorKind::timed_out,
                                    fmt::format("nothing came from {} within {:.0f} s{}{}", pull->request.from.text(),
                                                pull->patience.as_seconds(), status->text.empty() ? "" : ": ", status->text)));
    }
    if (pull->say) pull->say(describe_pull(*pull, *status));
    tick(pull);
  });
}

void VolumeVerbs::finish_pull(const std::shared_ptr<Pull>& pull, Result<Object> result) {
  pulls_.erase(pull->id);
  if (net::Done<Object> done = std::exchange(pull->done, nullptr)) done(std::move(result));
}

VolumeVerbs::Object VolumeVerbs::describe_pull(const Pull& pull, const PullStatus& status) {
  Object out;
  out["event"] = "pull";
  out["from"] = pull.request.from.text();
  out["state"] = name_of(status.state);
  if (!status.text.empty()) out["text"] = status.text;
  out["seconds"] = (process_.loop().now() - pull.started).as_seconds();
  out["bytes_on_wire"] = status.bytes_received;
  std::uint64_t total = 0;
  std::uint64_t left = 0;
  json::array volumes;
  for (const std::string& name : status.volumes) {
    Volume* v = process_.host().find(name);
    if (v == nullptr) continue;
    const std::uint64_t size = v->geometry().size_bytes;
    total += size;
    if (const volume::WaitingCache* cache = v->cache())
      left += std::min(size, (v->geometry().block_count() - cache->present_count()) * v->geometry().block_size_bytes);
    volumes.push_back(Object{{"name", name}, {"state", volume::name_of(v->ownership().durable_record().state)}, {"size", size}});
  }
  out["bytes_total"] = total;
  out["bytes_left"] = left;
  out["volumes"] = std::move(volumes);
  return out;
}

}  // namespace godwit::host
