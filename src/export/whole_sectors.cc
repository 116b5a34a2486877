#include "export/whole_sectors.h"

#include <algorithm>
#include <utility>

#include "store/request_range.h"

namespace godwit::exports {

namespace {

constexpr std::string_view kTitle = "the device";

}  // namespace

std::uint64_t WholeSectors::there(std::uint64_t offset, std::uint64_t length) const {
  return offset < device_.size() ? std::min(length, device_.size() - offset) : 0;
}

void WholeSectors::answer(store::Done<void> done, Result<void> result) {
  scheduler_.post([done = std::move(done), result = std::move(result)]() mutable { done(std::move(result)); });
}

void WholeSectors::read(std::uint64_t offset, MutableBytes into, store::Done<void> done) {
  if (std::optional<Error> wrong = store::range_error("read", kTitle, offset, into.size(), size()))
    return answer(std::move(done), fail(std::move(*wrong)));
  const std::uint64_t here = there(offset, into.size());
  std::ranges::fill(into.subspan(here), std::byte{0});
  if (here == 0) return answer(std::move(done), {});
  device_.read(offset, into.first(here), std::move(done));
}

void WholeSectors::extents(std::uint64_t offset, std::uint64_t length, store::Done<std::vector<store::Extent>> done) {
  if (std::optional<Error> wrong = store::range_error("look at", kTitle, offset, length, size()))
    return scheduler_.post([done = std::move(done), wrong = std::move(*wrong)]() mutable { done(fail(std::move(wrong))); });
  // Its answer may end early; who wants to know more asks again, and learns of the rest when nothing of the device is left.
  if (const std::uint64_t here = there(offset, length); here > 0 || length == 0)
    return device_.extents(offset, here, std::move(done));
  scheduler_.post([done = std::move(done), offset, length]() mutable {
    done(std::vector<store::Extent>{{.offset = offset, .length = length, .hole = false, .zero = true}});
  });
}

void WholeSectors::prefetch(std::uint64_t offset, std::uint64_t length) {
  if (const std::uint64_t here = there(offset, length); here > 0) device_.prefetch(offset, here);
}

void WholeSectors::write(std::uint64_t offset, ConstBytes from, store::Durability, store::Done<void> done) {
  answer(std::move(done), fail(*store::change_error("write", kTitle, offset, from.size(), *this)));
}

void WholeSectors::zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode, store::Durability, store::Done<void> done) {
  answer(std::move(done), fail(*store::change_error("zero", kTitle, offset, length, *this)));
}

void WholeSectors::discard(std::uint64_t offset, std::uint64_t length, store::Done<void> done) {
  answer(std::move(done), fail(*store::change_error("discard", kTitle, offset, length, *this)));
}

void WholeSectors::flush(store::Done<void> done) {
  answer(std::move(done), {});
}

}  // namespace godwit::exports
