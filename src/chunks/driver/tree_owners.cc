#include "chunks/driver/tree_owners.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <vector>

#include <fmt/format.h>

namespace godwit::chunks {
namespace {

constexpr std::size_t kBufferSize = std::size_t{16} << 10;
constexpr std::size_t kBufferSizeMax = std::size_t{1} << 20;

// Calls one of the get…_r functions with a growing buffer; null when there is no such entry.
template <class Entry, class Call>
const Entry* look_up(std::vector<char>& buffer, Entry& entry, Call call) {
  for (buffer.resize(kBufferSize);; buffer.resize(buffer.size() * 2)) {
    Entry* found = nullptr;
    const int error = call(&entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < kBufferSizeMax) continue;
    return error == 0 ? found : nullptr;
  }
}

}  // namespace

const std::string& OwnerNames::user(std::uint64_t uid) {
  const auto [place, is_new] = users_.try_emplace(uid);
  if (is_new) {
    std::vector<char> buffer;
    passwd entry{};
    const passwd* found = look_up(buffer, entry, [&](passwd* e, char* b, std::size_t s, passwd** f) {
      return ::getpwuid_r(static_cast<uid_t>(uid), e, b, s, f);
    });
    if (found != nullptr) place->second = found->pw_name;
  }
  return place->second;
}

const std::string& OwnerNames::group(std::uint64_t gid) {
  const auto [place, is_new] = groups_.try_emplace(gid);
  if (is_new) {
    std::vector<char> buffer;
    ::group entry{};
    const ::group* found = look_up(buffer, entry, [&](::group* e, char* b, std::size_t s, ::group** f) {
      return ::getgrgid_r(static_cast<gid_t>(gid), e, b, s, f);
    });
    if (found != nullptr) place->second = found->gr_name;
  }
  return place->second;
}

std::optional<std::uint64_t> OwnerNames::uid(const std::string& name) {
  const auto [place, is_new] = uids_.try_emplace(name);
  if (is_new) {
    std::vector<char> buffer;
    passwd entry{};
    const passwd* found = look_up(
        buffer, entry, [&](passwd* e, char* b, std::size_t s, passwd** f) { return ::getpwnam_r(name.c_str(), e, b, s, f); });
    if (found != nullptr) place->second = found->pw_uid;
  }
  return place->second;
}

std::optional<std::uint64_t> OwnerNames::gid(const std::string& name) {
  const auto [place, is_new] = gids_.try_emplace(name);
  if (is_new) {
    std::vector<char> buffer;
    ::group entry{};
    const ::group* found = look_up(
        buffer, entry, [&](::group* e, char* b, std::size_t s, ::group** f) { return ::getgrnam_r(name.c_str(), e, b, s, f); });
    if (found != nullptr) place->second = found->gr_gid;
  }
  return place->second;
}

Result<std::uint64_t> UidShift::to_archive(std::uint64_t id) const {
  if (id < shift) return fail(ErrorKind::invalid, fmt::format("owner {} lies below --uid-shift={}", id, shift));
  return range == 0 ? id - shift : (id - shift) % range;
}

std::uint64_t UidShift::from_archive(std::uint64_t id) const {
  const std::uint64_t inside = range == 0 ? id : id % range;
  return static_cast<std::uint32_t>(inside + shift);
}

}  // namespace godwit::chunks
