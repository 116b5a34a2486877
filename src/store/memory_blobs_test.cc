#include "store/memory_blobs.h"

#include "net/event_loop.h"
#include "store/blob_store_conformance.h"

namespace godwit::store {
namespace {

TEST(MemoryBlobs, AreABlobStore) {
  net::EventLoop loop;
  const auto blobs = make_memory_blobs(loop);
  conformance::check_blob_store(*blobs, [&] { loop.run(); });
}

}  // namespace
}  // namespace godwit::store
