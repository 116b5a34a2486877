// The byte stream of an archive as a sequence of steps: a node is entered, its bytes pass by, it is left. Input may be split
// anywhere. Everything the format says is checked on the way, also what the original programs let pass: order and duplicates of
// names, the tables of contents, bytes behind the end; an error says at which offset. Memory: a node's head, and for every open
// folder what its table of contents will be compared with; never more than a small multiple of the input seen.
// The states and what each takes: the table in src/chunks/README.md, "Archive decoder". Source: casync.md 6, 8.2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chunks/core/archive_goodbye.h"
#include "chunks/core/archive_node.h"

namespace godwit::chunks {

struct ArchiveDecoderOptions {
  // Where in the archive the first byte lies; for messages, and for node_offset().
  std::uint64_t start_offset = 0;
  // The stream is one node cut out of an archive, of any type, and ends at this offset. A whole archive's top is a folder, and
  // where it ends it says itself.
  std::optional<std::uint64_t> end_offset;
  // Leave attribute values as they stand, also where desync seems to have added a zero byte: to read one node again of which it
  // is known from the whole archive.
  bool keep_values = false;
};

class ArchiveDecoder {
 public:
  enum class Step {
    need_input,  // all was taken, more is needed
    enter,       // node() and name() are known
    payload,     // payload() holds the next bytes of the file entered last
    leave,       // of the node entered last, or of its folder, when that has ended
    end,         // the top node was left; input stays where the archive ends
  };

  explicit ArchiveDecoder(ArchiveDecoderOptions options = {});

  // Takes from the front of `input` what one step needs. After an error it gives the same error again.
  // ErrorKind::invalid for bytes that break the format, unsupported for features nobody knows, limit for absurd sizes.
  Result<Step> next(ConstBytes& input);
  // To be called where the input ends: ErrorKind::truncated unless the last step was `end`, ErrorKind::invalid when bytes are
  // left.
  Result<void> finish(ConstBytes rest) const;

  // Of the node entered last, until the next next().
  const Node& node() const { return node_; }
  std::string_view name() const { return name_; }  // empty for the top
  // Its records as they stood, ENTRY to SYMLINK, DEVICE or the head of PAYLOAD.
  ConstBytes node_head() const { return node_head_; }
  std::uint64_t node_offset() const { return node_offset_; }  // of ENTRY
  // Borrowed from next()'s input.
  ConstBytes payload() const { return payload_; }
  // How much of the file entered last has not passed by yet; and not to see it: the next input begins behind it.
  std::uint64_t payload_left() const { return payload_left_; }
  void skip_payload();
  // Behind what was taken so far.
  std::uint64_t offset() const { return offset_; }
  // Of every ENTRY; 0 before the first.
  FeatureFlags features() const { return features_.value_or(0); }
  // How many attribute values lost a zero byte that desync adds (casync.md 8.2); worth a warning.
  std::uint64_t repaired_value_count() const { return repaired_value_count_; }
  std::size_t depth() const { return folders_.size(); }
  // Of where it is, from the top, as messages show it: the node, or the folder between two; "." for the top.
  std::string path() const;

 private:
  enum class State { node, attributes, payload, child, goodbye, leave, end };

  struct Folder {
    std::uint64_t entry_offset = 0;
    std::uint64_t name_offset = 0;
    std::string name;
    std::string last_name;
    std::vector<ArchiveChild> children;
  };

  Result<Step> advance(ConstBytes& input);
  Result<Step> take_record(ConstBytes& input);
  bool gather(ConstBytes& input, Bytes& into, std::size_t size);
  // Whether the record at the front may stand here and have its size.
  Result<void> admit() const;
  void end_record();
  bool ends_node_head() const;
  Result<void> take_entry(ConstBytes body);
  Result<void> take_file_name(ConstBytes body);
  Result<void> repair_values();
  Result<Step> enter_node();
  Result<void> begin_goodbye();
  Step take_payload(ConstBytes& input);
  Result<Step> take_goodbye(ConstBytes& input);
  Step leave_node();
  Error error_here(ErrorKind kind, const std::string& what) const;

  ArchiveDecoderOptions options_;
  State state_ = State::node;
  std::vector<Folder> folders_;
  Bytes record_head_;  // of the record at the front
  RecordType type_{};
  std::uint64_t size_ = 0;  // of the whole record
  bool is_admitted_ = false;
  Bytes body_;  // of the record at the front
  Bytes node_head_;
  std::uint64_t offset_ = 0;
  Node node_;
  std::string name_;
  std::uint64_t node_offset_ = 0;
  std::uint64_t name_offset_ = 0;
  unsigned attribute_rank_ = 0;  // of the last attribute record: they only go up
  std::uint64_t payload_left_ = 0;
  ConstBytes payload_;
  Bytes goodbye_;  // as it must be
  std::size_t goodbye_taken_ = 0;
  std::optional<FeatureFlags> features_;
  bool values_end_in_zero_ = true;
  std::uint64_t repaired_value_count_ = 0;
  std::optional<Error> failed_;
};

}  // namespace godwit::chunks
