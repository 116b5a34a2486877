#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace godwit {

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::truncated: return "truncated";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::corrupt: return "corrupt";
    case ErrorKind::limit: return "limit";
    case ErrorKind::not_found: return "not found";
    case ErrorKind::exists: return "exists";
    case ErrorKind::refused: return "refused";
    case ErrorKind::busy: return "busy";
    case ErrorKind::io: return "input/output";
    case ErrorKind::no_space: return "no space";
    case ErrorKind::read_only: return "read-only";
    case ErrorKind::connection_lost: return "connection lost";
    case ErrorKind::shut_down: return "shut down";
    case ErrorKind::moved: return "moved";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::timed_out: return "timed out";
    case ErrorKind::usage: return "usage";
  }
  return "unknown";
}

Error Error::within(std::string_view context) && {
  std::string told(context);
  told += ": ";
  told += message_;
  return Error(kind_, std::move(told));
}

Error Error::within(std::string_view context) const& {
  return Error(*this).within(context);
}

static ErrorKind kind_of_errno(int number) {
  switch (number) {
    case ENOENT: return ErrorKind::not_found;
    case EEXIST: return ErrorKind::exists;
    case ENOSPC:
    case EDQUOT: return ErrorKind::no_space;
    case EROFS: return ErrorKind::read_only;
    case EACCES:
    case EPERM: return ErrorKind::refused;
    case EBUSY:
    case EAGAIN: return ErrorKind::busy;
    case EINVAL: return ErrorKind::invalid;
    case EOPNOTSUPP: return ErrorKind::unsupported;
    case EPIPE:
    case ECONNRESET:
    case ECONNREFUSED:
    case ECONNABORTED: return ErrorKind::connection_lost;
    case ETIMEDOUT: return ErrorKind::timed_out;
    case ESHUTDOWN: return ErrorKind::shut_down;
    case ECANCELED: return ErrorKind::cancelled;
    default: return ErrorKind::io;
  }
}

Error Error::from_errno(int number, std::string_view what) {
  return Error(kind_of_errno(number), std::string(what) + ": " + std::generic_category().message(number));
}

}  // namespace godwit
