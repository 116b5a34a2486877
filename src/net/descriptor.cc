#include "net/descriptor.h"

#include <cerrno>

namespace godwit::net {

void Descriptor::reset(int number) {
  const int old = std::exchange(number_, number);
  if (old < 0) return;
  const int error = errno;
  (void)::close(old);  // the number is free again whatever it says
  errno = error;
}

}  // namespace godwit::net
