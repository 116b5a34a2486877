#include "store/memory_blobs.h"

#include "net/event_loop.h"
#include "store/blob_store_conformance.h"

namespace godwit::store {
namespace {

TEST(MemoryBlobs, AreABlobStore) {
  net::EventLoop loop;
  conformance::check_blob_store({[&] { return make_memory_blobs(loop); }, [&] { loop.run(); }, nullptr});
}

}  // namespace
}  // namespace godwit::store
