// What can go wrong: a kind the caller can act on and a sentence that gains context on its way up. Bytes from a peer or a disk
// end here, never in an assertion (base/check.h). Exceptions do not cross our interfaces.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace godwit {

enum class ErrorKind : std::uint8_t {
  invalid,      // bytes or arguments that break a rule
  truncated,    // the input ends before what it promises
  unsupported,  // well-formed, but not something this version does
  corrupt,      // a checksum or hash does not match
  limit,        // a named limit is met
  not_found,
  exists,
  refused,  // policy or state forbids it
  busy,
  io,  // the operating system or the disk said no
  no_space,
  read_only,
  connection_lost,  // the other side is gone; an export closes the client's connection on it
  shut_down,        // the volume is not served here any more (ESHUTDOWN)
  moved,            // not executed here: the volume has gone on (relay connections only)
  cancelled,
  timed_out,
  usage,  // the command line is wrong: exit code 2
};

std::string_view name_of(ErrorKind kind);

class Error {
 public:
  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}

  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }

  // The same error, told from one level up: "index a.caibx: bad magic".
  Error within(std::string_view context) &&;
  Error within(std::string_view context) const&;

  // An error from errno, with what was tried: "open a.img: No such file or directory".
  static Error from_errno(int number, std::string_view what);

 private:
  ErrorKind kind_;
  std::string message_;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorKind kind, std::string message) {
  return std::unexpected<Error>(Error(kind, std::move(message)));
}
inline std::unexpected<Error> fail(Error error) {
  return std::unexpected<Error>(std::move(error));
}

}  // namespace godwit
