#include "export/nbd_request_check.h"

#include <gtest/gtest.h>

namespace godwit::exports {
namespace {

using namespace nbd;

constexpr std::uint64_t kSize = 1 << 20;
constexpr std::uint16_t kAll =
    kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes | kSendDf | kSendCache | kSendFastZero;
constexpr RequestRules kRules{kSize, kAll, {1, 4096, 65536}, true};

RequestRules with(std::uint16_t flags) {
  RequestRules rules = kRules;
  rules.flags = flags;
  return rules;
}
RequestRules sectors() {
  RequestRules rules = kRules;
  rules.sizes.min = 512;
  return rules;
}
RequestRules without_context() {
  RequestRules rules = kRules;
  rules.allocation_context = false;
  return rules;
}

TEST(NbdRequestCheck, RequestsWithinTheRulesPass) {
  struct Row {
    const char* name;
    Request request;
    RequestRules rules = kRules;
  };
  const Row rows[] = {
      {"read", {0, kRead, 1, 0, 512}},
      {"read to the very end", {0, kRead, 1, kSize - 1, 1}},
      {"read of nothing at the end", {0, kRead, 1, kSize, 0}},
      {"read in one piece", {kFlagDf, kRead, 1, 0, 512}},
      {"read with FUA, which says nothing", {kFlagFua, kRead, 1, 0, 512}},
      {"largest write", {kFlagFua, kWrite, 1, 0, 65536}},
      {"flush, whatever its range", {0, kFlush, 1, ~0ULL, ~0U}},
      {"flush of a read-only export", {0, kFlush, 1, 0, 0}, with(kAll | kReadOnly)},
      {"trim longer than a payload", {kFlagFua, kTrim, 1, 0, kSize}},
      {"zeroes longer than a payload", {kFlagFua | kFlagNoHole | kFlagFastZero, kWriteZeroes, 1, 0, kSize}},
      {"cache", {0, kCache, 1, 0, kSize}},
      {"block status", {kFlagReqOne, kBlockStatus, 1, 0, kSize}},
      {"aligned", {0, kWrite, 1, 512, 1024}, sectors()},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    std::optional<Refusal> refusal = check_request(row.request, row.rules);
    EXPECT_FALSE(refusal) << refusal->text;
  }
}

TEST(NbdRequestCheck, EachBrokenRuleHasItsError) {
  struct Row {
    const char* name;
    Request request;
    std::uint32_t error;
    RequestRules rules = kRules;
  };
  const Row rows[] = {
      {"unknown command", {0, 8, 1, 0, 0}, kErrInvalid},
      {"flag of the future", {1 << 7, kRead, 1, 0, 512}, kErrInvalid},
      {"DF without structured replies", {kFlagDf, kRead, 1, 0, 512}, kErrInvalid, with(kAll & ~kSendDf)},
      {"NO_HOLE on a write", {kFlagNoHole, kWrite, 1, 0, 512}, kErrInvalid},
      {"REQ_ONE on a read", {kFlagReqOne, kRead, 1, 0, 512}, kErrInvalid},
      {"FAST_ZERO that is not offered", {kFlagFastZero, kWriteZeroes, 1, 0, 512}, kErrInvalid, with(kAll & ~kSendFastZero)},
      {"trim that is not offered", {0, kTrim, 1, 0, 512}, kErrInvalid, with(kAll & ~kSendTrim)},
      {"flush that is not offered", {0, kFlush, 1, 0, 0}, kErrInvalid, with(kAll & ~kSendFlush)},
      {"read past the end", {0, kRead, 1, kSize - 1, 2}, kErrInvalid},
      {"read far past the end", {0, kRead, 1, ~0ULL, 2}, kErrInvalid},
      {"write past the end", {0, kWrite, 1, kSize - 1, 2}, kErrNoSpace},
      {"write that wraps round", {0, kWrite, 1, ~0ULL, 2}, kErrNoSpace},
      {"zeroes past the end", {0, kWriteZeroes, 1, 1, kSize}, kErrNoSpace},
      {"trim past the end", {0, kTrim, 1, 1, kSize}, kErrInvalid},
      {"cache past the end", {0, kCache, 1, 1, kSize}, kErrInvalid},
      {"block status past the end", {0, kBlockStatus, 1, 1, kSize}, kErrInvalid},
      {"read over the largest block", {0, kRead, 1, 0, 65537}, kErrInvalid},
      {"write over the largest block", {0, kWrite, 1, 0, 65537}, kErrInvalid},
      {"offset between blocks", {0, kRead, 1, 1, 512}, kErrInvalid, sectors()},
      {"length between blocks", {0, kTrim, 1, 0, 513}, kErrInvalid, sectors()},
      {"write to a read-only export", {0, kWrite, 1, 0, 512}, kErrPermission, with(kHasFlags | kReadOnly)},
      {"trim of a read-only export", {0, kTrim, 1, 0, 512}, kErrPermission, with(kHasFlags | kReadOnly)},
      {"zeroes to a read-only export", {0, kWriteZeroes, 1, 0, 512}, kErrPermission, with(kHasFlags | kReadOnly)},
      {"block status without a context", {0, kBlockStatus, 1, 0, 512}, kErrInvalid, without_context()},
      {"block status of nothing", {0, kBlockStatus, 1, 0, 0}, kErrInvalid},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    std::optional<Refusal> refusal = check_request(row.request, row.rules);
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->error, row.error);
    EXPECT_FALSE(refusal->text.empty());
  }
}

}  // namespace
}  // namespace godwit::exports
