#include "base/bitset.h"

#include <gtest/gtest.h>

#include <set>

#include "base/random.h"

namespace godwit {
namespace {

// The same operations on a set that is plainly right.
class Model {
 public:
  explicit Model(std::uint64_t size) : size_(size) {}

  void set_range(std::uint64_t first, std::uint64_t last) {
    for (std::uint64_t i = first; i < last; ++i) members_.insert(i);
  }
  void clear_range(std::uint64_t first, std::uint64_t last) {
    members_.erase(members_.lower_bound(first), members_.lower_bound(last));
  }
  std::uint64_t count_in(std::uint64_t first, std::uint64_t last) const {
    return static_cast<std::uint64_t>(std::distance(members_.lower_bound(first), members_.lower_bound(last)));
  }
  std::uint64_t next_set(std::uint64_t from) const {
    const auto found = members_.lower_bound(from);
    return found == members_.end() ? size_ : *found;
  }
  std::uint64_t next_clear(std::uint64_t from) const {
    while (from < size_ && members_.contains(from)) ++from;
    return std::min(from, size_);
  }
  void merge(const Model& other) { members_.insert(other.members_.begin(), other.members_.end()); }
  void subtract(const Model& other) {
    for (const std::uint64_t i : other.members_) members_.erase(i);
  }
  const std::set<std::uint64_t>& members() const { return members_; }

 private:
  std::uint64_t size_;
  std::set<std::uint64_t> members_;
};

void expect_equal(const Bitset& bits, const Model& model) {
  ASSERT_EQ(bits.count(), model.members().size());
  ASSERT_EQ(bits.none(), model.members().empty());
  std::uint64_t from = 0;
  for (const std::uint64_t member : model.members()) {
    ASSERT_TRUE(bits.test(member));
    ASSERT_EQ(bits.next_set(from), member);
    from = member + 1;
  }
  ASSERT_EQ(bits.next_set(from), bits.size());
}

TEST(Bitset, DoesWhatASetDoes) {
  Random random(1);
  for (const std::uint64_t size : {0ULL, 1ULL, 63ULL, 64ULL, 65ULL, 128ULL, 200ULL, 1000ULL}) {
    Bitset bits(size), other_bits(size);
    Model model(size), other(size);
    for (int step = 0; step < 400; ++step) {
      std::uint64_t first = random.below(size + 1), last = random.below(size + 1);
      if (first > last) std::swap(first, last);
      switch (random.below(7)) {
        case 0:
          bits.set_range(first, last);
          model.set_range(first, last);
          break;
        case 1:
          bits.clear_range(first, last);
          model.clear_range(first, last);
          break;
        case 2:
          other_bits.set_range(first, last);
          other.set_range(first, last);
          break;
        case 3:
          other_bits.clear_range(first, last);
          other.clear_range(first, last);
          break;
        case 4:
          if (random.chance(0.3)) {
            bits.merge(other_bits);
            model.merge(other);
          }
          break;
        case 5:
          if (random.chance(0.3)) {
            bits.subtract(other_bits);
            model.subtract(other);
          }
          break;
        default:
          if (first == size) break;
          if (random.chance(0.5)) {
            bits.set(first);
            model.set_range(first, first + 1);
          } else {
            bits.clear(first);
            model.clear_range(first, first + 1);
          }
      }
      expect_equal(bits, model);
      ASSERT_EQ(bits.all_in(first, last), model.count_in(first, last) == last - first) << size << " " << first << " " << last;
      ASSERT_EQ(bits.any_in(first, last), model.count_in(first, last) > 0) << size << " " << first << " " << last;
      ASSERT_EQ(bits.next_set(first), model.next_set(first));
      ASSERT_EQ(bits.next_clear(first), model.next_clear(first));
    }
  }
}

TEST(Bitset, OfEveryRangeExactlyItsMembersAreTouched) {
  constexpr std::uint64_t kSize = 130;
  for (std::uint64_t first = 0; first <= kSize; ++first) {
    for (std::uint64_t last = first; last <= kSize; ++last) {
      Bitset bits(kSize), inverse(kSize);
      bits.set_range(first, last);
      inverse.set_range(0, kSize);
      inverse.clear_range(first, last);
      ASSERT_EQ(bits.count(), last - first);
      ASSERT_EQ(inverse.count(), kSize - (last - first));
      for (const std::uint64_t i : {first, last}) {
        if (i == kSize) continue;
        ASSERT_EQ(bits.test(i), i < last);
        ASSERT_EQ(inverse.test(i), i >= last);
      }
      ASSERT_TRUE(first == 0 || (!bits.test(first - 1) && inverse.test(first - 1)));
    }
  }
}

TEST(Bitset, FullOnesHaveNoNextClearEvenWithinTheirLastWord) {
  for (const std::uint64_t size : {1ULL, 63ULL, 64ULL, 65ULL, 100ULL}) {
    Bitset bits(size);
    bits.set_range(0, size);
    EXPECT_EQ(bits.next_clear(0), size);
    EXPECT_TRUE(bits.all_in(0, size));
    EXPECT_EQ(bits.next_set(size), size);
    EXPECT_EQ(bits.next_clear(size + 5), size);
  }
}

TEST(Bitset, EqualMeansEqualSizeAndMembers) {
  Bitset a(10), b(10), c(11);
  EXPECT_TRUE(a == b);
  EXPECT_FALSE(a == c);
  a.set(3);
  EXPECT_FALSE(a == b);
}

}  // namespace
}  // namespace godwit
