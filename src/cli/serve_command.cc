#include "cli/serve_command.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "host/config.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace json = boost::json;

namespace {

constexpr double kOnceLookSeconds = 0.05;
// How long --once leaves its connections open when all is done, or until the other host hangs up: ending at once could take back,
// unread, the word that we know that it owns, and it would dial for ever to hear it.
constexpr double kOnceLastWordSeconds = 1;

template <class T>
Result<T> choose(std::string_view option, const std::string& text, const std::map<std::string, T>& choices) {
  if (const auto it = choices.find(text); it != choices.end()) return it->second;
  std::string known;
  for (const auto& [name, value] : choices) known += (known.empty() ? "" : ", ") + name;
  return fail(ErrorKind::usage, fmt::format("{} {}: it must be one of {}", option, text, known));
}

// Tells of the moves from here until the run ends.
class MoveWatch {
 public:
  MoveWatch(Console& console, HostRun& run) : console_(console), run_(run) {}

  // To be called often: what has ended is told at once, progress when there is something to see.
  void look() {
    const double now = (run_.loop().now() - Instant{}).as_seconds();
    const bool show_progress = now - shown_ >= console_.progress_seconds();
    if (show_progress) shown_ = now;
    for (const volume::MoveReport& move : run_.process().host().moves()) {
      if (move.handed_over || move.copied) {
        if (told_.insert(move.volume).second) tell_ended(move);
        continue;
      }
      told_.erase(move.volume);
      if (show_progress) show(move);
    }
  }

 private:
  static json::object event_of(std::string_view event, const volume::MoveReport& move) {
    return {{"event", event},
            {"volume", move.volume},
            {"bytes_total", move.bytes_total},
            {"bytes_left", move.bytes_left},
            {"bytes_on_wire", move.bytes_on_wire},
            {"rounds", move.rounds},
            {"seconds", move.seconds},
            {"downtime_seconds", move.downtime_seconds}};
  }
  void show(const volume::MoveReport& move) {
    Progress progress;
    progress.title = move.volume;
    progress.bytes_total = move.bytes_total;
    progress.bytes_left = move.bytes_left;
    progress.bytes_on_wire = move.bytes_on_wire;
    progress.seconds = move.seconds;
    progress.bytes_per_second = meters_[move.volume].update(move.seconds, move.bytes_on_wire);
    if (move.rounds > 0) progress.note = fmt::format("round {}", move.rounds);
    console_.progress(progress);
    console_.event(event_of("move", move));
  }
  void tell_ended(const volume::MoveReport& move) {
    console_.event(event_of(move.handed_over ? "moved" : "copied", move));
    console_.line(fmt::format(
        "{} {}: {} in {:.2f} s ({}/s), {} on the wire, {} dirty round{}, downtime {:.0f} ms",
        move.handed_over ? "moved" : "copied", move.volume, host::text_of_bytes(move.bytes_total), move.seconds,
        host::text_of_bytes(static_cast<std::uint64_t>(static_cast<double>(move.bytes_on_wire) / std::max(move.seconds, 1e-3))),
        host::text_of_bytes(move.bytes_on_wire), move.rounds, move.rounds == 1 ? "" : "s",
        std::ceil(move.downtime_seconds * 1000)));
  }

  Console& console_;
  HostRun& run_;
  std::map<std::string, RateMeter> meters_;
  std::set<std::string> told_;
  double shown_ = 0;
};

Result<json::object> memory_volume(const std::string& text, std::uint64_t block_size) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return fail(ErrorKind::usage, "--memory " + text + ": write NAME=SIZE");
  Result<std::uint64_t> size = host::parse_byte_count(text.substr(equals + 1));
  if (!size) return fail(std::move(size).error().within("--memory " + text));
  return json::object{{"name", text.substr(0, equals)}, {"kind", "memory"}, {"size", *size}, {"block_size", block_size}};
}

// What the command line does not say, the configuration does.
void fill_in(ListenOptions& options, const host::Config& config) {
  const auto note = [&](bool said, const char* key) {
    if (said) options.given.push_back(fmt::format("`{}` of the configuration", key));
  };
  note(!config.listen.empty(), "listen");
  note(!config.nbd.empty(), "nbd");
  note(!config.metrics.empty(), "metrics");
  note(config.insecure, "insecure");
  if (options.listen.empty()) options.listen = config.listen;
  if (options.nbd.empty()) options.nbd = config.nbd;
  if (options.metrics.empty()) options.metrics = config.metrics;
  options.insecure = options.insecure || config.insecure;
}

Result<json::object> serve_request(const ServeOptions& options, const host::Config& config) {
  Result<std::uint32_t> block_size = host::parse_block_size(options.listen.block_size);
  if (!block_size) return fail(std::move(block_size).error());
  json::array volumes;
  for (const std::string& file : options.files) {
    std::error_code ignored;  // opening says what is wrong
    if (file.find('/') == std::string::npos && !std::filesystem::exists(file, ignored)) {
      volumes.push_back(json::object{{"name", file}, {"block_size", *block_size}});  // of the data directory
      continue;
    }
    const std::string path = std::filesystem::absolute(file, ignored).string();
    json::object volume{{"path", path}, {"kind", options.base.empty() ? "file" : "overlay"}, {"block_size", *block_size}};
    if (!options.base.empty()) volume["base"] = std::filesystem::absolute(options.base, ignored).string();
    volumes.push_back(std::move(volume));
  }
  for (const host::VolumeRequest& volume : config.volumes) volumes.push_back(host::VolumeVerbs::describe(volume));
  for (const std::string& text : options.memory) {
    Result<json::object> volume = memory_volume(text, *block_size);
    if (!volume) return fail(std::move(volume).error());
    volumes.push_back(std::move(*volume));
  }
  return json::object{{"verb", "serve"}, {"volumes", std::move(volumes)}};
}

void tell_served(Console& console, const json::object& result) {
  for (const json::value& element : result.at("volumes").get_array()) {
    const json::object& volume = element.get_object();
    const std::string name(volume.at("name").get_string());
    const json::value* how = volume.if_contains("how");
    if (how == nullptr) continue;
    if (*how == "adopted" && volume.at("kind") == "device")
      console.line(fmt::format("what is on {} is volume {} now: its ownership record is in the data directory",
                               std::string(volume.at("path").get_string()), name));
    else if (*how == "adopted")
      console.line(fmt::format("{} is a volume now: its ownership record is {}.own beside it", name, name));
    if (*how == "made" && volume.at("kind") == "memory")
      console.line(fmt::format("{} lives in memory and dies with this process", name));
  }
}

int serve_by_running_host(Console& console, const std::string& data, const json::object& request) {
  Result<json::object> result = host::ask_running_host(data, request, nullptr);
  if (!result) return console.error(result.error());
  tell_served(console, *result);
  console.line("the running process serves it, where it listens already");
  console.event(*result);
  return kDone;
}

}  // namespace

Result<host::ProcessOptions> ListenOptions::process_options() const {
  host::ProcessOptions out;
  if (listen != "none") {
    Result<net::Address> at = net::Address::parse(listen.empty() ? "127.0.0.1" : listen, host::kHostPort);
    if (!at) return fail(ErrorKind::usage, std::move(at).error().within("--listen").message());
    out.listen = *at;
  }
  for (const std::string& text : nbd) {
    if (text == "none") {
      out.listen_for_nbd = false;
      continue;
    }
    Result<net::Address> at = net::Address::parse(text, host::kNbdPort);
    if (!at) return fail(ErrorKind::usage, std::move(at).error().within("--nbd").message());
    out.nbd.push_back(*at);
  }
  if (!metrics.empty()) {
    Result<net::Address> at = net::Address::parse(metrics, 0);
    if (!at) return fail(ErrorKind::usage, std::move(at).error().within("--metrics").message());
    out.metrics = *at;
  }
  out.insecure = insecure;
  out.blocks_folder = blocks;

  using volume::AfterHandover;
  using volume::LegacyHandOver;
  using volume::WriteForm;
  const auto chosen_form = choose<WriteForm>(
      "--form", form,
      {{"raw", WriteForm::raw}, {"rle", WriteForm::rle}, {"gzip", WriteForm::gzip}, {"zeroes", WriteForm::zeroes}});
  if (!chosen_form) return fail(chosen_form.error());
  const auto chosen_hand_over = choose<LegacyHandOver>(
      "--hand-over", hand_over,
      {{"none", LegacyHandOver::none}, {"completed", LegacyHandOver::completed}, {"custom", LegacyHandOver::custom}});
  if (!chosen_hand_over) return fail(chosen_hand_over.error());
  const auto chosen_after = choose<AfterHandover>("--after-handover", after_handover,
                                                  {{"relay", AfterHandover::relay}, {"refuse", AfterHandover::refuse}});
  if (!chosen_after) return fail(chosen_after.error());
  if (!(max_downtime_seconds > 0)) return fail(ErrorKind::usage, "--max-downtime must be above 0 seconds");
  out.host.source.forms.form = *chosen_form;
  out.host.source.config.legacy = *chosen_hand_over;
  out.host.source.config.rounds_max = rounds;
  out.host.source.config.dirty_threshold_blocks = dirty_threshold_blocks;
  out.host.source.config.downtime_max = Duration::seconds(max_downtime_seconds);
  out.host.source.config.downtime_max_ever =
      std::max(out.host.source.config.downtime_max_ever, out.host.source.config.downtime_max);
  out.host.after_handover = *chosen_after;
  out.host.trusted_hosts = trust_hosts;
  out.host.early_reads = early_reads;
  return out;
}

std::optional<Error> ListenOptions::objection_of_running_process(const std::string& data) const {
  if (given.empty()) return std::nullopt;
  std::string list;
  for (const std::string& name : given) list += (list.empty() ? "" : &name == &given.back() ? " and " : ", ") + name;
  return Error(ErrorKind::usage,
               fmt::format("a process has {} already, and keeps what it was started with: leave out {}, or end that process and "
                           "start anew, or choose another directory by --data (one volume gets one more NBD address by `godwit "
                           "volume export NAME --add ADDRESS`)",
                           data, list));
}

void say_ready(Console& console, HostRun& run, std::string_view verb) {
  host::VolumeProcess& process = run.process();
  json::object event{{"event", "ready"}, {"verb", verb}, {"pid", ::getpid()}};
  std::string text = "ready:";
  if (const auto at = process.host_address()) {
    event["listen"] = at->text();
    text += " hosts at " + at->text();
  }
  json::array nbd;
  for (const net::Address& at : process.nbd_addresses()) {
    nbd.push_back(json::string(at.text()));
    text += fmt::format("{} NBD at {}", text.ends_with(':') ? "" : ",", at.text());
  }
  event["nbd"] = std::move(nbd);
  if (const auto at = process.metrics_address()) {
    event["metrics"] = at->text();
    text += ", metrics at " + at->text();
  }
  json::array volumes;
  for (volume::Volume* v : process.host().volumes()) volumes.push_back(json::string(v->name()));
  event["volumes"] = std::move(volumes);
  console.event(event);
  console.line(text);
}

int run_serve(const Settings& settings, ServeOptions options) {
  Console console(settings.json);
  Result<host::Config> config = options.config.empty() ? host::Config{} : host::read_config(options.config);
  if (!config) return console.error(config.error());
  fill_in(options.listen, *config);
  Result<json::object> request = serve_request(options, *config);
  if (!request) return console.error(request.error());
  Result<host::ProcessOptions> process_options = options.listen.process_options();
  if (!process_options) return console.error(process_options.error());
  Result<std::unique_ptr<HostRun>> started = HostRun::start(settings, std::move(*process_options));
  if (!started && started.error().kind() == ErrorKind::busy) {
    if (Result<std::string> data = settings.data_path(); data && host::is_host_running(*data)) {
      if (std::optional<Error> objection = options.listen.objection_of_running_process(*data)) return console.error(*objection);
      return serve_by_running_host(console, *data, *request);
    }
  }
  if (!started) return console.error(started.error());
  HostRun& run = **started;
  MoveWatch watch(console, run);

  const auto serving = [&](Result<json::object> result) {
    if (!result) return run.end(console.error(result.error()));
    if (run.process().host().volumes().empty())
      return run.end(console.error(
          Error(ErrorKind::usage, "there is nothing to serve: name a file, or make a volume by `godwit volume create`")));
    tell_served(console, *result);
    run.process().host().resume_dialling();
    say_ready(console, run, "serve");
    run.every(0.1, [&] { watch.look(); });
    run.before_end([&] { watch.look(); });
    if (options.listen.once)
      run.every(kOnceLookSeconds, [&, looks = 0]() mutable {
        const volume::VolumeHost& host = run.process().host();
        if (!host.is_done_serving()) return;
        if (host.links() == 0 || ++looks * kOnceLookSeconds >= kOnceLastWordSeconds) run.end(kDone);
      });
  };
  const auto start = [&] { run.verbs().perform(*request, nullptr, serving); };
  // What is named, or all that this host has.
  const bool all = request->at("volumes").get_array().empty();
  run.loop().post([&] { all ? run.verbs().open_all(start) : start(); });
  return run.run();
}

}  // namespace godwit::cli
