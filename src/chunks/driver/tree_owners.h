// Who owns a node: names of users and groups by number and back, remembered; and the shift that maps a container's range of
// numbers onto an archive's. Not thread-safe. Source: casync.md 6.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/error.h"

namespace godwit::chunks {

// Asks the system's name service, each name and number once.
class OwnerNames {
 public:
  // Empty where nobody has this number.
  const std::string& user(std::uint64_t uid);
  const std::string& group(std::uint64_t gid);
  std::optional<std::uint64_t> uid(const std::string& name);
  std::optional<std::uint64_t> gid(const std::string& name);

 private:
  std::unordered_map<std::uint64_t, std::string> users_;
  std::unordered_map<std::uint64_t, std::string> groups_;
  std::unordered_map<std::string, std::optional<std::uint64_t>> uids_;
  std::unordered_map<std::string, std::optional<std::uint64_t>> gids_;
};

// The archive holds (id - shift) modulo range.
struct UidShift {
  std::uint64_t shift = 0;
  std::uint64_t range = 0;  // 0: all 2^32

  // ErrorKind::invalid for an owner below the shift.
  Result<std::uint64_t> to_archive(std::uint64_t id) const;
  std::uint64_t from_archive(std::uint64_t id) const;
};

}  // namespace godwit::chunks
