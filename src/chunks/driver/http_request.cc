#include "chunks/driver/http_request.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/bytes.h"
#include "chunks/driver/chunk_store.h"
#include "net/http_server.h"

namespace godwit::chunks {

namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<std::string> decoded_path(std::string_view path) {
  std::string out;
  for (std::size_t i = 0; i < path.size(); ++i) {
    char c = path[i];
    if (c == '%') {
      const Result<Bytes> byte = from_hex(path.substr(i + 1, 2));
      if (!byte || byte->size() != 1) return std::nullopt;
      c = std::to_integer<char>(byte->front());
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return std::nullopt;
    out += c;
  }
  return out;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void take_header(std::string_view name, std::string_view value, FileRequest& request) {
  if (equal_ignoring_case(name, "connection")) {
    if (equal_ignoring_case(value, "close")) request.keep_alive = false;
    if (equal_ignoring_case(value, "keep-alive")) request.keep_alive = true;
  } else if (equal_ignoring_case(name, "range")) {
    request.range = value;
  } else if (equal_ignoring_case(name, "if-range")) {
    request.if_range = value;
  } else if (equal_ignoring_case(name, "if-none-match")) {
    request.if_none_match += (request.if_none_match.empty() ? "" : ", ") + std::string(value);
  } else if (equal_ignoring_case(name, "transfer-encoding") || (equal_ignoring_case(name, "content-length") && value != "0")) {
    // A method that is refused anyhow is refused for what it is; either way its body would be taken for the next request.
    if (request.refusal == 0) request.refusal = 400;
    request.keep_alive = false;
  }
}

}  // namespace

FileRequest parse_file_request(std::string_view head) {
  FileRequest request;
  const net::HttpHead line = net::parse_http_head(head);
  request.refusal = line.refusal;
  request.is_head = line.request.method == "HEAD";
  const std::string_view first_line = head.substr(0, head.find("\r\n"));
  request.keep_alive = !first_line.ends_with("HTTP/1.0");
  for (std::size_t at = std::min(first_line.size() + 2, head.size()); at < head.size();) {
    const std::size_t end = std::min(head.find("\r\n", at), head.size());
    const std::string_view header = head.substr(at, end - at);
    at = end + 2;
    if (header.empty()) break;
    const std::size_t colon = header.find(':');
    if (colon == std::string_view::npos || colon == 0 || header.front() == ' ' || header.front() == '\t') {
      request.refusal = request.refusal == 0 ? 400 : request.refusal;
      break;
    }
    take_header(header.substr(0, colon), trimmed(header.substr(colon + 1)), request);
  }
  // After something that was not understood nobody knows where the next request begins.
  if (request.refusal != 0 && request.refusal != 405) request.keep_alive = false;
  if (request.refusal != 0) return request;
  const std::optional<std::string> path = decoded_path(line.request.path);
  if (!path || path->size() < 2) {
    request.refusal = path ? 404 : 400;
    return request;
  }
  request.path = path->substr(1);
  return request;
}

std::optional<ByteRange> parse_range(std::string_view range, std::uint64_t size) {
  if (!range.starts_with("bytes=") || range.find(',') != std::string_view::npos) return std::nullopt;
  range = trimmed(range.substr(6));
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::optional<std::uint64_t> first = number(range.substr(0, dash)), last = number(range.substr(dash + 1));
  if (dash == 0) {
    if (!last) return std::nullopt;
    const std::uint64_t length = std::min(*last, size);
    return ByteRange{size - length, length};
  }
  if (!first || (!last && dash + 1 != range.size()) || (last && *last < *first)) return std::nullopt;
  if (*first >= size) return ByteRange{};
  const std::uint64_t end = last && *last < size ? *last + 1 : size;
  return ByteRange{*first, end - *first};
}

bool names_tag(std::string_view list, std::string_view tag) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view one = trimmed(list.substr(0, comma));
    if (one.starts_with("W/")) one.remove_prefix(2);
    if (one == "*" || one == tag) return true;
    list.remove_prefix(comma == list.npos ? list.size() : comma + 1);
  }
  return false;
}

bool is_image_path(std::string_view path) {
  if (!store::check_blob_name(path)) return false;
  for (std::size_t at = 0; at < path.size(); at = path.find('/', at) == path.npos ? path.size() : path.find('/', at) + 1)
    if (path[at] == '.') return false;
  if (path.ends_with(".caibx") || path.ends_with(".caidx") || path.ends_with(".catar")) return true;
  const std::size_t name = path.rfind('/');
  if (name == path.npos) return false;
  const std::size_t folder = path.rfind('/', name == 0 ? 0 : name - 1);
  return parse_chunk_name(folder == path.npos ? path : path.substr(folder + 1)).has_value();
}

}  // namespace godwit::chunks
