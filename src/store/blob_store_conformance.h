// What every BlobStore does, as one function for the tests of each implementation. Only tests include this.
#pragma once

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "base/random.h"
#include "store/blob_store.h"
#include "store/block_device_conformance.h"

namespace godwit::store::conformance {

// How the suite gets at stores of one kind.
struct BlobStoreUnderTest {
  // A store that is empty, apart from what was planted.
  std::function<std::unique_ptr<BlobStore>()> open;
  Pump pump;
  // Makes a blob for stores that are only read; null where stores are written: then put() does it.
  std::function<void(const std::string& name, ConstBytes content)> plant;
};

class BlockingBlobs {
 public:
  BlockingBlobs(BlobStore& store, Pump pump) : store_(store), pump_(std::move(pump)) {}

  Result<Bytes> get(const std::string& name, std::uint64_t size_max = 1 << 20) {
    return wait_for<Bytes>(pump_, [&](auto done) { store_.get(name, size_max, std::move(done)); });
  }
  Result<std::vector<bool>> has(const std::vector<std::string>& names) {
    return wait_for<std::vector<bool>>(pump_, [&](auto done) { store_.has(names, std::move(done)); });
  }
  Result<bool> put(const std::string& name, std::string_view content) {
    return wait_for<bool>(pump_, [&](auto done) { store_.put(name, to_bytes(as_bytes(content)), std::move(done)); });
  }
  Result<void> sync() {
    return wait_for<void>(pump_, [&](auto done) { store_.sync(std::move(done)); });
  }
  Result<void> remove(const std::string& name) {
    return wait_for<void>(pump_, [&](auto done) { store_.remove(name, std::move(done)); });
  }
  Result<std::vector<std::string>> list(const std::string& folder) {
    const auto entries = wait_for<std::vector<BlobEntry>>(pump_, [&](auto done) { store_.list(folder, std::move(done)); });
    if (!entries) return fail(entries.error());
    std::vector<std::string> names;
    for (const BlobEntry& entry : *entries) names.push_back(entry.name + ":" + std::to_string(entry.size));
    std::ranges::sort(names);
    return names;
  }

 private:
  BlobStore& store_;
  Pump pump_;
};

// Blobs of every kind: of no byte, of many, under names that a URL or a shell would make something else of.
inline std::map<std::string, std::string> sample_blobs() {
  std::map<std::string, std::string> blobs = {
      {"ab12/one", "first"}, {"ab12/two.cacnk", ""}, {"cd34/three", "3"}, {"plain", "no folder"}};
  Random random(1);
  std::string large(300'000, ' ');
  for (char& c : large) c = static_cast<char>(random.next() >> 32);
  blobs["cd34/large"] = large;
  for (const char* name : {"a b", "%41", "q?x=1", "h#x", "a+b&c=d;e", "back\\slash", "\"quoted\"", ".hidden", "...", "tab\there",
                           "line\nbreak", "\xc3\xa9t\xc3\xa9", "\xff", "~", "http:", "-"})
    blobs[std::string("odd/") + name] = std::string("content of ") + name;
  blobs["odd/" + std::string(200, 'x')] = "long";
  return blobs;
}

inline void check_names_that_are_none(BlockingBlobs& blobs) {
  const std::string too_long = std::string(200, 'a') + "/" + std::string(200, 'b') + "/" + std::string(200, 'c');
  for (const std::string& name :
       {std::string(), std::string("/"), std::string("/a"), std::string("a/"), std::string("a//b"), std::string(".."),
        std::string("a/../b"), std::string("./a"), std::string("a\0b", 3), too_long}) {
    EXPECT_EQ(blobs.get(name).error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.put(name, "x").error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.has({"plain", name}).error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.remove(name).error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.list(name).error().kind(), ErrorKind::invalid) << name;
  }
}

inline void check_absent(BlobStore& store, const Pump& pump, const std::string& name) {
  SCOPED_TRACE(name);
  BlockingBlobs blobs(store, pump);
  const Result<Bytes> none = blobs.get(name);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind(), ErrorKind::not_found) << none.error().message();
  EXPECT_NE(none.error().message().find(name), std::string::npos) << none.error().message();
  EXPECT_NE(none.error().message().find(store.title()), std::string::npos) << none.error().message();
  EXPECT_EQ(blobs.has({name}).value(), std::vector<bool>{false});
}

// Of a store that has the sample blobs.
inline void check_reading(BlobStore& store, const Pump& pump) {
  BlockingBlobs blobs(store, pump);
  for (const auto& [name, content] : sample_blobs()) {
    const Result<Bytes> got = blobs.get(name, content.size());
    ASSERT_TRUE(got) << escaped(name) << ": " << got.error().message();
    EXPECT_EQ(as_text(*got), content) << escaped(name);
    EXPECT_EQ(blobs.has({name}).value(), std::vector<bool>{true}) << escaped(name);
    if (content.empty()) continue;
    const Result<Bytes> too_large = blobs.get(name, content.size() - 1);
    ASSERT_FALSE(too_large) << escaped(name);
    EXPECT_EQ(too_large.error().kind(), ErrorKind::limit) << too_large.error().message();
  }
  EXPECT_EQ(blobs.has({"ab12/one", "ab12/none", "plain", "cd34/one"}).value(), (std::vector<bool>{true, false, true, false}));
  EXPECT_TRUE(blobs.has({}).value().empty());
  check_absent(store, pump, "ab12/none");
  check_absent(store, pump, "none");
  check_absent(store, pump, "no/folder/at/all");
  check_absent(store, pump, "plain/inside");  // below a blob
  EXPECT_EQ(blobs.get("ab12/none", 0).error().kind(), ErrorKind::not_found) << "whatever may be asked for";
  EXPECT_FALSE(blobs.get("ab12")) << "a folder is no blob";
}

// Many calls at once, and each ends once.
inline void check_many_at_once(BlobStore& store, const Pump& pump) {
  const std::map<std::string, std::string> samples = sample_blobs();
  constexpr int kRounds = 20;
  std::size_t open = 0;
  std::map<int, int> ends;  // by call
  int calls = 0;
  const auto begin = [&] {
    ++open;
    return calls++;
  };
  for (int round = 0; round < kRounds; ++round) {
    for (const auto& [name, content] : samples) {
      store.get(name, content.size(), [&, call = begin(), expected = content](Result<Bytes> got) {
        ++ends[call];
        --open;
        ASSERT_TRUE(got) << got.error().message();
        EXPECT_EQ(as_text(*got), expected);
      });
    }
    store.get("ab12/none", 100, [&, call = begin()](Result<Bytes> got) {
      ++ends[call];
      --open;
      EXPECT_EQ(got.error().kind(), ErrorKind::not_found);
    });
    store.has({"plain", "none"}, [&, call = begin()](Result<std::vector<bool>> got) {
      ++ends[call];
      --open;
      EXPECT_EQ(got.value(), (std::vector<bool>{true, false}));
    });
  }
  EXPECT_TRUE(ends.empty()) << "`done` was called from inside the call";
  ASSERT_TRUE(run_until(pump, [&] { return open == 0; })) << open << " of " << calls << " calls did not end";
  EXPECT_EQ(ends.size(), static_cast<std::size_t>(calls));
  for (const auto& [call, count] : ends) EXPECT_EQ(count, 1) << "call " << call;
}

// Once it is destroyed nobody is called, whatever was under way; also when that happens in a `done`.
inline void check_destruction(const BlobStoreUnderTest& under) {
  const std::unique_ptr<BlobStore> other = under.open();
  BlockingBlobs witness(*other, under.pump);
  int calls = 0;
  const auto start_many = [&](BlobStore& store, const auto& ended) {
    for (int i = 0; i < 50; ++i) {
      store.get("cd34/large", 1 << 20, [ended](const Result<Bytes>&) { ended(); });
      store.get("none", 1 << 20, [ended](const Result<Bytes>&) { ended(); });
      store.get("..", 1 << 20, [ended](const Result<Bytes>&) { ended(); });
      store.has({"plain", "none"}, [ended](const Result<std::vector<bool>>&) { ended(); });
      store.has({}, [ended](const Result<std::vector<bool>>&) { ended(); });
      store.put("ab12/put", Bytes(1000), [ended](const Result<bool>&) { ended(); });
      store.remove("none", [ended](const Result<void>&) { ended(); });
      store.list("ab12", [ended](const Result<std::vector<BlobEntry>>&) { ended(); });
    }
    store.sync([ended](const Result<void>&) { ended(); });  // once: it is dear on a busy disk
  };
  // What it still had to do is over when others that came behind it are.
  const auto let_things_end = [&] {
    for (int i = 0; i < 20; ++i) EXPECT_FALSE(witness.get("none"));
  };
  std::unique_ptr<BlobStore> store = under.open();
  start_many(*store, [&] { ++calls; });
  store.reset();
  let_things_end();
  EXPECT_EQ(calls, 0);

  store = under.open();
  start_many(*store, [&] {
    ++calls;
    store.reset();
  });
  ASSERT_TRUE(run_until(under.pump, [&] { return calls > 0; }));
  let_things_end();
  EXPECT_EQ(calls, 1);
}

// Of an empty store, which is so again afterwards.
inline void check_writing(BlobStore& store, const Pump& pump) {
  BlockingBlobs blobs(store, pump);
  check_absent(store, pump, "ab12/none");
  EXPECT_EQ(blobs.remove("ab12/none").error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(blobs.list("ab12").value().empty());
  EXPECT_TRUE(blobs.sync());

  EXPECT_TRUE(blobs.put("ab12/one", "first").value());
  EXPECT_FALSE(blobs.put("ab12/one", "second").value()) << "the second put of a name is not new";
  EXPECT_EQ(as_text(blobs.get("ab12/one").value()), "first") << "and changes nothing";
  for (const auto& [name, content] : sample_blobs())
    EXPECT_EQ(blobs.put(name, content).value(), name != "ab12/one") << escaped(name);
  EXPECT_TRUE(blobs.sync());
  check_reading(store, pump);
  check_many_at_once(store, pump);
  EXPECT_EQ(blobs.list("ab12").value(), (std::vector<std::string>{"ab12/one:5", "ab12/two.cacnk:0"}));

  // Who puts one name at the same time as others stores one of them, whole.
  int news = 0, ends = 0;
  for (char c = 'a'; c < 'u'; ++c)
    store.put("ab12/raced", Bytes(50'000, static_cast<std::byte>(c)), [&](Result<bool> put) {
      ++ends;
      if (put.value()) ++news;
    });
  ASSERT_TRUE(run_until(pump, [&] { return ends == 20; }));
  EXPECT_EQ(news, 1);
  const Bytes raced = blobs.get("ab12/raced").value();
  ASSERT_EQ(raced.size(), 50'000u);
  EXPECT_TRUE(std::ranges::all_of(raced, [&](std::byte b) { return b == raced[0]; }));
  EXPECT_TRUE(blobs.remove("ab12/raced"));

  for (const auto& [name, content] : sample_blobs()) EXPECT_TRUE(blobs.remove(name)) << escaped(name);
  EXPECT_EQ(blobs.get("ab12/one").error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(blobs.list("ab12").value().empty());
}

inline void check_refusal_to_write(BlobStore& store, const Pump& pump) {
  BlockingBlobs blobs(store, pump);
  const Result<bool> put = blobs.put("ab12/new", "x");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().kind(), ErrorKind::read_only);
  EXPECT_NE(put.error().message().find(store.title()), std::string::npos) << put.error().message();
  EXPECT_EQ(blobs.remove("ab12/one").error().kind(), ErrorKind::read_only);
  EXPECT_TRUE(blobs.sync()) << "nothing that was put is not durable";
  check_absent(store, pump, "ab12/new");
  EXPECT_EQ(as_text(blobs.get("ab12/one").value()), "first");
  EXPECT_EQ(blobs.list("ab12").error().kind(), ErrorKind::unsupported);
}

inline void check_blob_store(const BlobStoreUnderTest& under) {
  if (under.plant)
    for (const auto& [name, content] : sample_blobs()) under.plant(name, as_bytes(content));
  const std::unique_ptr<BlobStore> store = under.open();
  EXPECT_FALSE(store->title().empty());
  BlockingBlobs blobs(*store, under.pump);
  check_names_that_are_none(blobs);
  if (under.plant) {
    check_reading(*store, under.pump);
    check_many_at_once(*store, under.pump);
    check_refusal_to_write(*store, under.pump);
  } else {
    check_writing(*store, under.pump);
  }
  check_names_that_are_none(blobs);
  check_destruction(under);
}

}  // namespace godwit::store::conformance
