#include "chunks/core/remote_locator.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace godwit::chunks {

namespace {

bool is_scheme(std::string_view text) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.'; };
  return !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0 && std::ranges::all_of(text, fits);
}

bool is_host(std::string_view text) {
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    if (at == 0) return false;
    text.remove_prefix(at + 1);
  }
  // A word that begins with '-' would be an option of ssh.
  return !text.empty() && text.front() != '-' && text.find('/') == std::string_view::npos;
}

Result<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const Result<Bytes> byte = from_hex(text.substr(i + 1, 2));
    if (!byte || byte->size() != 1 || byte->front() == std::byte{0})
      return fail(ErrorKind::usage, fmt::format("\"{}\" is no file URL: bad percent sign", escaped(text)));
    out += std::to_integer<char>(byte->front());
    i += 2;
  }
  return out;
}

}  // namespace

std::string RemoteLocator::scheme() const {
  return kind == Kind::url ? path.substr(0, path.find(':')) : "";
}

Result<RemoteLocator> parse_remote_locator(std::string_view text) {
  if (text.empty()) return fail(ErrorKind::usage, "an empty path");
  if (text.find('\0') != std::string_view::npos) return fail(ErrorKind::usage, "a path with a zero byte");
  RemoteLocator as_path{RemoteLocator::Kind::path, "", std::string(text)};
  if (text.starts_with('/') || text.starts_with("./") || text == "." || text.starts_with("../") || text == "..") return as_path;
  const std::size_t separator = text.find("://");
  if (separator != std::string_view::npos && is_scheme(text.substr(0, separator))) {
    if (text.substr(0, separator) != "file") return RemoteLocator{RemoteLocator::Kind::url, "", std::string(text)};
    std::string_view rest = text.substr(separator + 3);
    if (rest.starts_with("localhost/")) rest.remove_prefix(9);
    if (!rest.starts_with('/')) return fail(ErrorKind::usage, fmt::format("\"{}\": a file URL of another host", escaped(text)));
    Result<std::string> path = percent_decoded(rest);
    if (!path) return fail(std::move(path).error());
    return RemoteLocator{RemoteLocator::Kind::path, "", std::move(*path)};
  }
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos && colon + 1 < text.size() && is_host(text.substr(0, colon)))
    return RemoteLocator{RemoteLocator::Kind::ssh, std::string(text.substr(0, colon)), std::string(text.substr(colon + 1))};
  return as_path;
}

RemoteLocator default_store_of(const RemoteLocator& index) {
  RemoteLocator store = index;
  if (store.kind == RemoteLocator::Kind::url) store.path.resize(std::min(store.path.find_first_of("?;"), store.path.size()));
  const std::size_t slash = store.path.rfind('/');
  store.path = (slash == std::string::npos ? "" : store.path.substr(0, slash + 1)) + "default.castr";
  return store;
}

Result<std::vector<std::string>> remote_command(HelloFlags wants, const RemoteOperands& operands,
                                                const RemotePrograms& programs) {
  const RemoteLocator* peer = nullptr;
  for (const RemoteLocator* operand : {operands.archive, operands.index, operands.store}) {
    if (operand == nullptr) continue;
    if (peer != nullptr && (peer->kind != operand->kind || peer->host != operand->host || peer->scheme() != operand->scheme()))
      return fail(ErrorKind::usage, "one peer can not serve places at two hosts");
    peer = operand;
  }
  if (peer == nullptr || peer->kind == RemoteLocator::Kind::path) return fail(ErrorKind::usage, "no remote is named");
  std::vector<std::string> words;
  if (peer->kind == RemoteLocator::Kind::ssh)
    words = {programs.ssh, peer->host, programs.casync};
  else
    words = {programs.protocols + "/casync-" + peer->scheme()};
  words.insert(words.end(), operands.options.begin(), operands.options.end());
  const auto word = [](const RemoteLocator* operand) { return operand == nullptr ? std::string("-") : operand->path; };
  words.insert(words.end(), {(wants & hello::kPushes) != 0 ? "push" : "pull", "-", word(operands.archive), word(operands.index)});
  words.push_back(wants == hello::kPushIndex && operands.store == nullptr ? default_store_of(*operands.index).path
                                                                          : word(operands.store));
  return words;
}

}  // namespace godwit::chunks
