#include "sim/recorded_session.h"

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "base/cursor.h"
#include "base/random.h"

namespace godwit::sim {
namespace {

namespace json = boost::json;

constexpr std::size_t kHeaderSize = 12;

Result<std::string> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorKind::not_found, "open " + path.string());
  return std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
}

Result<std::vector<RecordedFrame>> parse_trace(ConstBytes bytes) {
  std::vector<RecordedFrame> frames;
  Cursor in(bytes);
  while (!in.at_end()) {
    const char direction = static_cast<char>(in.u8());
    const ConstBytes frame = in.take(in.u32_le());
    if (!in.ok() || frame.size() < kHeaderSize) return fail(ErrorKind::truncated, "a trace that ends within a frame");
    if (direction != '<' && direction != '>') return fail(ErrorKind::invalid, "a frame without a direction");
    Cursor header(frame);
    RecordedFrame recorded;
    recorded.from_source = direction == '>';
    recorded.device = header.u32_le();
    recorded.tx = header.u32_le();
    if (header.u32_le() != frame.size() - kHeaderSize) return fail(ErrorKind::invalid, "a frame that lies about its length");
    recorded.bytes = to_bytes(frame);
    frames.push_back(std::move(recorded));
  }
  return frames;
}

// The functions below throw what Boost.JSON throws when something is missing; read_recorded_session turns it into an error.

std::uint64_t number(const json::object& object, std::string_view key) {
  return object.at(key).to_number<std::uint64_t>();
}

std::string text(const json::object& object, std::string_view key) {
  return std::string(object.at(key).as_string());
}

Sha256 hash(const json::object& object, std::string_view key) {
  const Result<Bytes> bytes = from_hex(text(object, key));
  Sha256 value{};
  if (!bytes || bytes->size() != value.size()) throw std::runtime_error("no SHA-256: " + std::string(key));
  std::copy(bytes->begin(), bytes->end(), value.begin());
  return value;
}

RecordedContent content(const json::object& object) {
  RecordedContent made;
  made.seed = number(object, "seed");
  if (const json::array* fill = object.at("fill").if_array()) {
    for (const json::value& entry : *fill) {
      const json::array& parts = entry.as_array();
      made.fill.push_back({.offset = parts.at(0).to_number<std::uint64_t>(),
                           .length = parts.at(1).to_number<std::uint64_t>(),
                           .byte = parts.at(2).to_number<std::uint8_t>()});
    }
  }
  return made;
}

RecordedDevice device(const json::object& object) {
  RecordedDevice made;
  made.id = static_cast<std::uint32_t>(number(object, "id"));
  made.name = text(object, "name");
  made.size = number(object, "size");
  made.block_size = static_cast<std::uint32_t>(number(object, "block_size"));
  made.schema = text(object, "schema");
  made.initial = content(object.at("initial_content").as_object());
  if (const json::value* base = object.if_contains("base_content")) made.base = content(base->as_object());
  made.initial_sha256 = hash(object, "initial_sha256");
  made.source_sha256 = hash(object, "source_sha256");
  made.destination_sha256 = hash(object, "destination_sha256");
  made.source_equals_destination = object.at("source_equals_destination").as_bool();
  return made;
}

RecordedOperation operation(const json::object& object) {
  RecordedOperation made;
  made.when = text(object, "when");
  made.at_source = text(object, "side") == "source";
  made.op = text(object, "op");
  made.device = static_cast<std::uint32_t>(number(object, "device"));
  made.offset = number(object, "offset");
  made.length = number(object, "length");
  if (object.contains("seed")) made.seed = number(object, "seed");
  if (object.contains("sha256_read")) made.sha256_read = hash(object, "sha256_read");
  if (object.contains("n")) made.n = number(object, "n");
  return made;
}

RecordedSession describe(const json::object& object) {
  RecordedSession session;
  session.name = text(object, "name");
  session.level = text(object, "level");
  session.form = text(object, "form");
  session.order = text(object, "order");
  session.concurrency = number(object, "concurrency");
  for (const json::value& entry : object.at("devices").as_array()) session.devices.push_back(device(entry.as_object()));
  for (const json::value& entry : object.at("operations").as_array()) session.operations.push_back(operation(entry.as_object()));
  return session;
}

Result<RecordedSession> join(const std::string& description, ConstBytes trace) {
  try {
    const json::object object = json::parse(description).as_object();
    RecordedSession session = describe(object);
    Result<std::vector<RecordedFrame>> frames = parse_trace(trace);
    if (!frames) return fail(std::move(frames).error());
    session.frames = std::move(*frames);
    const json::object& counts = object.at("frames").as_object();
    const auto sent = static_cast<std::uint64_t>(std::count_if(session.frames.begin(), session.frames.end(),
                                                               [](const RecordedFrame& frame) { return frame.from_source; }));
    if (sent != number(counts, "source_to_destination") ||
        session.frames.size() - sent != number(counts, "destination_to_source"))
      return fail(ErrorKind::invalid, "another number of frames than described");
    if (sha256(trace) != hash(object, "trace_sha256")) return fail(ErrorKind::corrupt, "another trace than described");
    return session;
  } catch (const std::exception& problem) {
    return fail(ErrorKind::invalid, problem.what());
  }
}

}  // namespace

Bytes recorded_bytes(std::uint64_t seed, std::uint64_t size) {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  Random random(seed);
  Bytes bytes(size);
  for (std::uint64_t at = 0; at < size; at += kWord) {
    const std::uint64_t word = random.next();
    std::memcpy(bytes.data() + at, &word, std::min<std::uint64_t>(kWord, size - at));
  }
  return bytes;
}

Bytes RecordedContent::make(std::uint64_t size) const {
  Bytes bytes = recorded_bytes(seed, size);
  for (const Fill& entry : fill) {
    const auto first = std::min(entry.offset, size), last = std::min(entry.offset + entry.length, size);
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(first), bytes.begin() + static_cast<std::ptrdiff_t>(last),
              static_cast<std::byte>(entry.byte));
  }
  return bytes;
}

const RecordedDevice* RecordedSession::find_device(std::uint32_t id) const {
  const auto found = std::find_if(devices.begin(), devices.end(), [&](const RecordedDevice& one) { return one.id == id; });
  return found == devices.end() ? nullptr : &*found;
}

Bytes RecordedSession::stream(bool from_source) const {
  Bytes joined;
  for (const RecordedFrame& frame : frames)
    if (frame.from_source == from_source) append(joined, frame.bytes);
  return joined;
}

Result<RecordedSession> read_recorded_session(const std::filesystem::path& folder, const std::string& name) {
  const Result<std::string> description = read_file(folder / (name + ".json"));
  if (!description) return fail(description.error());
  const Result<std::string> trace = read_file(folder / (name + ".trace"));
  if (!trace) return fail(trace.error());
  Result<RecordedSession> session = join(*description, as_bytes(*trace));
  if (!session) return fail(std::move(session).error().within("recorded session " + name));
  return session;
}

std::vector<std::string> recorded_session_names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error))
    if (entry.path().extension() == ".trace") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace godwit::sim
