// Recorded sessions of the original Silo, as tests use them: the frames of a `.trace` file and what the `.json` file beside it
// says about the devices and about what was done to them. The format is described in src/volume/core/testdata/silo/README.md.
// Knows frames only as far as their header goes; what their bodies mean is for the code under test to say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"

namespace godwit::sim {

struct RecordedFrame {
  bool from_source = false;
  std::uint32_t device = 0;
  std::uint32_t tx = 0;
  Bytes bytes;  // header and body

  ConstBytes body() const { return ConstBytes(bytes).subspan(12); }
};

// What a device held at first, by the rule that makes it.
struct RecordedContent {
  struct Fill {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::uint8_t byte = 0;
  };
  std::uint64_t seed = 0;
  std::vector<Fill> fill;

  Bytes make(std::uint64_t size) const;
};

struct RecordedDevice {
  std::uint32_t id = 0;
  std::string name;
  std::uint64_t size = 0;
  std::uint32_t block_size = 0;
  std::string schema;
  RecordedContent initial;
  std::optional<RecordedContent> base;  // of a device with a shared base image
  Sha256 initial_sha256{};
  Sha256 source_sha256{};       // at the end
  Sha256 destination_sha256{};  // at the end
  bool source_equals_destination = false;
};

struct RecordedOperation {
  std::string when;
  bool at_source = false;
  std::string op;  // "write", "local read", "local write", "ReadAt packet to the source", …
  std::uint32_t device = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::optional<std::uint64_t> seed;  // of a write's bytes
  std::optional<Sha256> sha256_read;  // of what a read returned
  std::optional<std::uint64_t> n;     // how many bytes the source said a ReadAt had
};

struct RecordedSession {
  std::string name;
  std::string level;  // "group" or "devinfo"
  std::string form;   // of data writes
  std::string order;  // what repeats when the same is run again
  std::uint64_t concurrency = 0;
  std::vector<RecordedDevice> devices;
  std::vector<RecordedOperation> operations;  // in the order they were done
  std::vector<RecordedFrame> frames;          // of both directions, in the order a relay passed them on

  const RecordedDevice* find_device(std::uint32_t id) const;
  // All frames of one direction, joined.
  Bytes stream(bool from_source) const;
};

// Reads NAME.trace and NAME.json. An error when they do not fit each other (number of frames, checksum).
Result<RecordedSession> read_recorded_session(const std::filesystem::path& folder, const std::string& name);

// The names of all sessions in a folder, sorted.
std::vector<std::string> recorded_session_names(const std::filesystem::path& folder);

// The first `size` bytes that a seed gives: contents of devices and of writes are made of them.
Bytes recorded_bytes(std::uint64_t seed, std::uint64_t size);

}  // namespace godwit::sim
