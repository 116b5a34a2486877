#include "chunks/driver/lazy_blobs.h"

#include <filesystem>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/driver/local_store_sweep.h"
#include "net/event_loop.h"
#include "store/blob_store_conformance.h"

namespace godwit::chunks {
namespace {

class LazyBlobsTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "store";
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::unique_ptr<store::BlobStore> store_ = make_lazy_blobs(path_, *workers_, loop_);
  store::conformance::BlockingBlobs blobs_{*store_, [this] { loop_.run(); }};
};

TEST_F(LazyBlobsTest, AreABlobStore) {
  const auto open = [&] { return make_lazy_blobs(path_, *workers_, loop_); };
  store::conformance::check_blob_store({open, [&] { loop_.run(); }, nullptr});
}

TEST_F(LazyBlobsTest, LookingMakesNoFolder) {
  EXPECT_EQ(blobs_.has({"ab12/one"}).value(), std::vector<bool>{false});
  EXPECT_EQ(blobs_.get("ab12/one").error().kind(), ErrorKind::not_found);
  EXPECT_FALSE(std::filesystem::exists(path_));
  ASSERT_TRUE(blobs_.put("ab12/one", "x"));
  EXPECT_TRUE(std::filesystem::exists(path_ + "/ab12/one"));
}

TEST_F(LazyBlobsTest, WhatWasSeenIsNotRemovedBySomebodyElse) {
  std::filesystem::create_directories(path_);
  ASSERT_TRUE(StoreLock::take(path_, StoreLock::Kind::removing)) << "not yet looked at";
  ASSERT_TRUE(blobs_.has({"ab12/one"}));
  EXPECT_EQ(StoreLock::take(path_, StoreLock::Kind::removing).error().kind(), ErrorKind::busy);
  store_.reset();
  EXPECT_TRUE(StoreLock::take(path_, StoreLock::Kind::removing));
}

TEST_F(LazyBlobsTest, AFolderThatAPutMadeIsHeldToo) {
  ASSERT_TRUE(blobs_.put("ab12/one", "x"));
  EXPECT_EQ(StoreLock::take(path_, StoreLock::Kind::removing).error().kind(), ErrorKind::busy);
}

TEST_F(LazyBlobsTest, WhileChunksAreBeingRemovedNothingIsSaidToBeThere) {
  std::filesystem::create_directories(path_);
  {
    const Result<StoreLock> removing = StoreLock::take(path_, StoreLock::Kind::removing);
    ASSERT_TRUE(removing);
    EXPECT_EQ(blobs_.has({"ab12/one"}).error().kind(), ErrorKind::busy);
    EXPECT_EQ(blobs_.put("ab12/one", "x").error().kind(), ErrorKind::busy);
  }
  EXPECT_TRUE(blobs_.put("ab12/one", "x"));
}

}  // namespace
}  // namespace godwit::chunks
