// What every ChunkStore does, wherever its chunks lie and however they are compressed, as one function for the tests of each
// implementation. Only tests include this.
#pragma once

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/random.h"
#include "chunks/driver/chunk_store.h"
#include "store/block_device_conformance.h"

namespace godwit::chunks::conformance {

using store::conformance::Pump;
using store::conformance::run_until;

// How the suite gets at stores of one kind. All that open() gives see the same place.
struct ChunkStoreUnderTest {
  std::string name;
  Compression compression = Compression::zstd;  // of what is planted and put
  std::function<std::unique_ptr<ChunkStore>()> open;
  Pump pump;
  // A file where the store reads, in place of one of that name.
  std::function<void(const std::string& blob, ConstBytes content)> plant;
  std::string place;  // what errors call it
  bool is_written = false;
  enum class Has : std::uint8_t { tells, tells_of_what_was_put, refuses } has = Has::tells;
  bool is_large_tried = false;  // a chunk of the largest size there is
};

class ChunkStoreSuite {
 public:
  explicit ChunkStoreSuite(const ChunkStoreUnderTest& under) : under_(under), store_(under.open()) {}

  void run() {
    EXPECT_FALSE(store_->title().empty());
    check_what_is_there();
    check_what_is_not();
    check_damage();
    check_sizes();
    check_many_at_once();
    check_reader();
    if (under_.is_written)
      check_writing();
    else
      check_refusal_to_write();
    check_destruction();
  }

 private:
  static constexpr Digest kDigest = Digest::sha512_256;
  static constexpr std::uint64_t kSizeMax = 1 << 20;

  template <class T, class Start>
  Result<T> wait(Start start) {
    return store::conformance::wait_for<T>(under_.pump, start);
  }
  Result<Bytes> get(const ChunkId& id, std::uint64_t size_max = kSizeMax, Digest digest = kDigest) {
    return wait<Bytes>([&](auto done) { store_->get(id, digest, size_max, std::move(done)); });
  }
  static ChunkId id_of(ConstBytes data) { return chunk_id_of(data, kDigest); }

  bool is_packed() const { return under_.compression != Compression::none; }
  Bytes file_of(ConstBytes data) const {
    Bytes file;
    EXPECT_TRUE(ChunkEncoder::of(under_.compression, std::nullopt)->encode(data, file));
    return file;
  }
  // Data that nobody has seen yet; half of it can be compressed.
  Bytes fresh(std::size_t size) {
    Bytes data(size);
    for (std::byte& b : data) b = static_cast<std::byte>(random_.next() >> 32);
    std::fill(data.begin() + static_cast<std::ptrdiff_t>(size / 2), data.end(), std::byte{7});
    if (size > 0) data[0] = static_cast<std::byte>(random_.next() >> 32);
    return data;
  }
  ChunkId plant(ConstBytes data) {
    const ChunkId id = id_of(data);
    under_.plant(chunk_name(id, is_packed()), file_of(data));
    return id;
  }
  void expect_there(const ChunkId& id, ConstBytes data) {
    const Result<Bytes> got = get(id);
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_TRUE(std::ranges::equal(*got, data));
  }

  void check_what_is_there() {
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{47}, std::size_t{65'536}, std::size_t{300'001}}) {
      SCOPED_TRACE(size);
      const Bytes data = fresh(size);
      const ChunkId id = plant(data);
      expect_there(id, data);
      expect_there(id, data);  // again
    }
    // What the chunk is named by decides, and the caller says what that is.
    const Bytes data = fresh(1000);
    const ChunkId id = chunk_id_of(data, Digest::sha256);
    under_.plant(chunk_name(id, is_packed()), file_of(data));
    EXPECT_EQ(get(id, kSizeMax, Digest::sha256).value(), data);
    EXPECT_EQ(get(id).error().kind(), ErrorKind::corrupt) << "not its SHA-512/256";
  }

  void check_what_is_not() {
    const ChunkId id = id_of(fresh(100));
    for (int i = 0; i < 2; ++i) {
      const Result<Bytes> none = get(id);
      ASSERT_FALSE(none);
      EXPECT_EQ(none.error().kind(), ErrorKind::not_found) << none.error().message();
      EXPECT_NE(none.error().message().find(id.hex()), std::string::npos) << none.error().message();
      EXPECT_NE(none.error().message().find(store_->title()), std::string::npos) << none.error().message();
    }
    EXPECT_EQ(get(id, 1).error().kind(), ErrorKind::not_found) << "whatever may be asked for";
    const Bytes data = fresh(100);
    const ChunkId there = plant(data);
    const auto has = wait<std::vector<bool>>([&](auto done) { store_->has({id, there, id}, std::move(done)); });
    using Has = ChunkStoreUnderTest::Has;
    if (under_.has == Has::refuses) {
      ASSERT_FALSE(has);
      EXPECT_EQ(has.error().kind(), ErrorKind::unsupported);
    } else {
      EXPECT_EQ(has.value(), (std::vector<bool>{false, under_.has == Has::tells, false}));
      EXPECT_TRUE(wait<std::vector<bool>>([&](auto done) { store_->has({}, std::move(done)); }).value().empty());
    }
  }

  // An error that says which chunk and where, and never a byte; the next chunk comes all the same.
  void expect_refused(const std::string& what, const ChunkId& id, std::uint64_t size_max) {
    SCOPED_TRACE(what);
    const Result<Bytes> got = get(id, size_max);
    ASSERT_FALSE(got);
    EXPECT_TRUE(got.error().kind() == ErrorKind::corrupt || got.error().kind() == ErrorKind::limit)
        << name_of(got.error().kind()) << ": " << got.error().message();
    EXPECT_NE(got.error().message().find(id.hex()), std::string::npos) << got.error().message();
    EXPECT_NE(got.error().message().find(under_.place), std::string::npos) << got.error().message();
    const Bytes good = fresh(500);
    expect_there(plant(good), good);
  }

  void check_damage() {
    const std::size_t size = 5000;
    const auto spoil = [&](const std::string& what, const std::function<Bytes(const Bytes& data, Bytes file)>& make) {
      const Bytes data = fresh(size);
      const ChunkId id = id_of(data);
      under_.plant(chunk_name(id, is_packed()), make(data, file_of(data)));
      expect_refused(what, id, kSizeMax);
    };
    spoil("another chunk", [&](const Bytes&, const Bytes&) { return file_of(fresh(size)); });
    spoil("another chunk, longer", [&](const Bytes&, const Bytes&) { return file_of(fresh(size * 3)); });
    spoil("nothing", [](const Bytes&, const Bytes&) { return Bytes(); });
    spoil("cut off by a byte", [](const Bytes&, Bytes file) { return file.pop_back(), file; });
    spoil("cut off in the middle", [](const Bytes&, Bytes file) { return file.resize(file.size() / 2), file; });
    spoil("a byte too many", [](const Bytes&, Bytes file) { return file.push_back(std::byte{0}), file; });
    spoil("a bit that fell over", [](const Bytes&, Bytes file) { return file[file.size() / 3] ^= std::byte{4}, file; });
    spoil("a web page", [](const Bytes&, const Bytes&) { return to_bytes(as_bytes("<html>please log in</html>")); });
    spoil("twice", [](const Bytes&, Bytes file) {
      const Bytes once = file;
      append(file, once);
      return file;
    });
    if (!is_packed()) return;
    spoil("raw bytes under a compressed name", [](const Bytes& data, const Bytes&) { return data; });
    spoil("8 MiB of zeros in a few bytes", [&](const Bytes&, const Bytes&) {
      static const Bytes zeros(std::size_t{8} << 20);
      return file_of(zeros);
    });
    spoil("a compressed chunk, compressed", [&](const Bytes&, const Bytes& file) { return file_of(file); });
  }

  void check_sizes() {
    const Bytes data = fresh(200'000);
    const ChunkId id = plant(data);
    EXPECT_EQ(get(id, data.size()).value(), data);
    expect_refused("a byte longer than may be", id, data.size() - 1);
    expect_refused("much longer than may be", id, 1);
    // What can not be compressed at all has a file longer than itself.
    Bytes noise(100'000);
    for (std::byte& b : noise) b = static_cast<std::byte>(random_.next() >> 32);
    EXPECT_EQ(get(plant(noise), noise.size()).value(), noise);
    if (!under_.is_large_tried) return;
    const Bytes largest(kChunkBytesMax, std::byte{9});
    const Result<Bytes> got = get(plant(largest), kChunkBytesMax);
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_TRUE(*got == largest);
  }

  void check_many_at_once() {
    std::map<ChunkId, Bytes> there;
    std::vector<ChunkId> ids;
    for (int i = 0; i < 150; ++i) {
      Bytes data = fresh(1 + random_.below(3000));
      ids.push_back(plant(data));
      there.emplace(ids.back(), std::move(data));
    }
    for (int i = 0; i < 50; ++i) ids.push_back(id_of(fresh(64)));
    for (int i = 0; i < 60; ++i) ids.push_back(ids[random_.below(200)]);  // by two at once
    std::map<std::size_t, int> ends;                                      // by call
    for (std::size_t i = 0; i < ids.size(); ++i)
      store_->get(ids[i], kDigest, kSizeMax, [&, i](Result<Bytes> got) {
        ++ends[i];
        const auto expected = there.find(ids[i]);
        if (expected != there.end()) {
          ASSERT_TRUE(got) << got.error().message();
          EXPECT_EQ(*got, expected->second);
        } else {
          ASSERT_FALSE(got);
          EXPECT_EQ(got.error().kind(), ErrorKind::not_found) << got.error().message();
        }
      });
    EXPECT_TRUE(ends.empty()) << "`done` was called from inside the call";
    ASSERT_TRUE(run_until(under_.pump, [&] { return ends.size() == ids.size(); })) << ends.size() << " of " << ids.size();
    for (const auto& [call, count] : ends) EXPECT_EQ(count, 1) << "call " << call;
  }

  void check_reader() {
    const std::shared_ptr<ChunkReader> reader = store_->reader();
    if (!reader) return;
    const Bytes good = fresh(3000), bad = fresh(3000);
    const ChunkId ids[] = {plant(good), id_of(bad), id_of(fresh(3000))};
    under_.plant(chunk_name(ids[1], is_packed()), file_of(fresh(3000)));
    Bytes memory[3] = {Bytes(3000), Bytes(3000), Bytes(3000)};
    std::vector<WantedChunk> wanted;
    for (int i = 0; i < 3; ++i) wanted.push_back({.id = ids[i], .into = memory[i], .got = false});
    reader->read(wanted, kDigest);
    EXPECT_FALSE(wanted[1].got) << "damaged";
    EXPECT_FALSE(wanted[2].got) << "absent";
    EXPECT_TRUE(!wanted[0].got || memory[0] == good);
    // It may not have what lies further away; who asks the store has it.
    expect_there(ids[0], good);
  }

  void check_writing() {
    const Bytes data = fresh(50'000);
    const ChunkId id = id_of(data);
    const auto put = [&] { return wait<bool>([&](auto done) { store_->put(id, data, std::move(done)); }); };
    const auto remove = [&] { return wait<void>([&](auto done) { store_->remove(id, std::move(done)); }); };
    const auto has = [&]() -> bool {
      return wait<std::vector<bool>>([&](auto done) { store_->has({id}, std::move(done)); }).value().at(0);
    };
    EXPECT_EQ(remove().error().kind(), ErrorKind::not_found);
    EXPECT_FALSE(has());
    EXPECT_TRUE(put().value());
    EXPECT_FALSE(put().value()) << "it was there already";
    EXPECT_TRUE(has());
    expect_there(id, data);
    EXPECT_TRUE(wait<void>([&](auto done) { store_->sync(std::move(done)); }));
    EXPECT_TRUE(remove());
    EXPECT_FALSE(has());
    // Many put one chunk, and one of them stores it; somebody reads it meanwhile, whole or not at all.
    int ends = 0, news = 0, reads = 0;
    for (int i = 0; i < 20; ++i) {
      store_->put(id, data, [&](Result<bool> stored) {
        ++ends;
        if (stored.value()) ++news;
      });
      store_->get(id, kDigest, kSizeMax, [&](Result<Bytes> got) {
        ++reads;
        EXPECT_TRUE(got ? *got == data : got.error().kind() == ErrorKind::not_found) << (got ? "" : got.error().message());
      });
    }
    ASSERT_TRUE(run_until(under_.pump, [&] { return ends == 20 && reads == 20; }));
    EXPECT_EQ(news, 1);
    expect_there(id, data);
  }

  void check_refusal_to_write() {
    const Bytes data = fresh(100);
    const ChunkId id = id_of(data), there = plant(fresh(100));
    const Result<bool> put = wait<bool>([&](auto done) { store_->put(id, data, std::move(done)); });
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().kind(), ErrorKind::read_only) << put.error().message();
    EXPECT_EQ(wait<void>([&](auto done) { store_->remove(there, std::move(done)); }).error().kind(), ErrorKind::read_only);
    EXPECT_TRUE(wait<void>([&](auto done) { store_->sync(std::move(done)); }));
    EXPECT_EQ(get(id).error().kind(), ErrorKind::not_found);
    EXPECT_TRUE(get(there));
  }

  // Nobody is called once it is gone; also when it goes in a `done`.
  void check_destruction() {
    const Bytes data = fresh(20'000);
    const auto other = std::make_shared<const Bytes>(fresh(20'000));
    const ChunkId id = plant(data), absent = id_of(*other), fresh_id = id_of(*other);
    const int rounds = under_.compression == Compression::xz ? 10 : 30;  // it takes its time, above all under a sanitizer
    int calls = 0;
    const auto start_many = [&](ChunkStore& store, const auto& ended) {
      for (int i = 0; i < rounds; ++i) {
        store.get(id, kDigest, kSizeMax, [ended](const Result<Bytes>&) { ended(); });
        store.get(absent, kDigest, kSizeMax, [ended](const Result<Bytes>&) { ended(); });
        store.has({id, absent}, [ended](const Result<std::vector<bool>>&) { ended(); });
        store.put(fresh_id, *other, [ended, other](const Result<bool>&) { ended(); });
        store.remove(absent, [ended](const Result<void>&) { ended(); });
      }
    };
    const auto let_things_end = [&] {
      for (int i = 0; i < 6; ++i) EXPECT_TRUE(get(id));
    };
    std::unique_ptr<ChunkStore> store = under_.open();
    start_many(*store, [&] { ++calls; });
    store->sync([&](const Result<void>&) { ++calls; });
    store.reset();
    let_things_end();
    EXPECT_EQ(calls, 0);
    for (const int before_it_goes : {1, 2, 40}) {
      calls = 0;
      store = under_.open();
      start_many(*store, [&] {
        if (++calls == before_it_goes) store.reset();
      });
      ASSERT_TRUE(run_until(under_.pump, [&] { return store == nullptr; }));
      let_things_end();
      EXPECT_EQ(calls, before_it_goes);
    }
  }

  const ChunkStoreUnderTest& under_;
  std::unique_ptr<ChunkStore> store_;
  Random random_{7};
};

inline void check_chunk_store(const ChunkStoreUnderTest& under) {
  SCOPED_TRACE(under.name + ", " + std::string(name_of(under.compression)));
  ChunkStoreSuite(under).run();
}

}  // namespace godwit::chunks::conformance
