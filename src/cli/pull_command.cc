#include "cli/pull_command.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "host/json_fields.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace json = boost::json;

namespace {

json::object pull_request(const PullOptions& options, const Console& console) {
  json::array names;
  for (const std::string& name : options.names) names.push_back(json::string(name));
  json::object request{{"verb", "pull"},
                       {"from", options.from},
                       {"names", std::move(names)},
                       {"as", options.rename_to},
                       {"memory", options.memory},
                       {"take", options.take},
                       {"post_copy", options.post_copy},
                       {"wait_seconds", options.wait_seconds},
                       {"progress_seconds", console.progress_seconds()}};
  if (!options.into.empty()) {
    std::error_code ignored;  // opening it says what is wrong
    request["into"] = std::filesystem::absolute(options.into, ignored).string();
  }
  if (!options.base.empty()) {
    std::error_code ignored;
    request["base"] = std::filesystem::absolute(options.base, ignored).string();
  }
  if (!options.device.empty()) {
    std::error_code ignored;
    request["device"] = std::filesystem::absolute(options.device, ignored).lexically_normal().string();
  }
  return request;
}

// The lines of a pull for people.
class PullTale {
 public:
  explicit PullTale(Console& console) : console_(console) {}

  void tell(const json::object& line) {
    console_.event(line);
    host::JsonFields fields(line);
    const std::string state = fields.text("state", "");
    const std::string text = fields.text("text", "");
    if (state == "dialling" && !text.empty() && text != last_text_) console_.line(last_text_ = text);
    if (state != "copying") return;
    Progress progress;
    progress.title = titles(line);
    progress.bytes_total = fields.number("bytes_total", 0);
    progress.bytes_left = fields.number("bytes_left", 0);
    progress.bytes_on_wire = fields.number("bytes_on_wire", 0);
    progress.seconds = fields.real("seconds", 0);
    progress.bytes_per_second = meter_.update(progress.seconds, progress.bytes_on_wire);
    if (progress.bytes_total > 0) console_.progress(progress);
  }

  void finish(const json::object& line) {
    host::JsonFields fields(line);
    const double seconds = fields.real("seconds", 0);
    const std::uint64_t wire = fields.number("bytes_on_wire", 0);
    console_.line(
        fmt::format("{} {}: {} in {:.2f} s ({}/s), {} on the wire", fields.text("state", ""), titles(line),
                    host::text_of_bytes(fields.number("bytes_total", 0)), seconds,
                    host::text_of_bytes(static_cast<std::uint64_t>(static_cast<double>(wire) / std::max(seconds, 1e-3))),
                    host::text_of_bytes(wire)));
  }

 private:
  static std::string titles(const json::object& line) {
    std::string titles;
    if (const json::value* volumes = line.if_contains("volumes"); volumes != nullptr && volumes->is_array())
      for (const json::value& volume : volumes->get_array())
        titles += (titles.empty() ? "" : ", ") + std::string(volume.at("name").get_string());
    return titles;
  }

  Console& console_;
  RateMeter meter_;
  std::string last_text_;
};

int pull_by_running_host(Console& console, const std::string& data, const json::object& request) {
  PullTale tale(console);
  Result<json::object> result = host::ask_running_host(data, request, [&](const json::object& line) { tale.tell(line); });
  if (!result) return console.error(result.error());
  tale.finish(*result);
  return kDone;
}

bool are_all_told(const json::object& result, host::VolumeProcess& process) {
  for (const json::value& element : result.at("volumes").get_array()) {
    volume::Volume* v = process.host().find(std::string(element.at("name").get_string()));
    if (v != nullptr && !process.host().is_told(*v)) return false;
  }
  return true;
}

}  // namespace

int run_pull(const Settings& settings, const PullOptions& options) {
  Console console(settings.json);
  const json::object request = pull_request(options, console);
  Result<host::ProcessOptions> process_options = options.listen.process_options();
  if (!process_options) return console.error(process_options.error());
  process_options->listen_elsewhere_if_busy = options.listen.listen.empty();
  Result<std::unique_ptr<HostRun>> started = HostRun::start(settings, std::move(*process_options));
  if (!started && started.error().kind() == ErrorKind::busy)
    if (Result<std::string> data = settings.data_path(); data && host::is_host_running(*data)) {
      if (std::optional<Error> objection = options.listen.objection_of_running_process(*data)) return console.error(*objection);
      return pull_by_running_host(console, *data, request);
    }
  if (!started) return console.error(started.error());
  HostRun& run = **started;
  run.set_interrupted_code(kFailed);
  PullTale tale(console);

  const auto ended = [&](Result<json::object> result) {
    if (!result) return run.end(console.error(result.error()));
    run.set_interrupted_code(kDone);
    tale.finish(*result);
    json::object event = *result;
    event["event"] = "pulled";
    console.event(event);
    if (options.listen.once)
      run.every(0.02, [&run, owned = std::move(*result)] {
        if (are_all_told(owned, run.process())) run.end(kDone);
      });
  };
  run.loop().post([&] {
    run.verbs().open_all([&] {
      run.process().host().resume_dialling();
      say_ready(console, run, "pull");
      run.verbs().perform(request, [&](const json::object& line) { tale.tell(line); }, ended);
    });
  });
  return run.run();
}

}  // namespace godwit::cli
