#include "store/base_hash.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/random.h"
#include "sim/host.h"
#include "store/block_device_conformance.h"
#include "store/memory_device.h"

namespace godwit::store {
namespace {

constexpr std::uint32_t kBlock = 4096;

// A simulated machine whose disk has an image.
class BaseHashTest : public testing::Test {
 protected:
  void make(Bytes bytes) {
    image_ = std::move(bytes);
    device_ = *sim::wait_for<std::unique_ptr<BlockDevice>>(world_, [&](Done<std::unique_ptr<BlockDevice>> done) {
      machine_.directory().create_device("image" + std::to_string(++images_), image_.size(), std::move(done));
    });
    ASSERT_TRUE(
        sim::wait_for<void>(world_, [&](Done<void> done) { device_->write(0, image_, Durability::durable, std::move(done)); }));
  }
  Result<Sha256> hash(std::uint32_t block_size) {
    return sim::wait_for<Sha256>(
        world_, [&](Done<Sha256> done) { hash_base(*device_, block_size, machine_.workers(), std::move(done)); });
  }
  // The definition: SHA-256 over the SHA-256 of the blocks, in order, the last as short as it is.
  Sha256 expected(std::uint32_t block_size) const {
    Sha256Stream all;
    for (std::size_t at = 0; at < image_.size(); at += block_size)
      all.update(sha256(ConstBytes(image_).subspan(at, std::min<std::size_t>(block_size, image_.size() - at))));
    return all.finish();
  }
  static Bytes random_bytes(std::size_t size) {
    Random random(size);
    return conformance::patterned(size, random);
  }

  sim::World world_{1, {}};
  sim::Fabric fabric_{world_};
  sim::Host machine_{fabric_, "a"};
  Bytes image_;
  std::unique_ptr<BlockDevice> device_;
  int images_ = 0;
};

TEST_F(BaseHashTest, IsTheHashOfTheHashesOfTheBlocks) {
  // Less than a block, blocks and a rest, exactly one piece that is read at once, and several of them with a rest.
  for (const std::size_t size : {1ul, 4095ul, 4096ul, 4097ul, 100000ul, 4ul << 20, (13ul << 20) + 5})
    for (const std::uint32_t block_size : {4096u, 65536u, 4u << 20}) {
      SCOPED_TRACE(std::to_string(size) + " bytes in blocks of " + std::to_string(block_size));
      ASSERT_NO_FATAL_FAILURE(make(random_bytes(size)));
      const Result<Sha256> found = hash(block_size);
      ASSERT_TRUE(found) << found.error().message();
      EXPECT_EQ(*found, expected(block_size));
    }
}

TEST_F(BaseHashTest, TheExampleOfItsFormatsPage) {
  make(Bytes(as_bytes("abc").begin(), as_bytes("abc").end()));
  EXPECT_EQ(to_hex(*hash(kBlock)), "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358");
}

TEST_F(BaseHashTest, AnyOtherByteOrBlockSizeOrLengthIsAnotherHash) {
  const Bytes image = random_bytes(10 * kBlock);
  make(image);
  const Sha256 first = *hash(kBlock);
  EXPECT_NE(*hash(2 * kBlock), first);
  for (const std::size_t at : {0ul, 5ul * kBlock, image.size() - 1}) {
    Bytes other = image;
    other[at] ^= std::byte{1};
    make(other);
    EXPECT_NE(*hash(kBlock), first) << at;
  }
  Bytes longer = image;
  longer.push_back(std::byte{0});
  make(longer);
  EXPECT_NE(*hash(kBlock), first);
}

TEST_F(BaseHashTest, AReadThatFailsIsTheHashsError) {
  for (std::uint64_t n = 1;; ++n) {
    make(random_bytes(13 << 20));
    const std::uint64_t failed = machine_.disk().count_failed();
    machine_.disk().fail_nth(sim::DiskOp::read, n, ErrorKind::io);
    const Result<Sha256> found = hash(kBlock);
    if (machine_.disk().count_failed() == failed) {
      EXPECT_EQ(n, 5u) << "four pieces";
      EXPECT_TRUE(found);
      break;
    }
    ASSERT_FALSE(found) << "read " << n;
    EXPECT_EQ(found.error().kind(), ErrorKind::io);
  }
}

}  // namespace
}  // namespace godwit::store
