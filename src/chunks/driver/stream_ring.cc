#include "chunks/driver/stream_ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace godwit::chunks {

Result<std::unique_ptr<StreamRing>> StreamRing::make(std::size_t size_min) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t size = (size_min + page - 1) / page * page;
  const int memory = ::memfd_create("godwit-chunks", MFD_CLOEXEC);
  if (memory < 0) return fail(Error::from_errno(errno, "memory for a stream"));
  Result<std::unique_ptr<StreamRing>> ring = fail(ErrorKind::io, "");
  void* const both = ::mmap(nullptr, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (::ftruncate(memory, static_cast<off_t>(size)) != 0 || both == MAP_FAILED) {
    ring = fail(Error::from_errno(errno, "memory for a stream"));
  } else {
    auto* const base = static_cast<std::byte*>(both);
    ring = std::unique_ptr<StreamRing>(new StreamRing(base, size));
    for (std::byte* const half : {base, base + size})
      if (::mmap(half, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, 0) == MAP_FAILED)
        ring = fail(Error::from_errno(errno, "memory for a stream"));
  }
  ::close(memory);
  return ring;
}

StreamRing::~StreamRing() {
  ::munmap(base_, 2 * size_);
}

}  // namespace godwit::chunks
