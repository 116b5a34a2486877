#include "chunks/core/archive_decoder.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "chunks/core/archive_attribute.h"
#include "chunks/core/archive_samples_test.h"

namespace godwit::chunks {
namespace {

using samples::decode_all;
using samples::encode_all;
using samples::entry;
using samples::Event;
using samples::golden;
using samples::numbers;
using samples::record;
using samples::text_with_zero;

constexpr std::size_t kWhole = std::size_t{1} << 30;

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const Bytes& part : parts) append(out, part);
  return out;
}

// A folder with one file `a` of "hi\n": the specification's example.
Bytes example() {
  Bytes out = *from_hex(
      "4000000000000000 51bb5beabcfa9613 26feefff010000b0 ed41000000000000 0000000000000000 0000000000000000 0000000000000000"
      "ede42cf989d1e918"
      "1200000000000000 0b1f16b3bc6ebb6d 6100"
      "4000000000000000 51bb5beabcfa9613 26feefff010000b0 a481000000000000 0000000000000000 0000000000000000 0000000000000000"
      "ede42cf989d1e918"
      "1300000000000000 c9ffdcd6931d9e8b 68690a"
      "4000000000000000 03c427835e5cd3df 6500000000000000 6500000000000000 adc758e0195aba51"
      "a500000000000000 4000000000000000 43297033a56f4457");
  return out;
}

TEST(ArchiveDecoder, TheSpecificationsExampleIsReadAndWritten) {
  const Bytes archive = example();
  ASSERT_EQ(archive.size(), 229);
  const Result<std::vector<Event>> events = decode_all(archive, kWhole);
  ASSERT_TRUE(events) << events.error().message();
  ASSERT_EQ(events->size(), 3);
  EXPECT_EQ((*events)[0].node.mode, S_IFDIR | 0755);
  EXPECT_EQ((*events)[1].name, "a");
  EXPECT_EQ(as_text((*events)[1].payload), "hi\n");
  EXPECT_EQ((*events)[1].node.mtime_ns, 0x18e9d189f92ce4ed);
  const Result<Bytes> again = encode_all(*events, 10);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, archive);
}

TEST(ArchiveDecoder, ArchivesOfTheOriginalsAreReadAndWrittenBackByteForByte) {
  for (const char* name : {"tree.casync.catar", "tree.desync.catar", "tree-xattr.casync.catar", "tree-xattr-filled.casync.catar",
                           "tree-acl.casync.catar", "tree-acl-default.casync.catar", "tree-fifo.casync.catar",
                           "tree-before-1970.casync.catar", "tree-before-1970.desync.catar"}) {
    const Bytes archive = golden(name);
    for (const std::size_t piece : {kWhole, std::size_t{1}, std::size_t{7}, std::size_t{4096}}) {
      const Result<std::vector<Event>> events = decode_all(archive, piece);
      ASSERT_TRUE(events) << name << ": " << events.error().message();
      const Result<Bytes> again = encode_all(*events, piece == kWhole ? 65536 : piece);
      ASSERT_TRUE(again) << name << ": " << again.error().message();
      EXPECT_EQ(*again, archive) << name;
    }
  }
}

TEST(ArchiveDecoder, AnySplitOfTheInputGivesTheSameSteps) {
  const Bytes archive = golden("tree.casync.catar");
  const Result<std::vector<Event>> whole = decode_all(archive, kWhole);
  ASSERT_TRUE(whole);
  Random random(1);
  for (int round = 0; round < 30; ++round) {
    const Result<std::vector<Event>> split = decode_all(archive, 1 + random.below(3000));
    ASSERT_TRUE(split);
    EXPECT_EQ(*split, *whole);
  }
}

TEST(ArchiveDecoder, AnArchiveCutAnywhereIsTruncated) {
  for (const char* name : {"tree-acl.casync.catar", "tree-fifo.casync.catar", "tree-xattr.casync.catar"}) {
    const Bytes archive = golden(name);
    for (std::size_t size = 0; size < archive.size(); ++size) {
      const Result<std::vector<Event>> events = decode_all(ConstBytes(archive).first(size), kWhole);
      ASSERT_FALSE(events) << name << " of " << size << " bytes";
      EXPECT_EQ(events.error().kind(), ErrorKind::truncated) << events.error().message();
    }
  }
}

TEST(ArchiveDecoder, NoChangedByteIsTakenForAFault) {
  // Whatever a byte becomes, the decoder ends with an error or with an archive that would be written so.
  const Bytes archive = golden("tree-acl-default.casync.catar");
  for (std::size_t at = 0; at < archive.size(); ++at) {
    for (const unsigned change : {1U, 0x80U, 0xffU}) {
      Bytes changed = archive;
      changed[at] ^= static_cast<std::byte>(change);
      const Result<std::vector<Event>> events = decode_all(changed, kWhole);
      if (!events) continue;
      const Result<Bytes> again = encode_all(*events, 4096);
      ASSERT_TRUE(again) << "byte " << at;
      EXPECT_EQ(*again, changed) << "byte " << at;
    }
  }
}

TEST(ArchiveDecoder, BytesBehindTheEndAreRefused) {
  Bytes archive = example();
  archive.push_back(std::byte{0});
  for (const std::size_t piece : {kWhole, std::size_t{1}}) {
    const Result<std::vector<Event>> events = decode_all(archive, piece);
    ASSERT_FALSE(events);
    EXPECT_NE(events.error().message().find("offset 229"), std::string::npos) << events.error().message();
  }
}

TEST(ArchiveDecoder, ATimeBefore1970IsNegative) {
  const Result<std::vector<Event>> events = decode_all(golden("tree-before-1970.casync.catar"), kWhole);
  ASSERT_TRUE(events);
  EXPECT_LT((*events)[1].node.mtime_ns, 0);
}

TEST(ArchiveDecoder, DesyncsAttributesLoseTheirZeroByte) {
  for (const char* tree : {"tree-xattr", "tree-xattr-filled"}) {
    const Result<std::vector<Event>> theirs = decode_all(golden(std::string(tree) + ".desync.catar"), kWhole);
    const Result<std::vector<Event>> right = decode_all(golden(std::string(tree) + ".casync.catar"), kWhole);
    ASSERT_TRUE(theirs) << theirs.error().message();
    ASSERT_TRUE(right);
    EXPECT_EQ((*theirs)[1].node.xattrs, (*right)[1].node.xattrs);
    EXPECT_FALSE((*right)[1].node.xattrs.empty());
  }
}

TEST(ArchiveDecoder, DesyncsKernelAttributesBecomeWhatTheyMean) {
  const Result<std::vector<Event>> access = decode_all(golden("tree-acl.desync.catar"), kWhole);
  ASSERT_TRUE(access) << access.error().message();
  const Result<std::vector<Event>> access_right = decode_all(golden("tree-acl.casync.catar"), kWhole);
  ASSERT_TRUE(access_right);
  EXPECT_EQ((*access)[1].node.acl, (*access_right)[1].node.acl);
  EXPECT_FALSE((*access)[1].node.acl.users.empty());
  const Result<std::vector<Event>> by_default = decode_all(golden("tree-acl-default.desync.catar"), kWhole);
  ASSERT_TRUE(by_default) << by_default.error().message();
  const Result<std::vector<Event>> default_right = decode_all(golden("tree-acl-default.casync.catar"), kWhole);
  ASSERT_TRUE(default_right);
  EXPECT_EQ((*by_default)[1].node.default_acl, (*default_right)[1].node.default_acl);
  EXPECT_TRUE((*by_default)[1].node.default_acl);
}

TEST(ArchiveDecoder, AFileNameWithoutANodeIsRefusedByName) {
  const Result<std::vector<Event>> events = decode_all(golden("tree-fifo.desync.catar"), kWhole);
  ASSERT_FALSE(events);
  EXPECT_EQ(events.error().kind(), ErrorKind::invalid);
  EXPECT_NE(events.error().message().find("'b'"), std::string::npos) << events.error().message();
}

// The README's table of the decoder: a row per state, a column per record.
struct Place {
  const char* name;
  Bytes before;
  std::vector<RecordType> taken;
};

const std::vector<std::pair<RecordType, Bytes>>& one_of_each() {
  static const std::vector<std::pair<RecordType, Bytes>> records = {
      {RecordType::entry, entry(S_IFREG | 0644)},
      {RecordType::user, record(RecordType::user, text_with_zero("bin"))},
      {RecordType::group, record(RecordType::group, text_with_zero("bin"))},
      {RecordType::xattr, record(RecordType::xattr, text_with_zero("user.a"))},
      {RecordType::acl_user, record(RecordType::acl_user, numbers({1, 4}))},
      {RecordType::acl_group, record(RecordType::acl_group, numbers({1, 4}))},
      {RecordType::acl_group_object, record(RecordType::acl_group_object, numbers({4}))},
      {RecordType::acl_default, record(RecordType::acl_default, numbers({7, 5, 5, kAclAbsent}))},
      {RecordType::selinux, record(RecordType::selinux, text_with_zero("label"))},
      {RecordType::fcaps, record(RecordType::fcaps, Bytes(20))},
      {RecordType::quota_project_id, record(RecordType::quota_project_id, numbers({3}))},
      {RecordType::symlink, record(RecordType::symlink, text_with_zero("target"))},
      {RecordType::device, record(RecordType::device, numbers({1, 3}))},
      {RecordType::payload, record(RecordType::payload, Bytes(3))},
      {RecordType::filename, record(RecordType::filename, text_with_zero("z"))},
  };
  return records;
}

TEST(ArchiveDecoder, EachStateTakesItsRecordsAndNoOthers) {
  using enum RecordType;
  const Bytes top = samples::entry(S_IFDIR | 0755);
  const Bytes name = record(filename, text_with_zero("a"));
  const std::vector<Place> places = {
      {"the archive's start", {}, {}},
      {"a folder's attributes",
       top,
       {user, group, xattr, acl_user, acl_group, acl_group_object, acl_default, selinux, quota_project_id, filename}},
      {"behind USER",
       joined({top, record(user, text_with_zero("bin"))}),
       {group, xattr, acl_user, acl_group, acl_group_object, acl_default, selinux, quota_project_id, filename}},
      {"behind ACL_GROUP_OBJ",
       joined({top, record(acl_group_object, numbers({4}))}),
       {acl_default, selinux, quota_project_id, filename}},
      {"behind QUOTA_PROJID", joined({top, record(quota_project_id, numbers({4}))}), {filename}},
      {"behind FILENAME", joined({top, name}), {entry}},
      {"a file's attributes",
       joined({top, name, samples::entry(S_IFREG | 0644)}),
       {user, group, xattr, acl_user, acl_group, acl_group_object, selinux, fcaps, quota_project_id, payload}},
      {"a symlink's attributes",
       joined({top, name, samples::entry(S_IFLNK | 0777)}),
       {user, group, xattr, acl_user, acl_group, acl_group_object, selinux, symlink}},
      {"a device's attributes",
       joined({top, name, samples::entry(S_IFCHR | 0644)}),
       {user, group, xattr, acl_user, acl_group, acl_group_object, selinux, device}},
      {"a fifo's attributes",
       joined({top, name, samples::entry(S_IFIFO | 0644)}),
       {user, group, xattr, acl_user, acl_group, acl_group_object, selinux, filename}},
      {"behind a file", joined({top, name, samples::entry(S_IFREG | 0644), record(payload, Bytes(2))}), {filename}},
      {"behind a symlink", joined({top, name, samples::entry(S_IFLNK | 0777), record(symlink, text_with_zero("t"))}), {filename}},
  };
  for (const Place& place : places) {
    for (const auto& [type, bytes] : one_of_each()) {
      const Result<std::vector<Event>> events = decode_all(joined({place.before, bytes}), kWhole);
      ASSERT_FALSE(events) << "nothing ends an archive but its GOODBYE";
      const bool is_taken = events.error().kind() == ErrorKind::truncated;
      const bool is_expected = std::find(place.taken.begin(), place.taken.end(), type) != place.taken.end();
      EXPECT_EQ(is_taken, is_expected) << name_of(type) << " at " << place.name << ": " << events.error().message();
    }
  }
}

TEST(ArchiveDecoder, HostileRecordsAreRefused) {
  using enum RecordType;
  const Bytes top = samples::entry(S_IFDIR | 0755);
  const Bytes name = record(filename, text_with_zero("m"));
  const Bytes file = samples::entry(S_IFREG | 0644);
  const auto named = [&](std::string_view text) { return joined({top, record(filename, text_with_zero(text))}); };
  const auto second = [&](std::string_view text) {
    return joined({top, name, file, record(payload, {}), record(filename, text_with_zero(text))});
  };
  const auto head = [](std::uint64_t size, RecordType type) { return numbers({size, static_cast<std::uint64_t>(type)}); };
  const auto with_entry = [&](std::vector<std::uint64_t> fields) {
    return joined({top, name, record(entry, numbers(std::move(fields)))});
  };
  constexpr FeatureFlags kFlags = kDefaultArchiveFlags;
  struct Row {
    const char* what;
    Bytes bytes;
  };
  const Row rows[] = {
      {"a name that is ..", named("..")},
      {"a name that is .", named(".")},
      {"a name with a slash", named("a/b")},
      {"an absolute name", named("/etc")},
      {"an empty name", joined({top, record(filename, Bytes(1))})},
      {"a name without its zero byte", joined({top, record(filename, to_bytes(as_bytes("a")))})},
      {"a name with a zero byte inside", joined({top, record(filename, text_with_zero(std::string_view("a\0b", 3)))})},
      {"a name of 256 bytes", joined({top, record(filename, text_with_zero(std::string(256, 'n')))})},
      {"the same name again", second("m")},
      {"a name that sorts before", second("l")},
      {"an archive of a file", joined({file, record(payload, {})})},
      {"a record of size 0", joined({top, head(0, filename)})},
      {"a record smaller than its head", joined({top, head(15, filename)})},
      {"an attribute as large as the address space", joined({top, head(~std::uint64_t{0}, xattr)})},
      {"a payload as large as the address space", joined({top, name, file, head(~std::uint64_t{0}, payload)})},
      {"a payload smaller than its head", joined({top, name, file, head(8, payload)})},
      {"an attribute value of 65537 bytes",
       joined({top, record(xattr, joined({text_with_zero("user.a"), Bytes(kXattrValueSizeMax + 1)}))})},
      {"an attribute without a name", joined({top, record(xattr, Bytes(4))})},
      {"an attribute of the kernel's", joined({top, record(xattr, text_with_zero("security.capability"))})},
      {"attributes out of order",
       joined({top, record(xattr, text_with_zero("user.b")), record(xattr, text_with_zero("user.a"))})},
      {"an attribute twice", joined({top, record(xattr, text_with_zero("user.b")), record(xattr, text_with_zero("user.b"))})},
      {"ACL entries out of order", joined({top, record(acl_user, numbers({5, 4})), record(acl_user, numbers({4, 4}))})},
      {"ACL permissions beyond rwx", joined({top, record(acl_user, numbers({5, 8}))})},
      {"a default ACL's entry without ACL_DEFAULT", joined({top, record(acl_default_user, numbers({5, 4}))})},
      {"a file with a default ACL", joined({top, name, file, record(acl_default, numbers({7, 5, 5, kAclAbsent}))})},
      {"a user with a slash", joined({top, record(user, text_with_zero("a/b"))})},
      {"quota project 0", joined({top, record(quota_project_id, numbers({0}))})},
      {"a device that cannot be", joined({top, name, samples::entry(S_IFBLK | 0600), record(device, numbers({4096, 0}))})},
      {"an empty link", joined({top, name, samples::entry(S_IFLNK | 0777), record(symlink, Bytes(1))})},
      {"a mode without type", with_entry({kFlags, 0644, 0, 0, 0, 0})},
      {"a mode of 64 bits", with_entry({kFlags, std::uint64_t{1} << 40 | S_IFREG, 0, 0, 0, 0})},
      {"a symlink of mode 0644", with_entry({kFlags, S_IFLNK | 0644, 0, 0, 0, 0})},
      {"other features than the top's", with_entry({kFlags & ~feature::kXattrs, S_IFREG | 0644, 0, 0, 0, 0})},
      {"flags that no node has", with_entry({kFlags, S_IFREG | 0644, 1, 0, 0, 0})},
      {"flags on a fifo", with_entry({kFlags, S_IFIFO | 0644, feature::kFlagSync, 0, 0, 0})},
      {"owner 65535", with_entry({kFlags, S_IFREG | 0644, 0, 65535, 0, 0})},
      {"owner 2^32-1", with_entry({kFlags, S_IFREG | 0644, 0, 0, 0xffffffff, 0})},
      {"the time that is none", with_entry({kFlags, S_IFREG | 0644, 0, 0, 0, ~std::uint64_t{0}})},
      {"features nobody knows", record(entry, numbers({std::uint64_t{1} << 50, S_IFDIR | 0755, 0, 0, 0, 0}))},
      {"features that contradict themselves",
       record(entry, numbers({feature::k16BitUids | feature::k32BitUids, S_IFDIR | 0755, 0, 0, 0, 0}))},
      {"a symlink where features exclude it",
       joined({samples::entry(S_IFDIR | 0777, 0), name, record(entry, numbers({0, S_IFLNK | 0777, 0, 0, 0, 0}))})},
      {"a time where features keep none", record(entry, numbers({0, S_IFDIR | 0777, 0, 0, 0, 5}))},
      {"half a second where features keep seconds",
       record(entry, numbers({feature::kSecTime, S_IFDIR | 0777, 0, 0, 0, 500'000'000}))},
      {"an unknown record", joined({top, head(16, static_cast<RecordType>(42))})},
      {"a GOODBYE with an item too many", joined({top, record(goodbye, Bytes(48))})},
      {"a GOODBYE of other bytes", joined({top, record(goodbye, Bytes(24))})},
  };
  for (const Row& row : rows) {
    for (const std::size_t piece : {kWhole, std::size_t{1}}) {
      const Result<std::vector<Event>> events = decode_all(row.bytes, piece);
      ASSERT_FALSE(events) << row.what;
      EXPECT_TRUE(events.error().kind() == ErrorKind::invalid || events.error().kind() == ErrorKind::unsupported ||
                  events.error().kind() == ErrorKind::limit)
          << row.what << ": " << events.error().message();
      EXPECT_NE(events.error().message().find("offset "), std::string::npos) << events.error().message();
    }
  }
}

TEST(ArchiveDecoder, MicrosecondsAreMultiplesOfAThousand) {
  const Bytes archive = record(RecordType::entry, numbers({feature::kUsecTime, S_IFDIR | 0777, 0, 0, 0, 1'000'001'000}));
  EXPECT_EQ(decode_all(archive, kWhole).error().kind(), ErrorKind::truncated);
}

TEST(ArchiveDecoder, FoldersLieInOneAnotherUpToALimit) {
  Bytes archive = entry(S_IFDIR | 0755);
  const Bytes level = joined({record(RecordType::filename, text_with_zero("d")), entry(S_IFDIR | 0755)});
  for (std::size_t depth = 1; depth < kArchiveDepthMax; ++depth) append(archive, level);
  Bytes deeper = archive;
  append(archive, record(RecordType::filename, text_with_zero("d")));
  EXPECT_EQ(decode_all(archive, kWhole).error().kind(), ErrorKind::truncated);
  append(deeper, level);
  append(deeper, record(RecordType::filename, text_with_zero("d")));
  EXPECT_EQ(decode_all(deeper, kWhole).error().kind(), ErrorKind::limit);
}

TEST(ArchiveDecoder, ANodeWithMoreAttributesThanTheLimitIsRefused) {
  ArchiveDecoder decoder;
  const Bytes top = entry(S_IFDIR | 0755);
  ConstBytes input = top;
  ASSERT_TRUE(decoder.next(input));
  for (std::size_t i = 0; i < 1000; ++i) {
    const Bytes xattr = record(RecordType::xattr, joined({text_with_zero("user." + std::to_string(100'000 + i)), Bytes(65536)}));
    input = xattr;
    const Result<ArchiveDecoder::Step> step = decoder.next(input);
    if (step) continue;
    EXPECT_EQ(step.error().kind(), ErrorKind::limit);
    EXPECT_GT(i, 500);
    return;
  }
  FAIL() << "64 MiB of attributes were taken";
}

TEST(ArchiveDecoder, ASubtreeMayBeAnyNode) {
  const Bytes fifo = entry(S_IFIFO | 0644);
  const Result<std::vector<Event>> events = decode_all(fifo, 1, {.start_offset = 100, .end_offset = 100 + fifo.size()});
  ASSERT_TRUE(events) << events.error().message();
  EXPECT_EQ(events->size(), 1);
  const Bytes file = joined({entry(S_IFREG | 0644), record(RecordType::payload, to_bytes(as_bytes("abc")))});
  const Result<std::vector<Event>> read = decode_all(file, 1, {.start_offset = 0, .end_offset = file.size()});
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(as_text((*read)[0].payload), "abc");
}

}  // namespace
}  // namespace godwit::chunks
