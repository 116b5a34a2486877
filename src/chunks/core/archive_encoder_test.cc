#include "chunks/core/archive_encoder.h"

#include <gtest/gtest.h>

#include "chunks/core/archive_acl.h"
#include "chunks/core/archive_samples_test.h"

namespace godwit::chunks {
namespace {

using samples::encode_all;
using samples::Event;

Node node_of(std::uint32_t mode) {
  Node node;
  node.features = kDefaultArchiveFlags;
  node.mode = mode;
  return node;
}

Event enter(std::string name, Node node, std::string_view payload = {}) {
  node.payload_size = payload.size();
  return {Event::Kind::enter, std::move(name), std::move(node), to_bytes(as_bytes(payload))};
}
Event leave() {
  return {Event::Kind::leave, {}, {}, {}};
}

TEST(ArchiveEncoder, EveryAttributeComesBack) {
  Node node = node_of(S_IFREG | 04755);
  node.flags = feature::kFlagSync | feature::kFlagNoAtime;
  node.uid = 1;
  node.gid = 4'000'000'000;
  node.mtime_ns = -5;
  node.user_name = "daemon";
  node.group_name = "staff";
  node.xattrs = {{"trusted.a", Bytes(3)}, {"user.b", {}}};
  node.acl = {{{1, {}, 4}, {1, "daemon", 6}, {7, "x", 1}}, {{2, "bin", 7}}, 5};
  node.selinux = "system_u:object_r:etc_t:s0";
  node.fcaps = Bytes(20);
  node.quota_project_id = 9;
  Node folder = node_of(S_IFDIR | 01777);
  folder.default_acl = DefaultAcl{7, 5, 0, kAclAbsent, {{3, "u", 2}}, {{4, {}, 1}}};
  Node link = node_of(S_IFLNK | 0777);
  link.symlink_target = "../somewhere";
  Node device = node_of(S_IFBLK | 0660);
  device.device_major = 4095;
  device.device_minor = 1048575;
  const std::vector<Event> events = {enter("", folder),
                                     enter("a", node, "payload"),
                                     enter("b", device),
                                     enter("c", folder),
                                     leave(),
                                     enter("l", link),
                                     enter("p", node_of(S_IFIFO | 0600)),
                                     enter("s", node_of(S_IFSOCK | 0700)),
                                     leave()};
  for (const std::size_t piece : {1, 16, 100'000}) {
    const Result<Bytes> archive = encode_all(events, piece);
    ASSERT_TRUE(archive) << archive.error().message();
    const Result<std::vector<Event>> again = samples::decode_all(*archive, piece);
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(*again, events);
  }
}

TEST(ArchiveEncoder, ATreeThatBreaksItsPromisesIsRefused) {
  const Node folder = node_of(S_IFDIR | 0755);
  const Node file = node_of(S_IFREG | 0644);
  Node wide = file;
  wide.features = normalized(feature::k16BitUids);
  wide.uid = 65535;
  Node label = file;
  label.xattrs = {{"user.a", Bytes(kXattrValueSizeMax + 1)}};
  struct Row {
    const char* what;
    std::vector<Event> events;
  };
  const Row rows[] = {
      {"a file at the top", {enter("", file)}},
      {"names out of order", {enter("", folder), enter("b", file), enter("a", file)}},
      {"a name twice", {enter("", folder), enter("b", file), enter("b", file)}},
      {"a name that leaves", {enter("", folder), enter("..", file)}},
      {"a name with a slash", {enter("", folder), enter("a/b", file)}},
      {"an owner beyond 16 bits", {enter("", folder), enter("a", wide)}},
      {"an empty link", {enter("", folder), enter("a", node_of(S_IFLNK | 0777))}},
      {"an attribute too large", {enter("", folder), enter("a", label)}},
  };
  for (const Row& row : rows) EXPECT_FALSE(encode_all(row.events, 100'000)) << row.what;
}

TEST(ArchiveEncoder, KeepsWhatItsFeaturesKeep) {
  struct Row {
    const char* what;
    FeatureFlags features;
    std::uint32_t mode;
    std::uint32_t mode_kept;
  };
  for (const Row& row :
       {Row{"permissions", feature::kPermissions, S_IFREG | 04751, S_IFREG | 04751},
        Row{"acl", feature::kAcl, S_IFDIR | 01700, S_IFDIR | 01700},
        Row{"read-only, may write", feature::kReadOnly, S_IFREG | 0200, S_IFREG | 0666},
        Row{"read-only, may not", feature::kReadOnly, S_IFREG | 0444, S_IFREG | 0444},
        Row{"read-only folder", feature::kReadOnly, S_IFDIR | 0500, S_IFDIR | 0555},
        Row{"nothing, file", 0, S_IFREG | 0755, S_IFREG | 0666}, Row{"nothing, folder", 0, S_IFDIR | 0700, S_IFDIR | 0777},
        Row{"a symlink", feature::kPermissions, S_IFLNK | 0644, S_IFLNK | 0777}})
    EXPECT_EQ(mode_kept(row.mode, row.features), row.mode_kept) << row.what;
  EXPECT_EQ(mtime_kept(1'999'999'999, feature::kNsecTime), 1'999'999'999);
  EXPECT_EQ(mtime_kept(1'999'999'999, feature::kUsecTime), 1'999'999'000);
  EXPECT_EQ(mtime_kept(1'999'999'999, feature::kSecTime), 1'000'000'000);
  EXPECT_EQ(mtime_kept(3'999'999'999, feature::k2SecTime), 2'000'000'000);
  EXPECT_EQ(mtime_kept(1'999'999'999, 0), 0);
}

TEST(ArchiveAcl, TheKernelsFormGoesAndComes) {
  const Acl acl{{{1, {}, 6}, {12345, {}, 4}}, {{2, {}, 1}}, 4};
  const Bytes kernel = encode_access_acl(acl, 0654);
  const Result<Acl> again = decode_access_acl(kernel);
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(*again, acl);
  const DefaultAcl by_default{7, 5, 0, 7, {{3, {}, 2}}, {}};
  const Result<DefaultAcl> default_again = decode_default_acl(encode_default_acl(by_default));
  ASSERT_TRUE(default_again);
  EXPECT_EQ(*default_again, by_default);
}

TEST(ArchiveAcl, OtherBytesAreNoAcl) {
  for (const char* hex : {"", "01000000", "0200000001", "02000000 0300 0700 ffffffff", "02000000 0100 0800 ffffffff"})
    EXPECT_FALSE(decode_access_acl(*from_hex(hex))) << hex;
}

}  // namespace
}  // namespace godwit::chunks
