#include "chunks/core/archive_cutter.h"

#include <map>

#include <gtest/gtest.h>

#include "base/check.h"
#include "base/random.h"
#include "chunks/core/archive_samples_test.h"
#include "chunks/core/chunker.h"
#include "chunks/core/golden_inputs.h"

namespace godwit::chunks {
namespace {

struct File {
  Bytes content;
  std::optional<FileState> state;
};
// One folder "d" with files, and files beside it: names with "d/" are in it.
using Files = std::map<std::string, File>;

// What was read of files, in bytes and in files that were open at once.
struct Reads {
  std::uint64_t bytes = 0;
  std::size_t open = 0;
  std::size_t open_max = 0;
};

class Payload final : public ArchivePayload {
 public:
  Payload(const File& file, Reads& reads) : file_(file), reads_(reads) {
    reads_.open_max = std::max(reads_.open_max, ++reads_.open);
  }
  ~Payload() override { --reads_.open; }
  std::optional<FileState> state() const override { return file_.state; }
  Result<void> read(std::uint64_t offset, MutableBytes into) override {
    GODWIT_CHECK(offset >= next_ && offset + into.size() <= file_.content.size());
    std::copy_n(file_.content.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    next_ = offset + into.size();
    reads_.bytes += into.size();
    return {};
  }

 private:
  const File& file_;
  Reads& reads_;
  std::uint64_t next_ = 0;
};

std::vector<samples::Event> events_of(const Files& files) {
  using samples::Event;
  const auto enter = [](std::string name, std::uint32_t mode, const Bytes& payload) {
    Event event{Event::Kind::enter, std::move(name), {}, payload};
    event.node.features = kDefaultArchiveFlags;
    event.node.mode = mode;
    event.node.payload_size = payload.size();
    return event;
  };
  const Event leave{Event::Kind::leave, {}, {}, {}};
  std::vector<Event> events = {enter("", S_IFDIR | 0755, {}), enter("d", S_IFDIR | 0700, {})};
  for (const auto& [name, file] : files)
    if (name.starts_with("d/")) events.push_back(enter(name.substr(2), S_IFREG | 0644, file.content));
  events.push_back(leave);
  for (const auto& [name, file] : files)
    if (!name.starts_with("d/")) events.push_back(enter(name, S_IFREG | 0644, file.content));
  events.push_back(leave);
  return events;
}

class Tree final : public LazyArchiveTree {
 public:
  Tree(const Files& files, Reads& reads) : tree_(events_of(files)), files_(files), reads_(reads) {}

  Result<Step> next() override {
    const Result<Step> step = tree_.next();
    depth_ += *step == Step::leave ? -1 : tree_.node().is_directory() ? 1 : 0;
    return step;
  }
  const Node& node() const override { return tree_.node(); }
  std::string_view name() const override { return tree_.name(); }
  Result<void> read_payload(MutableBytes) override { return fail(ErrorKind::invalid, "not asked for"); }
  std::unique_ptr<ArchivePayload> take_payload() override {
    return std::make_unique<Payload>(files_.at((depth_ == 2 ? "d/" : "") + std::string(tree_.name())), reads_);
  }

 private:
  samples::MemoryTree tree_;
  const Files& files_;
  Reads& reads_;
  int depth_ = 0;
};

struct Cut {
  std::uint64_t end = 0;
  ChunkId id;
  friend bool operator==(const Cut&, const Cut&) = default;
};

// As one who reads all of it and cuts by the definition.
std::vector<Cut> cuts_of(const Files& files, const CutRule& rule) {
  const Bytes archive = samples::encode_all(events_of(files), 100'000).value();
  Chunker chunker(rule, ScanVariant::scalar);
  std::vector<std::uint64_t> ends;
  chunker.feed(archive, ends);
  chunker.finish(ends);
  std::vector<Cut> cuts;
  for (std::uint64_t start = 0; const std::uint64_t end : ends) {
    cuts.push_back({end, chunk_id_of(ConstBytes(archive).subspan(start, end - start), Digest::sha256)});
    start = end;
  }
  return cuts;
}

struct Made {
  std::vector<Cut> cuts;
  std::vector<KnownChunk> learnt;
  Reads reads;
  std::size_t known = 0;
};

Made make(const Files& files, const CutRule& rule, const std::vector<KnownChunk>& known) {
  Made made;
  Tree tree(files, made.reads);
  ArchiveCutter cutter(tree, rule, known);
  for (std::uint64_t end = 0;;) {
    const Result<std::optional<ArchiveCutter::Chunk>> chunk = cutter.next();
    GODWIT_CHECK(chunk);
    if (!*chunk) break;
    GODWIT_CHECK((*chunk)->offset == end);
    end += (*chunk)->length;
    const ChunkId id = (*chunk)->is_known ? (*chunk)->id : chunk_id_of((*chunk)->data, Digest::sha256);
    made.cuts.push_back({end, id});
    made.known += (*chunk)->is_known ? 1 : 0;
    if ((*chunk)->prints)
      made.learnt.push_back(
          {.start = (*chunk)->prints->start, .print = (*chunk)->prints->whole, .length = (*chunk)->length, .id = id});
  }
  std::ranges::sort(made.learnt);
  return made;
}

// A disk on which every change of a file gives it a state that was never there before.
class Disk {
 public:
  explicit Disk(std::uint64_t seed) : seed_(seed) {}
  File file(Bytes content) { return {std::move(content), state()}; }
  File random_file(std::size_t size) { return file(golden::random_bytes(++seed_, size)); }
  std::optional<FileState> state() { return FileState{.inode = ++clock_, .ctime_ns = static_cast<std::int64_t>(clock_)}; }

 private:
  std::uint64_t seed_;
  std::uint64_t clock_ = 0;
};

const CutRule kRule = *CutRule::of({.min = 256, .avg = 1024, .max = 4096});

Files sample(Disk& disk) {
  Files files;
  for (int i = 0; i < 40; ++i) files["d/" + std::to_string(1000 + i)] = disk.random_file(static_cast<std::size_t>(i) * 100);
  files["large"] = disk.random_file(300'000);
  files["zeros"] = disk.file(Bytes(30'000));
  files["empty"] = disk.file({});
  files["small"] = disk.random_file(10);
  return files;
}

TEST(ArchiveCutter, WhatIsNotKnownIsCutAsByTheDefinition) {
  Disk disk(1);
  const Files files = sample(disk);
  for (const ChunkSizes& sizes : {ChunkSizes{.min = 256, .avg = 1024, .max = 4096}, ChunkSizes{.min = 1, .avg = 64, .max = 100},
                                  ChunkSizes{.min = 512, .avg = 512, .max = 512}, ChunkSizes{}}) {
    const CutRule rule = *CutRule::of(sizes);
    const Made made = make(files, rule, {});
    EXPECT_EQ(made.cuts, cuts_of(files, rule)) << text_of(sizes);
    EXPECT_EQ(made.known, 0);
    const Made again = make(files, rule, made.learnt);
    EXPECT_EQ(again.cuts, made.cuts) << text_of(sizes);
    EXPECT_EQ(again.learnt, made.learnt) << text_of(sizes);
    EXPECT_EQ(again.known, made.cuts.size()) << text_of(sizes);
  }
}

TEST(ArchiveCutter, NothingIsReadOfATreeThatIsKnown) {
  Disk disk(2);
  const Files files = sample(disk);
  const Made made = make(files, kRule, make(files, kRule, {}).learnt);
  EXPECT_EQ(made.reads.bytes, 0);
}

TEST(ArchiveCutter, AroundAChangedFileLittleIsRead) {
  Disk disk(3);
  Files files = sample(disk);
  const Made before = make(files, kRule, {});
  files["d/1020"] = disk.random_file(2000);
  const Made made = make(files, kRule, before.learnt);
  EXPECT_EQ(made.cuts, cuts_of(files, kRule));
  EXPECT_LT(made.reads.bytes, 100'000);
  EXPECT_GT(made.known, before.known + 250);
}

TEST(ArchiveCutter, AFileWithoutAStateIsReadAgain) {
  Disk disk(4);
  Files files = sample(disk);
  files["large"].state.reset();
  const Made before = make(files, kRule, {});
  golden::random_bytes(99, 300'000).swap(files["large"].content);  // and nothing says so
  const Made made = make(files, kRule, before.learnt);
  EXPECT_EQ(made.cuts, cuts_of(files, kRule));
  EXPECT_GE(made.reads.bytes, 300'000);
  EXPECT_GT(made.known, 10);
}

TEST(ArchiveCutter, ATreeOfOneChunkIsKnownUntilItGrows) {
  Disk disk(5);
  Files files;
  files["x"] = disk.random_file(20);
  const CutRule rule = *CutRule::of({});
  const Made before = make(files, rule, {});
  ASSERT_EQ(before.cuts.size(), 1);
  EXPECT_EQ(make(files, rule, before.learnt).known, 1);
  files["y"] = disk.random_file(50'000);
  const Made made = make(files, rule, before.learnt);
  EXPECT_EQ(made.known, 0);
  EXPECT_EQ(made.cuts, cuts_of(files, rule));
}

TEST(ArchiveCutter, FewFilesAreOpenHoweverManyAChunkHas) {
  Disk disk(6);
  Files files;
  for (int i = 0; i < 3000; ++i) files["d/" + std::to_string(10'000 + i)] = disk.random_file(3);
  const CutRule rule = *CutRule::of({.min = 400'000, .avg = 500'000, .max = 600'000});
  const Made before = make(files, rule, {});
  const Made made = make(files, rule, before.learnt);
  EXPECT_EQ(made.cuts, cuts_of(files, rule));
  EXPECT_EQ(made.known, made.cuts.size());
  EXPECT_LE(std::max(before.reads.open_max, made.reads.open_max), ArchivePieces::kOpenFilesMax + 1);
}

// Any sequence of changes; what is known is always of the state before, and sometimes of older ones as well.
TEST(ArchiveCutter, ChangedTreesAreCutAsByTheDefinition) {
  for (std::uint64_t seed = 1; seed <= 15; ++seed) {
    Disk disk(1000 * seed);
    Files files = sample(disk);
    std::vector<KnownChunk> known;
    Random random(seed);
    for (int round = 0; round < 8; ++round) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " round " + std::to_string(round));
      const Made made = make(files, kRule, known);
      ASSERT_EQ(made.cuts, cuts_of(files, kRule));
      if (random.below(4) == 0) {
        known.insert(known.end(), made.learnt.begin(), made.learnt.end());
        std::ranges::sort(known);
        const auto twice = std::ranges::unique(known);
        known.erase(twice.begin(), twice.end());
      } else {
        known = made.learnt;
      }
      for (std::uint64_t changes = random.below(4); changes > 0; --changes) {
        const auto at = std::next(files.begin(), static_cast<std::ptrdiff_t>(random.below(files.size())));
        File& file = at->second;
        switch (random.below(7)) {
          case 0: file = disk.random_file(file.content.size()); break;                    // written anew
          case 1: file.state = disk.state(); break;                                       // touched
          case 2: file = disk.file(Bytes(file.content.size() / 2, std::byte{7})); break;  // cut off
          case 3:                                                                         // grown
            file.content.resize(file.content.size() + 1 + random.below(5000));
            file.state = disk.state();
            break;
          case 4: files["d/" + std::to_string(random.below(2000))] = disk.random_file(random.below(9000)); break;  // new
          case 5:
            if (files.size() > 1) files.erase(at);
            break;
          default: {  // renamed, which changes its state, or moved with it
            File moved = file;
            if (random.below(2) == 0) moved.state = disk.state();
            files.erase(at);
            files["r" + std::to_string(random.below(1000))] = std::move(moved);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace godwit::chunks
