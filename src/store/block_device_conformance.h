// What every BlockDevice does, as one function for the tests of each implementation: give it a way to make a device and a way to
// let time pass. Only tests include this.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/random.h"
#include "store/block_device.h"

namespace godwit::store::conformance {

// Lets what is under way go on: `[&] { loop.run(); }` for an event loop, one step for a simulated world.
using Pump = std::function<void()>;

// Whether `condition` came true; gives up when pumping often did not help.
inline bool run_until(const Pump& pump, const std::function<bool()>& condition) {
  for (int i = 0; i < 1'000'000; ++i) {
    if (condition()) return true;
    pump();
  }
  return condition();
}

// Starts an asynchronous call and waits for its end; checks that the end does not come from inside the call.
template <class T, class Start>
Result<T> wait_for(const Pump& pump, Start start) {
  // Shared with the `done`: a call that never ends must not end later into this frame.
  auto result = std::make_shared<std::optional<Result<T>>>();
  start([result](Result<T> r) {
    EXPECT_FALSE(result->has_value()) << "`done` was called twice";
    result->emplace(std::move(r));
  });
  EXPECT_FALSE(result->has_value()) << "`done` was called from inside the call";
  if (!run_until(pump, [&] { return result->has_value(); })) return fail(ErrorKind::timed_out, "the call did not end");
  return std::move(**result);
}

// A device with each call made blocking.
class Blocking {
 public:
  Blocking(BlockDevice& device, Pump pump) : device_(device), pump_(std::move(pump)) {}

  Result<Bytes> read(std::uint64_t offset, std::size_t length) {
    Bytes into(length, std::byte{0xEE});
    Result<void> result = wait_for<void>(pump_, [&](Done<void> done) { device_.read(offset, into, std::move(done)); });
    if (!result) return fail(result.error());
    return into;
  }
  Result<void> write(std::uint64_t offset, ConstBytes from, Durability durability = Durability::written) {
    return wait_for<void>(pump_, [&](Done<void> done) { device_.write(offset, from, durability, std::move(done)); });
  }
  Result<void> flush() {
    return wait_for<void>(pump_, [&](Done<void> done) { device_.flush(std::move(done)); });
  }
  Result<void> zero(std::uint64_t offset, std::uint64_t length, ZeroMode mode, Durability durability = Durability::written) {
    return wait_for<void>(pump_, [&](Done<void> done) { device_.zero(offset, length, mode, durability, std::move(done)); });
  }
  Result<void> discard(std::uint64_t offset, std::uint64_t length) {
    return wait_for<void>(pump_, [&](Done<void> done) { device_.discard(offset, length, std::move(done)); });
  }
  // Asks on until the whole range is covered.
  Result<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length) {
    std::vector<Extent> all;
    const std::uint64_t end = offset + length;
    while (offset < end) {
      auto part = wait_for<std::vector<Extent>>(
          pump_, [&](Done<std::vector<Extent>> done) { device_.extents(offset, end - offset, std::move(done)); });
      if (!part) return fail(part.error());
      if (part->empty()) return fail(ErrorKind::invalid, "extents() covered nothing");
      for (const Extent& extent : *part) {
        EXPECT_EQ(extent.offset, offset) << "a gap between extents";
        EXPECT_GT(extent.length, 0u);
        EXPECT_LE(extent.length, end - offset);
        all.push_back(extent);
        offset = extent.offset + extent.length;
      }
    }
    return all;
  }

 private:
  BlockDevice& device_;
  Pump pump_;
};

inline Bytes patterned(std::size_t size, Random& random) {
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next() | 1);  // never zero: to be told from holes
  return bytes;
}

// A zero or hole extent must read as zeros, and what the model has must be there.
inline void expect_like(Blocking& device, const Bytes& model) {
  Result<Bytes> all = device.read(0, model.size());
  ASSERT_TRUE(all) << all.error().message();
  const auto difference = std::ranges::mismatch(*all, model);
  ASSERT_EQ(difference.in2, model.end()) << "first difference at offset " << difference.in2 - model.begin();
  Result<std::vector<Extent>> extents = device.extents(0, model.size());
  ASSERT_TRUE(extents) << extents.error().message();
  for (const Extent& extent : *extents) {
    EXPECT_TRUE(extent.zero || !extent.hole) << "a hole reads as zeros";
    if (extent.zero) {
      EXPECT_TRUE(is_zero(ConstBytes(model).subspan(extent.offset, extent.length))) << "not zero, at " << extent.offset;
    }
  }
}

inline void expect_range_rules(Blocking& device, BlockDevice& raw) {
  const std::uint64_t size = raw.size();
  const Bytes two(2, std::byte{1});
  const struct {
    const char* name;
    std::uint64_t offset;
  } rows[] = {{"across the end", size - 1}, {"past the end", size + 1}, {"wrapping around", ~std::uint64_t{0}}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    auto kind = [](const auto& result) { return result ? std::nullopt : std::optional(result.error().kind()); };
    EXPECT_EQ(kind(device.read(row.offset, 2)), ErrorKind::invalid);
    EXPECT_EQ(kind(device.write(row.offset, two)), ErrorKind::invalid);
    EXPECT_EQ(kind(device.zero(row.offset, 2, ZeroMode::may_punch)), ErrorKind::invalid);
    EXPECT_EQ(kind(device.discard(row.offset, 2)), ErrorKind::invalid);
    raw.start_writeback(row.offset, 2);
    raw.prefetch(row.offset, 2);
  }
  EXPECT_TRUE(device.read(size, 0));
  EXPECT_TRUE(device.write(size, {}));
  EXPECT_TRUE(device.zero(size, 0, ZeroMode::may_punch));
  EXPECT_TRUE(device.discard(size, 0));
}

// Requests of every kind at random places and sizes against plain memory.
inline void expect_random_requests(Blocking& device, BlockDevice& raw, Bytes model, std::uint64_t seed, int rounds) {
  Random random(seed);
  const std::uint64_t size = model.size();
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE("seed " + std::to_string(seed) + ", round " + std::to_string(round));
    const std::uint64_t offset = random.below(size);
    const std::uint64_t length = std::min(size - offset, random.chance(0.5) ? random.below(5000) : random.below(200'000));
    const auto at = model.begin() + static_cast<std::ptrdiff_t>(offset);
    const auto durability = random.chance(0.2) ? Durability::durable : Durability::written;
    switch (random.below(6)) {
      case 0:
      case 1: {
        const Bytes from = patterned(length, random);
        ASSERT_TRUE(device.write(offset, from, durability));
        std::ranges::copy(from, at);
        break;
      }
      case 2: {
        const auto mode = random.chance(0.5) ? ZeroMode::may_punch : ZeroMode::keep_allocated;
        ASSERT_TRUE(device.zero(offset, length, mode, durability));
        std::fill_n(at, length, std::byte{0});
        break;
      }
      case 3: {
        ASSERT_TRUE(device.discard(offset, length));
        Result<Bytes> now = device.read(offset, length);
        ASSERT_TRUE(now);
        for (std::size_t i = 0; i < length; ++i)
          ASSERT_TRUE((*now)[i] == at[static_cast<std::ptrdiff_t>(i)] || (*now)[i] == std::byte{0}) << "at " << offset + i;
        std::ranges::copy(*now, at);
        break;
      }
      case 4: {
        Result<Bytes> now = device.read(offset, length);
        ASSERT_TRUE(now);
        ASSERT_TRUE(std::equal(now->begin(), now->end(), at)) << "read at " << offset << " of " << length;
        break;
      }
      default:
        raw.start_writeback(offset, length);
        raw.prefetch(offset, length);
        ASSERT_TRUE(device.flush());
    }
  }
  expect_like(device, model);
}

// Many small neighbours under way together: none may harm another, whatever block they share.
inline void expect_neighbours_under_way_together(Blocking& device, BlockDevice& raw, const Pump& pump, Bytes model) {
  Random random(99);
  constexpr std::size_t kPiece = 777;
  const std::size_t pieces = std::min<std::size_t>(model.size() / kPiece, 1000);
  const Bytes from = patterned(pieces * kPiece, random);
  std::size_t done = 0, failed = 0;
  std::vector<std::size_t> order(pieces);
  for (std::size_t i = 0; i < pieces; ++i) order[i] = i;
  for (std::size_t i = pieces; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  for (std::size_t i : order)
    raw.write(i * kPiece, ConstBytes(from).subspan(i * kPiece, kPiece), Durability::written, [&](Result<void> result) {
      ++done;
      failed += !result;
    });
  ASSERT_TRUE(run_until(pump, [&] { return done == pieces; }));
  EXPECT_EQ(failed, 0u);
  std::ranges::copy(from, model.begin());
  expect_like(device, model);
}

// `make` gives a writable device of the size asked for; a device need not be fresh, but then reads as `initial` says (empty: as
// zeros). All of it in about a megabyte.
inline void check_block_device(const std::function<std::unique_ptr<BlockDevice>(std::uint64_t size)>& make, const Pump& pump,
                               const Bytes& initial = {}) {
  const std::uint64_t size = initial.empty() ? 1'000'003 : initial.size();
  const std::unique_ptr<BlockDevice> raw = make(size);
  ASSERT_TRUE(raw);
  ASSERT_EQ(raw->size(), size);
  EXPECT_FALSE(raw->read_only());
  Blocking device(*raw, pump);
  Bytes model = initial;
  model.resize(size);
  {
    SCOPED_TRACE("at first");
    expect_like(device, model);
  }
  {
    SCOPED_TRACE("ranges");
    expect_range_rules(device, *raw);
    expect_like(device, model);
  }
  {
    SCOPED_TRACE("neighbours");
    expect_neighbours_under_way_together(device, *raw, pump, model);
    ASSERT_TRUE(device.zero(0, size, ZeroMode::may_punch));
  }
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    expect_random_requests(device, *raw, Bytes(size), seed, 150);
    if (::testing::Test::HasFatalFailure()) return;
    ASSERT_TRUE(device.zero(0, size, ZeroMode::keep_allocated));
  }
  EXPECT_TRUE(device.flush());
}

}  // namespace godwit::store::conformance
