#include "host/device_copy.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace godwit::host {

namespace {

constexpr std::size_t kPieceBytes = 1 << 20;

struct Copying {
  std::unique_ptr<store::BlockDevice> from;
  store::BlockDevice& to;
  store::Done<void> done;
  std::uint64_t at = 0;
  Bytes buffer;

  void finish(Result<void> result) { std::exchange(done, nullptr)(std::move(result)); }
};

void copy_next(std::shared_ptr<Copying> copying) {
  Copying& c = *copying;
  if (c.at == c.from->size()) return c.to.flush([copying](Result<void> flushed) { copying->finish(std::move(flushed)); });
  c.from->extents(c.at, c.from->size() - c.at, [copying](Result<std::vector<store::Extent>> extents) {
    if (!extents) return copying->finish(fail(std::move(extents).error()));
    const store::Extent& first = extents->front();
    Copying& now = *copying;
    if (first.zero) {
      now.at += first.length;
      return copy_next(copying);
    }
    const MutableBytes part = MutableBytes(now.buffer).first(std::min<std::uint64_t>(first.length, now.buffer.size()));
    now.from->read(now.at, part, [copying, part](Result<void> read) {
      if (!read) return copying->finish(std::move(read));
      copying->to.write(copying->at, part, store::Durability::written, [copying, part](Result<void> written) {
        if (!written) return copying->finish(std::move(written));
        copying->at += part.size();
        copy_next(copying);
      });
    });
  });
}

}  // namespace

void copy_device(std::unique_ptr<store::BlockDevice> from, store::BlockDevice& to, store::Done<void> done) {
  copy_next(std::make_shared<Copying>(Copying{std::move(from), to, std::move(done), 0, Bytes(kPieceBytes)}));
}

}  // namespace godwit::host
