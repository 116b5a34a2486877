#include "chunks/core/archive_map.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "chunks/core/archive_samples_test.h"

namespace godwit::chunks {
namespace {

using samples::Event;

std::uint32_t plain_owner(const std::string&, std::uint64_t id, bool, bool) {
  return static_cast<std::uint32_t>(id);
}

// What lies between is given in pieces; `looked_at` counts the bytes.
Result<ArchiveMap> map_of(ConstBytes archive, std::size_t piece, std::uint64_t* looked_at = nullptr,
                          std::size_t entries_max = kArchiveMapEntriesMax) {
  ArchiveMapper mapper(plain_owner, entries_max);
  while (!mapper.is_done() && mapper.position() < archive.size()) {
    const std::uint64_t at = mapper.position();
    const std::size_t count = std::min<std::size_t>(piece, archive.size() - at);
    if (looked_at != nullptr) *looked_at += count;
    if (Result<void> fed = mapper.feed(archive.subspan(at, count)); !fed) return fail(fed.error());
  }
  return mapper.finish(archive.size());
}

TEST(ArchiveMap, EveryNodeStandsWhereItLiesWhateverTheSplit) {
  for (const char* name :
       {"tree", "tree-acl", "tree-acl-default", "tree-before-1970", "tree-fifo", "tree-xattr", "tree-xattr-filled"}) {
    for (const char* program : {".casync.catar", ".desync.catar"}) {
      SCOPED_TRACE(std::string(name) + program);
      const Bytes archive = samples::golden(std::string(name) + program);
      const Result<std::vector<Event>> events = samples::decode_all(archive, 1000);
      for (const std::size_t piece : {std::size_t{1}, std::size_t{17}, std::size_t{1000}, std::size_t{1} << 20}) {
        const Result<ArchiveMap> map = map_of(archive, piece);
        ASSERT_EQ(map.has_value(), events.has_value());
        if (!map) continue;
        ArchiveMap::Number number = 0;
        for (const Event& event : *events) {
          if (event.kind != Event::Kind::enter) continue;
          ASSERT_LT(number, map->size());
          const ArchiveMapEntry& entry = (*map)[number];
          EXPECT_EQ(map->name(number), event.name);
          EXPECT_EQ(entry.mtime_ns, event.node.mtime_ns);
          EXPECT_EQ(entry.mode & S_IFMT, event.node.mode & S_IFMT);
          const ConstBytes head = ConstBytes(archive).subspan(entry.head_offset, mapped_head_bytes(entry));
          const Result<Node> again = decode_mapped_node(entry, head);
          ASSERT_TRUE(again) << again.error().message();
          EXPECT_EQ(*again, event.node) << map->path(number);
          if (event.node.is_regular()) {
            const ConstBytes bytes = ConstBytes(archive).subspan(entry.head_offset + entry.head_size, entry.size);
            EXPECT_TRUE(std::ranges::equal(bytes, event.payload)) << map->path(number);
          }
          if (number > 0) {
            EXPECT_EQ(map->find(entry.parent, event.name), number);
          }
          ++number;
        }
        EXPECT_EQ(number, map->size());
      }
    }
  }
}

TEST(ArchiveMap, PathsChildrenAndNamesAreFound) {
  const Result<ArchiveMap> map = map_of(samples::golden("tree.casync.catar"), 4096);
  ASSERT_TRUE(map) << map.error().message();
  const auto sub = map->find(0, "sub");
  ASSERT_TRUE(sub);
  const auto deep = map->find(*sub, "deep");
  ASSERT_TRUE(deep);
  const auto file = map->find(*deep, "f20");
  ASSERT_TRUE(file);
  EXPECT_EQ(map->path(*file), "sub/deep/f20");
  EXPECT_EQ(map->path(0), "");
  EXPECT_FALSE(map->find(0, "nothing"));
  EXPECT_FALSE(map->find(*file, "x"));
  std::string last;
  for (std::uint32_t i = 0; i < (*map)[*deep].child_count; ++i) {
    const std::string name(map->name(map->child(*deep, i)));
    EXPECT_LT(last, name);
    last = name;
  }
  EXPECT_EQ((*map)[0].parent, 0u);
}

Node node_of(std::uint32_t mode, std::uint64_t size = 0) {
  Node node;
  node.features = kDefaultArchiveFlags;
  node.mode = mode;
  node.payload_size = size;
  return node;
}

TEST(ArchiveMap, WhatSomeNodeHasIsKnown) {
  Node top = node_of(S_IFDIR | 0755);
  top.flags = feature::kFlagNoAtime;
  Node file = node_of(S_IFREG | 0644);
  file.quota_project_id = 7;
  const Result<Bytes> archive = samples::encode_all(
      {{Event::Kind::enter, "", top, {}}, {Event::Kind::enter, "a", file, {}}, {Event::Kind::leave, {}, {}, {}}}, 1000);
  ASSERT_TRUE(archive) << archive.error().message();
  EXPECT_EQ(map_of(*archive, 1000)->used_flags(), feature::kFlagNoAtime | feature::kQuotaProjectId);
}

TEST(ArchiveMap, FilesBytesAreNotLookedAt) {
  std::vector<Event> events = {{Event::Kind::enter, "", node_of(S_IFDIR | 0755), {}}};
  for (const char* name : {"a", "b", "c"})
    events.push_back({Event::Kind::enter, name, node_of(S_IFREG | 0644, 1'000'000), Bytes(1'000'000, std::byte{1})});
  events.push_back({Event::Kind::leave, {}, {}, {}});
  const Result<Bytes> archive = samples::encode_all(events, 100'000);
  ASSERT_TRUE(archive) << archive.error().message();
  std::uint64_t looked_at = 0;
  const Result<ArchiveMap> map = map_of(*archive, 4096, &looked_at);
  ASSERT_TRUE(map) << map.error().message();
  EXPECT_EQ(map->file_bytes(), 3'000'000u);
  EXPECT_LE(looked_at, 5 * 4096u);
}

TEST(ArchiveMap, AnArchiveThatIsCutOrGoesOnIsRefused) {
  const Bytes archive = samples::golden("tree-fifo.casync.catar");
  for (std::size_t size = 0; size < archive.size(); ++size) {
    const Result<ArchiveMap> map = map_of(ConstBytes(archive).first(size), 100);
    ASSERT_FALSE(map) << size;
    EXPECT_EQ(map.error().kind(), ErrorKind::truncated) << size << ": " << map.error().message();
  }
  Bytes longer = archive;
  longer.push_back(std::byte{0});
  EXPECT_EQ(map_of(longer, 100).error().kind(), ErrorKind::invalid);
}

TEST(ArchiveMap, TooManyNodesAreALimitBeforeTheirMemoryIsAskedFor) {
  const Bytes archive = samples::golden("tree.casync.catar");
  const std::size_t count = map_of(archive, 4096)->size();
  EXPECT_TRUE(map_of(archive, 4096, nullptr, count));
  EXPECT_EQ(map_of(archive, 4096, nullptr, count - 1).error().kind(), ErrorKind::limit);
}

TEST(ArchiveMap, ModesThatTheArchiveDoesNotKeepAreNotForAllToWrite) {
  Node node = node_of(S_IFREG | 04755);
  EXPECT_EQ(mode_shown(node), S_IFREG | 04755u);
  node.features = 0;
  node.mode = S_IFREG | 0666;
  EXPECT_EQ(mode_shown(node), S_IFREG | 0644u);
  node.mode = S_IFDIR | 0777;
  EXPECT_EQ(mode_shown(node), S_IFDIR | 0755u);
  node.mode = S_IFLNK | 0777;
  EXPECT_EQ(mode_shown(node), S_IFLNK | 0777u);
}

}  // namespace
}  // namespace godwit::chunks
