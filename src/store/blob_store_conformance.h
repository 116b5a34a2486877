// What every BlobStore does, as one function for the tests of each implementation. Only tests include this.
#pragma once

#include <algorithm>

#include <gtest/gtest.h>

#include "store/blob_store.h"
#include "store/block_device_conformance.h"

namespace godwit::store::conformance {

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

// `store` is empty, and is so again afterwards.
inline void check_blob_store(BlobStore& store, const Pump& pump) {
  BlockingBlobs blobs(store, pump);
  EXPECT_FALSE(store.title().empty());
  EXPECT_EQ(blobs.get("ab12/none").error().kind(), ErrorKind::not_found);
  EXPECT_EQ(blobs.has({"ab12/none"}).value(), std::vector<bool>{false});
  EXPECT_TRUE(blobs.has({}).value().empty());
  EXPECT_EQ(blobs.remove("ab12/none").error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(blobs.list("ab12").value().empty());

  EXPECT_TRUE(blobs.put("ab12/one", "first").value());
  EXPECT_FALSE(blobs.put("ab12/one", "second").value()) << "the second put of a name is not new";
  EXPECT_EQ(as_text(blobs.get("ab12/one").value()), "first") << "and changes nothing";
  EXPECT_TRUE(blobs.put("ab12/two.cacnk", "").value());
  EXPECT_TRUE(blobs.get("ab12/two.cacnk").value().empty());
  EXPECT_TRUE(blobs.put("cd34/three", "3").value());
  EXPECT_TRUE(blobs.put("plain", "no folder").value());
  EXPECT_TRUE(blobs.sync());

  EXPECT_EQ(blobs.has({"ab12/one", "ab12/none", "plain", "cd34/one"}).value(), (std::vector<bool>{true, false, true, false}));
  EXPECT_EQ(blobs.list("ab12").value(), (std::vector<std::string>{"ab12/one:5", "ab12/two.cacnk:0"}));
  EXPECT_EQ(as_text(blobs.get("ab12/one", 5).value()), "first");
  EXPECT_EQ(blobs.get("ab12/one", 4).error().kind(), ErrorKind::limit);

  for (const char* name : {"", "/", "/a", "a/", "a//b", "..", "a/../b", "./a"}) {
    EXPECT_EQ(blobs.get(name).error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.put(name, "x").error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.has({"plain", name}).error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.remove(name).error().kind(), ErrorKind::invalid) << name;
    EXPECT_EQ(blobs.list(name).error().kind(), ErrorKind::invalid) << name;
  }

  for (const char* name : {"ab12/one", "ab12/two.cacnk", "cd34/three", "plain"}) EXPECT_TRUE(blobs.remove(name)) << name;
  EXPECT_EQ(blobs.get("ab12/one").error().kind(), ErrorKind::not_found);
  EXPECT_TRUE(blobs.list("ab12").value().empty());
}

}  // namespace godwit::store::conformance
