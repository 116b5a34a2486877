#include "chunks/driver/verify_chunks.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "net/event_loop.h"
#include "store/block_device_conformance.h"

using namespace godwit;
using namespace godwit::chunks;
using store::conformance::wait_for;

namespace {

TEST(VerifyChunks, CountsComplainsAndRemovesWhatIsDamaged) {
  TemporaryFolder folder;
  net::EventLoop loop;
  const auto workers = net::make_workers(loop, 2);
  const auto pump = [&] { loop.run(); };
  const auto store = std::move(open_local_store(folder / "store", true, {}, *workers, loop).value());
  std::vector<ChunkId> ids;
  for (int i = 0; i < 50; ++i) {
    const std::string text = "chunk " + std::to_string(i);
    ids.push_back(chunk_id_of(as_bytes(text), i % 2 == 0 ? Digest::sha512_256 : Digest::sha256));
    ASSERT_TRUE(wait_for<bool>(pump, [&](auto done) { store->put(ids.back(), as_bytes(text), std::move(done)); }));
  }
  const std::string damaged = folder / ("store/" + chunk_name(ids[7], true));
  std::filesystem::remove(damaged);
  std::ofstream(damaged) << "damage";
  std::filesystem::remove(folder / ("store/" + chunk_name(ids[9], true)));

  for (const bool repair : {false, true}) {
    std::vector<ChunkId> complaints;
    VerifyOptions options;
    options.try_other_digest = true;
    options.remove_damaged = repair;
    VerifyChunks verify(ids, *store, options, [&](const ChunkId& id, const Error&) { complaints.push_back(id); }, loop);
    const Result<VerifyResult> result = wait_for<VerifyResult>(pump, [&](auto done) { verify.start(std::move(done)); });
    ASSERT_TRUE(result);
    EXPECT_EQ(result->good, 48u);
    EXPECT_EQ(result->missing, 1u);
    EXPECT_EQ(result->damaged, 1u);
    EXPECT_EQ(result->removed, repair ? 1u : 0u);
    EXPECT_EQ(complaints.size(), 2u);
  }
  EXPECT_FALSE(std::filesystem::exists(damaged));
}

}  // namespace
