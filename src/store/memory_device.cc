#include "store/memory_device.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <type_traits>
#include <vector>

#include <fmt/format.h>

#include "base/bitset.h"
#include "store/request_range.h"

namespace godwit::store {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kGranule = 64 * 1024;  // allocation is known this finely
constexpr std::string_view kName = "memory";
constexpr std::size_t kExtentsMax = 4096;

// Which pages of our own were ever touched, by the kernel's word (pagemap(5): present or swapped). An untouched one is zero and
// can be told so without touching it. Without /proc every page counts as touched.
class TouchedPages {
 public:
  TouchedPages() : descriptor_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}
  ~TouchedPages() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  TouchedPages(const TouchedPages&) = delete;
  TouchedPages& operator=(const TouchedPages&) = delete;

  // One granule's pages, at `start`, page-aligned.
  bool any(const std::byte* start, std::uint64_t length) const {
    std::uint64_t entries[kGranule / kPage];
    const std::size_t bytes = divide_up(length, kPage) * sizeof(std::uint64_t);
    const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(start) / kPage * sizeof(std::uint64_t));
    if (descriptor_ < 0 || ::pread(descriptor_, entries, bytes, at) != static_cast<ssize_t>(bytes)) return true;
    constexpr std::uint64_t kPresentOrSwapped = std::uint64_t{3} << 62;
    return std::any_of(entries, entries + bytes / sizeof(std::uint64_t), [](std::uint64_t e) { return e & kPresentOrSwapped; });
  }

 private:
  int descriptor_;
};

class MemoryDevice final : public BlockDevice {
 public:
  MemoryDevice(std::byte* bytes, std::uint64_t size, net::Scheduler& scheduler)
      : bytes_(bytes), size_(size), scheduler_(scheduler), allocated_(divide_up(size, kGranule)) {}
  ~MemoryDevice() override {
    *alive_ = false;
    if (size_ > 0) ::munmap(bytes_, size_);
  }

  std::uint64_t size() const override { return size_; }
  bool read_only() const override { return false; }
  MutableBytes memory() override { return {bytes_, size_}; }
  bool punches() const override { return true; }

  void read(std::uint64_t offset, MutableBytes into, Done<void> done) override {
    if (auto error = range_error("read", kName, offset, into.size(), size_)) return finish(std::move(done), fail(*error));
    std::copy_n(bytes_ + offset, into.size(), into.data());
    finish(std::move(done), {});
  }

  void write(std::uint64_t offset, ConstBytes from, Durability, Done<void> done) override {
    if (auto error = change_error("write", kName, offset, from.size(), *this)) return finish(std::move(done), fail(*error));
    std::copy_n(from.data(), from.size(), bytes_ + offset);
    allocate(offset, from.size());
    finish(std::move(done), {});
  }

  void flush(Done<void> done) override { finish(std::move(done), {}); }

  void zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability, Done<void> done) override {
    if (auto error = change_error("zero", kName, offset, length, *this)) return finish(std::move(done), fail(*error));
    if (mode == ZeroMode::may_punch) {
      punch(offset, length);
    } else {
      std::fill_n(bytes_ + offset, length, std::byte{0});
      allocate(offset, length);
    }
    finish(std::move(done), {});
  }

  void discard(std::uint64_t offset, std::uint64_t length, Done<void> done) override {
    if (auto error = change_error("discard", kName, offset, length, *this)) return finish(std::move(done), fail(*error));
    punch(offset, length);
    finish(std::move(done), {});
  }

  void extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<Extent>> done) override {
    if (auto error = range_error("extents of", kName, offset, length, size_)) return finish(std::move(done), fail(*error));
    finish(std::move(done), find_extents(offset, length));
  }

 private:
  template <class T>
  void finish(Done<T> done, std::type_identity_t<Result<T>> result) {
    scheduler_.post([alive = alive_, done = std::move(done), result = std::move(result)]() mutable {
      if (*alive) done(std::move(result));
    });
  }

  void allocate(std::uint64_t offset, std::uint64_t length) {
    if (length > 0) allocated_.set_range(offset / kGranule, divide_up(offset + length, kGranule));
  }

  void punch(std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t end = offset + length;
    const std::uint64_t first_page = std::min(divide_up(offset, kPage) * kPage, end);
    const std::uint64_t last_page = std::max(end == size_ ? end : end / kPage * kPage, first_page);
    std::fill(bytes_ + offset, bytes_ + first_page, std::byte{0});
    std::fill(bytes_ + last_page, bytes_ + end, std::byte{0});
    if (last_page > first_page && ::madvise(bytes_ + first_page, last_page - first_page, MADV_DONTNEED) != 0)
      std::fill(bytes_ + first_page, bytes_ + last_page, std::byte{0});
    const std::uint64_t first_granule = divide_up(offset, kGranule);
    const std::uint64_t last_granule = end == size_ ? allocated_.size() : end / kGranule;
    if (first_granule < last_granule) allocated_.clear_range(first_granule, last_granule);
  }

  bool is_allocated(std::uint64_t granule) {
    if (allocated_.test(granule)) return true;
    const std::uint64_t start = granule * kGranule;
    const std::uint64_t length = std::min(kGranule, size_ - start);
    if (!touched_.any(bytes_ + start, length) || is_zero({bytes_ + start, length})) return false;
    allocated_.set(granule);
    return true;
  }

  std::vector<Extent> find_extents(std::uint64_t offset, std::uint64_t length) {
    std::vector<Extent> found;
    const std::uint64_t end = offset + length;
    while (offset < end) {
      const bool hole = !is_allocated(offset / kGranule);
      const std::uint64_t stop = std::min(end, (offset / kGranule + 1) * kGranule);
      if (!found.empty() && found.back().hole == hole) {
        found.back().length += stop - offset;
      } else {
        if (found.size() == kExtentsMax) break;
        found.push_back({offset, stop - offset, hole, hole});
      }
      offset = stop;
    }
    return found;
  }

  std::byte* const bytes_;
  const std::uint64_t size_;
  net::Scheduler& scheduler_;
  Bitset allocated_;  // granules written through write() or found written through memory()
  TouchedPages touched_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what is posted is dropped with the device
};

}  // namespace

void touch_ahead(MutableBytes memory) {
  if (memory.empty()) return;
  const std::size_t before = reinterpret_cast<std::uintptr_t>(memory.data()) % kPage;
  // Kernels before 5.14 do not know it; then the first touch costs what it costs.
  (void)::madvise(memory.data() - before, memory.size() + before, MADV_POPULATE_WRITE);
}

Result<std::unique_ptr<BlockDevice>> make_memory_device(std::uint64_t size, net::Scheduler& scheduler) {
  void* bytes = nullptr;
  if (size > 0) {
    bytes = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED)
      return fail(ErrorKind::no_space, Error::from_errno(errno, fmt::format("{} bytes of memory", size)).message());
  }
  return std::make_unique<MemoryDevice>(static_cast<std::byte*>(bytes), size, scheduler);
}

}  // namespace godwit::store
