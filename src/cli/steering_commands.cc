#include "cli/steering_commands.h"

#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <boost/json/array.hpp>

#include "cli/host_run.h"
#include "host/json_fields.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace json = boost::json;

namespace {

enum class Alone : bool { no, yes };  // whether a verb makes sense where no process is running

Result<json::object> perform_alone(const Settings& settings, const json::object& request) {
  host::ProcessOptions options;
  options.listen_for_nbd = false;
  Result<std::unique_ptr<HostRun>> started = HostRun::start(settings, std::move(options));
  if (!started) return fail(std::move(started).error());
  HostRun& run = **started;
  Result<json::object> answer = fail(ErrorKind::cancelled, "interrupted");
  run.loop().post([&] {
    run.verbs().perform(request, nullptr, [&](Result<json::object> result) {
      answer = std::move(result);
      run.end(kDone);
    });
  });
  (void)run.run();  // the answer says how it went
  return answer;
}

Result<json::object> ask(const Settings& settings, const json::object& request, Alone alone) {
  Result<std::string> data = settings.data_path();
  if (!data) return fail(std::move(data).error());
  if (alone == Alone::yes && !host::is_host_running(*data)) return perform_alone(settings, request);
  return host::ask_running_host(*data, request, nullptr);
}

std::string absolute(const std::string& path) {
  std::error_code ignored;  // using it says what is wrong
  return path.empty() ? "" : std::filesystem::absolute(path, ignored).lexically_normal().string();
}

std::string text_at(const json::object& object, std::string_view key) {
  host::JsonFields fields(object);
  return escaped(fields.text(key, ""));
}

// Columns of a table, as wide as their widest cell.
std::string table_of(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += (text.empty() ? "" : "\n") + line;
  }
  return text;
}

std::vector<std::string> row_of(const json::object& volume) {
  host::JsonFields fields(volume);
  std::string note = text_at(volume, "clients");
  if (volume.contains("blocks"))
    note += fmt::format(", {} of {} blocks here", fields.number("blocks_present", 0), fields.number("blocks", 0));
  for (const std::string& at : fields.texts("nbd")) note += ", NBD at " + at;
  if (const std::uint64_t forks = fields.number("forks", 0); forks > 0)
    note += fmt::format(", {} other histor{} that fork{} from its own", forks, forks == 1 ? "y" : "ies", forks == 1 ? "s" : "");
  if (volume.contains("problem")) note = text_at(volume, "problem");
  if (const json::value* peer = volume.if_contains("peer");
      peer != nullptr && peer->is_object() && text_at(volume, "state") != "OWNED")
    note += fmt::format(", peer {} at {}", text_at(peer->get_object(), "name"), text_at(peer->get_object(), "address"));
  return {text_at(volume, "name"), text_at(volume, "state"), host::text_of_bytes(fields.number("size", 0)),
          text_at(volume, "kind"), note};
}

std::string volumes_text(const json::object& answer) {
  std::vector<std::vector<std::string>> rows{{"NAME", "STATE", "SIZE", "KIND", "CLIENTS"}};
  for (const json::value& volume : answer.at("volumes").get_array()) rows.push_back(row_of(volume.get_object()));
  return rows.size() == 1 ? "no volumes" : table_of(rows);
}

std::string moves_text(const json::object& answer) {
  std::string text;
  for (const json::value& element : answer.at("moves").get_array()) {
    host::JsonFields fields(element.get_object());
    const std::string name = escaped(fields.text("volume"));
    if (fields.flag("handed_over"))
      text += fmt::format("\nmoved {}: {} on the wire in {:.1f} s, {} rounds, downtime {:.0f} ms", name,
                          host::text_of_bytes(fields.number("bytes_on_wire")), fields.real("seconds", 0), fields.number("rounds"),
                          fields.real("downtime_seconds", 0) * 1000);
    else
      text +=
          fmt::format("\nsending {}: {} left, {} on the wire, round {}", name, host::text_of_bytes(fields.number("bytes_left")),
                      host::text_of_bytes(fields.number("bytes_on_wire")), fields.number("rounds"));
  }
  for (const json::value& element : answer.at("pulls").get_array()) {
    host::JsonFields fields(element.get_object());
    text += fmt::format("\npulling from {}: {}, {} left {}", escaped(fields.text("from")), fields.text("state"),
                        host::text_of_bytes(fields.number("bytes_left")), escaped(fields.text("text", "")));
  }
  return text;
}

std::string status_text(const json::object& answer) {
  host::JsonFields fields(answer);
  std::string text =
      fmt::format("host {} (start {}), data in {}", fields.text("host"), fields.number("boot"), fields.text("data"));
  if (answer.contains("listen")) text += "\nhosts at " + fields.text("listen");
  for (const std::string& at : fields.texts("nbd")) text += "\nNBD at " + at;
  if (answer.contains("metrics")) text += "\nmetrics at " + fields.text("metrics");
  return text + "\n" + volumes_text(answer) + moves_text(answer);
}

}  // namespace

int run_create(const Settings& settings, const CreateOptions& options) {
  Console console(settings.json);
  json::object request{{"verb", "create"}, {"name", options.name}, {"folder", absolute(options.folder)}};
  if (!options.kind.empty()) request["kind"] = options.kind;
  if (!options.size.empty()) {
    Result<std::uint64_t> size = host::parse_byte_count(options.size);
    if (!size) return console.error(size.error());
    request["size"] = *size;
  }
  Result<std::uint32_t> block_size = host::parse_block_size(options.block_size);
  if (!block_size) return console.error(block_size.error());
  request["block_size"] = *block_size;
  if (!options.base.empty()) request["base"] = absolute(options.base);
  if (!options.device.empty()) request["device"] = absolute(options.device);
  if (!options.from_file.empty()) request["content"] = absolute(options.from_file);
  const Alone alone = options.kind == "memory" ? Alone::no : Alone::yes;
  Result<json::object> answer = ask(settings, request, alone);
  if (!answer) return console.error(answer.error());
  console.event(*answer);
  host::JsonFields fields(*answer);
  console.line(fmt::format("made volume {}: {} {}", fields.text("name", ""), host::text_of_bytes(fields.number("size", 0)),
                           fields.text("path", "in memory")));
  return kDone;
}

int run_list(const Settings& settings, const NameOptions& options) {
  Console console(settings.json);
  Result<json::object> answer = ask(settings, {{"verb", "list"}, {"folder", absolute(options.folder)}}, Alone::yes);
  if (!answer) return console.error(answer.error());
  console.event(*answer);
  console.line(volumes_text(*answer));
  return kDone;
}

int run_remove(const Settings& settings, const NameOptions& options) {
  Console console(settings.json);
  Result<json::object> answer =
      ask(settings, {{"verb", "remove"}, {"name", options.name}, {"folder", absolute(options.folder)}, {"yes", options.yes}},
          Alone::yes);
  if (!answer) return console.error(answer.error());
  console.event(*answer);
  const bool kept = host::JsonFields(*answer).flag("record_kept");
  const bool on_device = answer->contains("device");
  console.line(fmt::format("removed volume {}{}{}", options.name,
                           on_device ? "; what is on " + text_at(*answer, "device") + " stays" : "",
                           kept ? "; its record stays, because other hosts had the volume too, and says that it is gone" : ""));
  return kDone;
}

int run_cancel(const Settings& settings, const NameOptions& options) {
  Console console(settings.json);
  Result<json::object> answer =
      ask(settings, {{"verb", "cancel"}, {"name", options.name}, {"folder", absolute(options.folder)}}, Alone::yes);
  if (!answer) return console.error(answer.error());
  console.event(*answer);
  std::string text = fmt::format("cancelled the move of volume {}: it is {} here now", options.name, text_at(*answer, "state"));
  if (const json::value* peer = answer->if_contains("peer");
      host::JsonFields(*answer).flag("untold") && peer != nullptr && peer->is_object())
    text += fmt::format("; {} at {} is told as soon as a process of this host reaches it", text_at(peer->get_object(), "name"),
                        text_at(peer->get_object(), "address"));
  console.line(text);
  return kDone;
}

int run_status(const Settings& settings, const NameOptions& options) {
  Console console(settings.json);
  Result<json::object> answer = ask(settings, {{"verb", "status"}}, Alone::no);
  if (!answer) return console.error(answer.error());
  if (!options.name.empty()) {
    json::array& volumes = answer->at("volumes").get_array();
    for (auto it = volumes.begin(); it != volumes.end();)
      it = text_at(it->get_object(), "name") == options.name ? it + 1 : volumes.erase(it);
    if (volumes.empty()) return console.error(Error(ErrorKind::not_found, "the running process has no volume " + options.name));
  }
  console.event(*answer);
  console.line(status_text(*answer));
  return kDone;
}

int run_export(const Settings& settings, const ExportOptions& options) {
  Console console(settings.json);
  if (options.add.empty() == options.drop.empty())
    return console.error(Error(ErrorKind::usage, "say one of --add ADDRESS and --drop ADDRESS"));
  json::object request{{"verb", "export"}, {"name", options.name}};
  request[options.add.empty() ? "drop" : "add"] = options.add.empty() ? options.drop : options.add;
  Result<json::object> answer = ask(settings, request, Alone::no);
  if (!answer) return console.error(answer.error());
  console.event(*answer);
  host::JsonFields fields(*answer);
  console.line(fmt::format("volume {} is {} at {}", options.name, options.add.empty() ? "no longer offered" : "offered",
                           fields.text(options.add.empty() ? "dropped" : "added", "")));
  return kDone;
}

}  // namespace godwit::cli
