// A name of one's own for an NBD device of the kernel, /dev/disk say. The link is made by udev, with the rule that casync's
// package has: it asks `casync udev NODE`, which finds the name in a file /run/casync/nbdN, for as long as the process that wrote
// it lives (it holds a lock on the file). Source: what casync and its rule were seen to do; docs/guide/images.md says it for
// users.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "store/file_lock.h"

namespace godwit::exports {

inline constexpr const char* kNbdNamesFolder = "/run/casync";

// "disk" of "/dev/disk"; nothing where that can not be such a name: other folders, bytes that udev does not take, a device's own
// name.
std::optional<std::string> nbd_name_in(std::string_view node);

class NbdName {
 public:
  // Makes the folder if it is not there. To be called before the kernel announces the device. ErrorKind::busy where another
  // process has a name for it.
  static Result<NbdName> set(const std::string& folder, unsigned number, const std::string& name);
  // Takes the name back, and the folder where nothing else is in it.
  ~NbdName();
  NbdName(NbdName&& other) noexcept;
  NbdName& operator=(NbdName&&) = delete;

 private:
  NbdName(std::string folder, std::string path, store::FileLock lock);
  std::string folder_, path_;  // path_ is empty once it was moved from
  store::FileLock lock_;
};

// What a process that lives calls the device; nothing where there is none.
std::optional<std::string> nbd_name_of(const std::string& folder, unsigned number);

}  // namespace godwit::exports
