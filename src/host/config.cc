// The only file that includes toml++.
#include "host/config.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "base/bytes.h"
#include "host/quantity.h"

namespace godwit::host {

namespace {

// One table, read key by key; the first thing that is wrong is kept.
class Table {
 public:
  Table(const toml::table& table, std::string file) : table_(table), file_(std::move(file)) {}

  std::string text(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr) return "";
    if (const auto value = node->value_exact<std::string>(); value && !value->empty()) return *value;
    wrong(*node, fmt::format("{} must be a text in quotes", key));
    return "";
  }
  bool flag(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr) return false;
    if (const auto value = node->value_exact<bool>()) return *value;
    wrong(*node, fmt::format("{} must be true or false", key));
    return false;
  }
  // A size as a text like "10GiB" or a number of bytes.
  template <class T, class Parse>
  void size(std::string_view key, T& into, Parse parse) {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const auto number = node->value_exact<std::int64_t>();
    const auto text = node->value_exact<std::string>();
    if (!number && !text) return wrong(*node, fmt::format("{} must be a size like \"10GiB\", or a number of bytes", key));
    const auto bytes = parse(text ? *text : std::to_string(*number));
    if (!bytes) return wrong(*node, bytes.error().message());
    into = *bytes;
  }
  std::vector<std::string> texts(std::string_view key) {
    const toml::node* node = take(key);
    if (node == nullptr) return {};
    std::vector<std::string> texts;
    const toml::array* array = node->as_array();
    for (std::size_t i = 0; array != nullptr && i < array->size(); ++i)
      if (const auto value = (*array)[i].value_exact<std::string>()) texts.push_back(*value);
    if (array == nullptr || texts.size() != array->size()) wrong(*node, fmt::format("{} must be a list of texts in quotes", key));
    return texts;
  }
  const toml::node* take(std::string_view key) {
    known_.emplace(key);
    return table_.get(key);
  }
  void wrong(const toml::node& where, std::string_view what) {
    if (!error_) error_ = Error(ErrorKind::usage, fmt::format("{}:{}: {}", file_, where.source().begin.line, what));
  }
  // Also when a key is left that nobody took.
  std::optional<Error> error() {
    for (const auto& [key, node] : table_)
      if (!known_.contains(std::string(key.str())))
        wrong(node, fmt::format("there is no setting \"{}\" here; known are: {}", escaped(key.str()), fmt::join(known_, ", ")));
    return error_;
  }

 private:
  const toml::table& table_;
  std::string file_;
  std::set<std::string, std::less<>> known_;
  std::optional<Error> error_;
};

std::string from_folder(const std::string& folder, const std::string& path) {
  return path.empty() ? "" : (std::filesystem::path(folder) / path).lexically_normal().string();
}

Result<VolumeRequest> read_volume(const toml::table& table, const std::string& folder, const std::string& file) {
  Table t(table, file);
  VolumeRequest request;
  request.name = t.text("name");
  const std::string path = from_folder(folder, t.text("path"));
  request.folder = from_folder(folder, t.text("folder"));
  const std::string kind = t.text("kind");
  t.size("size", request.size_bytes, parse_byte_count);
  t.size("block_size", request.block_size_bytes, parse_block_size);
  request.base = from_folder(folder, t.text("base"));
  request.device = from_folder(folder, t.text("device"));
  if (!path.empty()) {
    if (!request.name.empty() || !request.folder.empty()) t.wrong(table, "a volume has a path, or a name and perhaps a folder");
    request.name = std::filesystem::path(path).filename().string();
    request.folder = std::filesystem::path(path).parent_path().string();
  }
  if (!kind.empty()) {
    if (Result<VolumeKind> parsed = parse_volume_kind(kind); parsed)
      request.kind = *parsed;
    else
      t.wrong(*t.take("kind"), parsed.error().message());
  }
  if (kind.empty() && !request.device.empty()) request.kind = VolumeKind::device;
  if (Result<void> sound = volume::check_volume_name(request.name); !sound) t.wrong(table, sound.error().message());
  if (request.kind == VolumeKind::memory && request.size_bytes == 0) t.wrong(table, "a volume in memory needs a size");
  if (request.kind == VolumeKind::device && request.device.empty()) t.wrong(table, "a volume of kind device needs its device");
  if (request.kind == VolumeKind::device && !request.folder.empty())
    t.wrong(table, "the record of a volume on a device lies in the data directory: it has a name, and no path or folder");
  if (request.kind != VolumeKind::device && !request.device.empty()) t.wrong(table, "only a volume of kind device has a device");
  if (request.kind != VolumeKind::overlay && !request.base.empty()) t.wrong(table, "only an overlay has a base");
  if (std::optional<Error> error = t.error()) return fail(std::move(*error));
  return request;
}

}  // namespace

Result<Config> parse_config(std::string_view text, const std::string& folder, const std::string& name) {
  toml::table root;
  try {
    root = toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    return fail(ErrorKind::usage, fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
  }
  Table t(root, name);
  Config config;
  config.listen = t.text("listen");
  config.nbd = t.texts("nbd");
  config.metrics = t.text("metrics");
  config.insecure = t.flag("insecure");
  if (const toml::node* volumes = t.take("volume")) {
    const toml::array* array = volumes->as_array();
    if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
      t.wrong(*volumes, "volumes are written as [[volume]]");
    } else {
      for (const toml::node& node : *array) {
        Result<VolumeRequest> request = read_volume(*node.as_table(), folder, name);
        if (!request) return fail(std::move(request).error());
        if (std::ranges::find(config.volumes, request->name, &VolumeRequest::name) != config.volumes.end())
          t.wrong(node, "there is another volume " + request->name + " above");
        config.volumes.push_back(std::move(*request));
      }
    }
  }
  if (std::optional<Error> error = t.error()) return fail(std::move(*error));
  return config;
}

Result<Config> read_config(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return fail(ErrorKind::usage, fmt::format("the configuration {} can not be read", path));
  std::error_code ignored;  // the file was there just now
  return parse_config(text.str(), std::filesystem::absolute(path, ignored).parent_path().string(), path);
}

}  // namespace godwit::host
