// Archives for tests: records by hand, a tree in memory, and an archive taken apart into such a tree.
#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/cursor.h"
#include "chunks/core/archive_decoder.h"
#include "chunks/core/archive_encoder.h"

namespace godwit::chunks::samples {

inline Bytes golden(const std::string& name) {
  std::ifstream in(std::string(GODWIT_TESTDATA "/archive/") + name, std::ios::binary);
  GODWIT_CHECK(in.good());
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return to_bytes(as_bytes(text));
}

inline Bytes record(RecordType type, ConstBytes body) {
  Bytes out;
  Writer writer(out);
  writer.u64_le(kRecordHeadSize + body.size());
  writer.u64_le(static_cast<std::uint64_t>(type));
  writer.bytes(body);
  return out;
}

inline Bytes numbers(std::vector<std::uint64_t> values) {
  Bytes out;
  Writer writer(out);
  for (const std::uint64_t value : values) writer.u64_le(value);
  return out;
}

inline Bytes text_with_zero(std::string_view text) {
  Bytes out = to_bytes(as_bytes(text));
  out.push_back(std::byte{0});
  return out;
}

inline Bytes entry(std::uint32_t mode, FeatureFlags features = kDefaultArchiveFlags) {
  return record(RecordType::entry, numbers({features, mode, 0, 0, 0, 1'000'000'007}));
}

// What an encoder is to see or a decoder gave: nodes with their bytes, folders with their end.
struct Event {
  enum class Kind { enter, leave } kind = Kind::enter;
  std::string name;
  Node node;
  Bytes payload;

  friend bool operator==(const Event&, const Event&) = default;
};

class MemoryTree final : public ArchiveTree {
 public:
  explicit MemoryTree(std::vector<Event> events) : events_(std::move(events)) {}

  Result<Step> next() override {
    GODWIT_CHECK(next_ < events_.size());
    current_ = &events_[next_++];
    taken_ = 0;
    return current_->kind == Event::Kind::enter ? Step::enter : Step::leave;
  }
  const Node& node() const override { return current_->node; }
  std::string_view name() const override { return current_->name; }
  Result<void> read_payload(MutableBytes into) override {
    GODWIT_CHECK(into.size() <= current_->payload.size() - taken_);
    std::copy_n(current_->payload.begin() + static_cast<std::ptrdiff_t>(taken_), into.size(), into.begin());
    taken_ += into.size();
    return {};
  }

 private:
  std::vector<Event> events_;
  std::size_t next_ = 0;
  const Event* current_ = nullptr;
  std::size_t taken_ = 0;
};

// Everything that a decoder says of `archive`, given to it in pieces of `piece` bytes; the leaves of what is no folder are left
// out.
inline Result<std::vector<Event>> decode_all(ConstBytes archive, std::size_t piece, ArchiveDecoderOptions options = {}) {
  ArchiveDecoder decoder(options);
  std::vector<Event> events;
  ConstBytes input;
  bool is_leaf = false;
  for (;;) {
    const Result<ArchiveDecoder::Step> step = decoder.next(input);
    if (!step) return fail(step.error());
    switch (*step) {
      case ArchiveDecoder::Step::need_input:
        GODWIT_CHECK(input.empty());
        input = archive.first(std::min(piece, archive.size()));
        archive = archive.subspan(input.size());
        if (!input.empty()) break;
        if (Result<void> finished = decoder.finish({}); !finished) return fail(std::move(finished).error());
        return events;
      case ArchiveDecoder::Step::enter:
        events.push_back({Event::Kind::enter, std::string(decoder.name()), decoder.node(), {}});
        is_leaf = !decoder.node().is_directory();
        break;
      case ArchiveDecoder::Step::payload: append(events.back().payload, decoder.payload()); break;
      case ArchiveDecoder::Step::leave:
        if (!is_leaf) events.push_back({Event::Kind::leave, {}, {}, {}});
        is_leaf = false;
        break;
      case ArchiveDecoder::Step::end: {
        Bytes rest = to_bytes(input);
        append(rest, archive);
        if (Result<void> finished = decoder.finish(rest); !finished) return fail(std::move(finished).error());
        return events;
      }
    }
  }
}

inline Result<Bytes> encode_all(std::vector<Event> events, std::size_t piece) {
  MemoryTree tree(std::move(events));
  ArchiveEncoder encoder(tree);
  Bytes out;
  Bytes buffer(piece);
  for (;;) {
    const Result<std::size_t> count = encoder.read(buffer);
    if (!count) return fail(count.error());
    append(out, ConstBytes(buffer).first(*count));
    if (*count < piece) return out;
  }
}

}  // namespace godwit::chunks::samples
