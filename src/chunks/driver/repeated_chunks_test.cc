#include "chunks/driver/repeated_chunks.h"

#include <map>

#include <gtest/gtest.h>

#include "net/event_loop.h"

namespace godwit::chunks {
namespace {

ChunkId id_of(char c) {
  ChunkId id;
  id.bytes.fill(static_cast<std::byte>(c));
  return id;
}

// Gives for each id a hundred bytes of it, but for 'x', which it has not; counts what it is asked for.
class CountingStore final : public ChunkStore {
 public:
  CountingStore(std::map<ChunkId, int>& asked, net::Scheduler& scheduler) : asked_(asked), scheduler_(scheduler) {}
  const std::string& title() const override { return title_; }
  void get(const ChunkId& id, Digest, std::uint64_t, Done<Bytes> done) override {
    ++asked_[id];
    scheduler_.post([id, done = std::move(done)]() mutable {
      if (id == id_of('x')) return done(fail(ErrorKind::not_found, "none"));
      done(Bytes(100, id.bytes[0]));
    });
  }
  void has(std::vector<ChunkId>, Done<std::vector<bool>>) override { FAIL(); }
  void put(const ChunkId&, ConstBytes, Done<bool>) override { FAIL(); }
  void sync(Done<void>) override { FAIL(); }
  void remove(const ChunkId&, Done<void>) override { FAIL(); }

 private:
  std::map<ChunkId, int>& asked_;
  net::Scheduler& scheduler_;
  const std::string title_ = "counting";
};

class RepeatedChunks : public ::testing::Test {
 protected:
  std::unique_ptr<ChunkStore> store(const std::string& repeats, std::uint64_t bytes_max = 1000) {
    std::unordered_set<ChunkId> ids;
    for (const char c : repeats) ids.insert(id_of(c));
    return make_store_of_repeats(std::make_unique<CountingStore>(asked_, loop_), std::move(ids), loop_, bytes_max);
  }
  // Asks for all at once and checks what comes.
  void get(ChunkStore& store, const std::string& ids) {
    std::size_t ended = 0;
    for (const char c : ids)
      store.get(id_of(c), Digest::sha256, 100, [&ended, c](Result<Bytes> chunk) {
        ++ended;
        if (c == 'x')
          EXPECT_EQ(chunk.error().kind(), ErrorKind::not_found);
        else
          EXPECT_EQ(chunk.value(), Bytes(100, static_cast<std::byte>(c)));
      });
    EXPECT_EQ(ended, 0u) << "`done` was called from inside the call";
    loop_.run();
    EXPECT_EQ(ended, ids.size());
  }
  int asked(char c) { return asked_[id_of(c)]; }

  std::map<ChunkId, int> asked_;
  net::EventLoop loop_;
};

TEST_F(RepeatedChunks, AreThoseThatAnIndexNamesTwice) {
  Index index;
  for (const char c : std::string("abcacad")) index.entries.push_back({index.blob_size() + 10, id_of(c)});
  EXPECT_EQ(repeats_of(index), (std::unordered_set<ChunkId>{id_of('a'), id_of('c')}));
  EXPECT_TRUE(repeats_of(Index()).empty());
}

TEST_F(RepeatedChunks, AreAskedForOnce) {
  const auto chunks = store("ab");
  get(*chunks, "aabab");  // on their way together
  get(*chunks, "abba");   // here already
  EXPECT_EQ(asked('a'), 1);
  EXPECT_EQ(asked('b'), 1);
  EXPECT_EQ(chunks->title(), "counting");
}

TEST_F(RepeatedChunks, OthersAreNotKept) {
  const auto chunks = store("ab");
  get(*chunks, "cc");
  get(*chunks, "c");
  EXPECT_EQ(asked('c'), 3);
}

TEST_F(RepeatedChunks, AreForgottenWhenTheyAreTooMany) {
  const auto chunks = store("abcd", 250);
  get(*chunks, "ab");
  get(*chunks, "a");
  get(*chunks, "c");  // takes the place of b, which was wanted before a
  get(*chunks, "ac");
  EXPECT_EQ(asked('a'), 1);
  EXPECT_EQ(asked('c'), 1);
  get(*chunks, "b");
  EXPECT_EQ(asked('b'), 2);
  const auto small = store("a", 99);
  get(*small, "a");
  get(*small, "a");
  EXPECT_EQ(asked('a'), 3) << "one that is larger than all that may be kept";
}

TEST_F(RepeatedChunks, AnErrorIsEverybodysAndIsNotKept) {
  const auto chunks = store("x");
  get(*chunks, "xxx");
  EXPECT_EQ(asked('x'), 1);
  get(*chunks, "x");
  EXPECT_EQ(asked('x'), 2);
}

TEST_F(RepeatedChunks, AnotherDigestOrSizeIsAnotherQuestion) {
  const auto chunks = store("a");
  int ended = 0;
  for (const auto& [digest, size_max] : {std::pair{Digest::sha256, 100}, {Digest::sha512_256, 100}, {Digest::sha256, 50}})
    chunks->get(id_of('a'), digest, static_cast<std::uint64_t>(size_max), [&](const Result<Bytes>&) { ++ended; });
  loop_.run();
  EXPECT_EQ(ended, 3);
  EXPECT_EQ(asked('a'), 3);
  chunks->get(id_of('a'), Digest::sha512_256, 100, [&](const Result<Bytes>&) { ++ended; });
  chunks->get(id_of('a'), Digest::sha256, 50, [&](const Result<Bytes>&) { ++ended; });
  loop_.run();
  EXPECT_EQ(ended, 5);
  EXPECT_EQ(asked('a'), 5);
}

TEST_F(RepeatedChunks, NobodyIsCalledOnceTheyAreGone) {
  auto chunks = store("a");
  int calls = 0;
  for (int i = 0; i < 3; ++i)
    chunks->get(id_of('a'), Digest::sha256, 100, [&](const Result<Bytes>&) {
      ++calls;
      chunks.reset();
    });
  loop_.run();
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace godwit::chunks
