#include "volume/core/chain.h"

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/random.h"

namespace godwit::volume {
namespace {

HandoverId tag(std::uint8_t number) {
  HandoverId id;
  id.bytes[0] = static_cast<std::byte>(number);
  return id;
}

HostId host(std::uint8_t number) {
  HostId id;
  id.bytes[15] = static_cast<std::byte>(number);
  return id;
}

Chain chain_of(std::initializer_list<int> tags) {
  Chain chain;
  for (const int number : tags) chain.add(OwnershipKind::moved, tag(static_cast<std::uint8_t>(number)), host(1));
  return chain;
}

Bytes encoded(const Chain& chain) {
  Bytes out;
  encode_chain(chain, out);
  return out;
}

TEST(Chain, AnEntryIsOneEpochAboveTheHighestKnown) {
  Chain chain;
  EXPECT_EQ(chain.tip(), nullptr);
  EXPECT_EQ(chain.highest_epoch(), 0U);
  chain.add(OwnershipKind::created, tag(1), host(1));
  chain.entries.front().epoch = 40;
  chain.add(OwnershipKind::moved, tag(2), host(2));
  ASSERT_NE(chain.tip(), nullptr);
  EXPECT_EQ(*chain.tip(), (ChainEntry{41, OwnershipKind::moved, tag(2), host(2)}));
  chain.entries.back().epoch = 3;  // forced claims can leave epochs that do not ascend
  chain.add(OwnershipKind::forced, tag(3), host(2));
  EXPECT_EQ(chain.tip()->epoch, 41U);
}

TEST(Chain, OnlyTheNewestSixtyFourEntriesAreKept) {
  Chain chain;
  for (int i = 1; i <= 70; ++i) chain.add(OwnershipKind::moved, tag(static_cast<std::uint8_t>(i)), host(1));
  EXPECT_EQ(chain.entries.size(), kChainEntriesMax);
  EXPECT_FALSE(chain.contains(tag(6)));
  EXPECT_TRUE(chain.contains(tag(7)));
  EXPECT_EQ(chain.tip()->tag, tag(70));
  EXPECT_EQ(chain.tip()->epoch, 70U);
}

TEST(Chain, AnAncestorsTipIsAnEntryOfItsDescendant) {
  struct Row {
    std::string name;
    Chain x, y;
    bool is_ancestor;
  };
  const Row rows[] = {
      {"nothing and nothing", {}, {}, true},
      {"nothing and something", {}, chain_of({1}), true},
      {"something and nothing", chain_of({1}), {}, false},
      {"itself", chain_of({1, 2}), chain_of({1, 2}), true},
      {"a beginning", chain_of({1}), chain_of({1, 2}), true},
      {"an end", chain_of({1, 2}), chain_of({1}), false},
      {"a fork", chain_of({1, 2}), chain_of({1, 3}), false},
      {"a chain cut at its beginning", chain_of({1, 2, 3}), chain_of({3, 4}), true},
      {"chains that share nothing", chain_of({1}), chain_of({2}), false},
  };
  for (const Row& row : rows) EXPECT_EQ(row.x.is_ancestor_of(row.y), row.is_ancestor) << row.name;
}

TEST(Chain, TagsDecideAndEpochsDoNot) {
  Chain one = chain_of({1, 2}), other = chain_of({1, 3});
  ASSERT_EQ(one.tip()->epoch, other.tip()->epoch);
  EXPECT_FALSE(one.is_ancestor_of(other));
  EXPECT_EQ(one.find(tag(3)), nullptr);
  EXPECT_EQ(other.find(tag(3))->epoch, 2U);
}

TEST(Chain, RoundTripsAtEverySize) {
  Random random(1);
  for (std::size_t size = 0; size <= kChainEntriesMax; ++size) {
    Chain chain;
    for (std::size_t i = 0; i < size; ++i) {
      chain.entries.push_back(
          {random.next(), static_cast<OwnershipKind>(1 + random.below(5)), HandoverId::random(random), HostId::random(random)});
      chain.over.push_back(HandoverId::random(random));
    }
    const Bytes bytes = encoded(chain);
    EXPECT_EQ(bytes.size(), 4 + size * (41 + 16));
    const Result<Chain> back = decode_chain(bytes);
    ASSERT_TRUE(back) << back.error().message();
    EXPECT_TRUE(*back == chain);
  }
}

TEST(Chain, CutAnywhereOrTooLongIsAnError) {
  Chain chain = chain_of({1, 2});
  chain.over = {tag(9)};
  Bytes bytes = encoded(chain);
  for (std::size_t size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_chain(ConstBytes(bytes).first(size))) << size;
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_chain(bytes));
}

}  // namespace
}  // namespace godwit::volume
