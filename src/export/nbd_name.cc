#include "export/nbd_name.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "export/nbd_devices.h"

namespace godwit::exports {

namespace {

constexpr std::size_t kNameBytesMax = 255;
constexpr std::string_view kBytesBesideLettersAndDigits = "#+-.:=@_";  // that udev takes

std::string path_of(const std::string& folder, unsigned number) {
  return fmt::format("{}/nbd{}", folder, number);
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax && text != "." && text != ".." && !nbd_number_of(text) &&
         std::ranges::all_of(text, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  kBytesBesideLettersAndDigits.contains(c);
         });
}

}  // namespace

std::optional<std::string> nbd_name_in(std::string_view node) {
  constexpr std::string_view kFolder = "/dev/";
  if (!node.starts_with(kFolder) || !is_name(node.substr(kFolder.size()))) return std::nullopt;
  return std::string(node.substr(kFolder.size()));
}

NbdName::NbdName(std::string folder, std::string path, store::FileLock lock)
    : folder_(std::move(folder)), path_(std::move(path)), lock_(std::move(lock)) {}

NbdName::NbdName(NbdName&& other) noexcept
    : folder_(std::move(other.folder_)), path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}

NbdName::~NbdName() {
  if (path_.empty()) return;
  (void)::unlink(path_.c_str());   // what stays has no lock and counts for nothing
  (void)::rmdir(folder_.c_str());  // others may have names there
}

Result<NbdName> NbdName::set(const std::string& folder, unsigned number, const std::string& name) {
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return fail(Error::from_errno(errno, "make the folder " + folder));
  std::string path = path_of(folder, number);
  Result<store::FileLock> lock = store::FileLock::take(path);
  if (!lock) return fail(std::move(lock).error().within(fmt::format("call {} {}", nbd_node_of(number), name)));
  NbdName named(folder, std::move(path), std::move(*lock));
  std::ofstream file(named.path_, std::ios::trunc);
  file << name << '\n' << std::flush;
  if (!file) return fail(ErrorKind::io, fmt::format("{} can not be written", named.path_));
  return named;
}

std::optional<std::string> nbd_name_of(const std::string& folder, unsigned number) {
  const std::string path = path_of(folder, number);
  std::ifstream file(path);
  std::string name;
  if (!std::getline(file, name) || !is_name(name)) return std::nullopt;
  // Where the lock can be had, whoever wrote this is gone.
  const Result<store::FileLock> lock = store::FileLock::take(path);
  if (lock || lock.error().kind() != ErrorKind::busy) return std::nullopt;
  return name;
}

}  // namespace godwit::exports
