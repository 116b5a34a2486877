// One suite for every kind of store: folders, those that a push makes, web servers with and without TLS, remotes, chains and
// caches; in each form that chunks are stored in.
#include <sys/socket.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/driver/cached_store.h"
#include "chunks/driver/chunk_store_conformance.h"
#include "chunks/driver/http_blobs.h"
#include "chunks/driver/http_image_server.h"
#include "chunks/driver/http_scene_test.h"
#include "chunks/driver/lazy_blobs.h"
#include "chunks/driver/remote_server_link.h"
#include "chunks/driver/remote_store.h"
#include "net/tls.h"
#include "net/tls_identity_test.h"
#include "store/blob_store_conformance.h"
#include "store/directory_blobs.h"

namespace godwit::chunks {
namespace {

using conformance::ChunkStoreUnderTest;
using Has = ChunkStoreUnderTest::Has;

// A loop, workers, and a folder for each of a row's stores.
class StoreScene {
 public:
  StoreScene() {
    net::write_identity(folder_ / "certificate", folder_ / "key");
    const auto identity = net::TlsIdentity::load(folder_ / "certificate", folder_ / "key");
    EXPECT_TRUE(identity);
    tls_.emplace(loop_, loop_, *identity);
  }

  // One turn, or a few: servers in the loop never let it come to its end.
  void pump() {
    loop_.schedule(loop_.now() + Duration::milliseconds(1), [this] { loop_.stop(); });
    loop_.run();
  }
  net::EventLoop& loop() { return loop_; }
  net::Network& tls() { return *tls_; }
  net::Workers& workers() { return *workers_; }
  std::string path(const std::string& name) { return folder_ / name; }
  HttpClientOptions trusting() const {
    HttpClientOptions options;
    options.authorities = folder_ / "certificate";
    return options;
  }

  void plant(const std::string& store, const std::string& blob, ConstBytes content) {
    const std::filesystem::path file = folder_ / (store + "/" + blob);
    std::filesystem::create_directories(file.parent_path());
    std::filesystem::remove(file);
    std::ofstream(file, std::ios::binary) << as_text(content);
  }
  std::unique_ptr<ChunkStore> local(const std::string& store, Compression compression) {
    return std::move(*open_local_store(path(store), true, {.compression = compression, .level = {}}, *workers_, loop_));
  }
  std::unique_ptr<ChunkStore> on(std::unique_ptr<store::BlobStore> blobs, Compression compression) {
    return std::move(*make_chunk_store(std::move(blobs), {.compression = compression, .level = {}}, *workers_));
  }
  // Our own server of images in front of the folder of all stores. Gives its URL.
  std::string serve(bool by_tls) {
    net::Network& network = by_tls ? static_cast<net::Network&>(*tls_) : loop_;
    servers_.push_back(
        std::move(*HttpImageServer::listen(loop_, network, *workers_, *net::Address::parse("127.0.0.1:0", 1), folder_.path())));
    return (by_tls ? "https://" : "http://") + servers_.back()->address().text();
  }
  // A store of ours at the other end of a pair of sockets: one peer for each session.
  std::unique_ptr<ChunkStore> remote(const std::string& store) {
    if (!served_.contains(store)) served_[store] = std::move(*store::make_directory_blobs(path(store), true, *workers_, loop_));
    store::BlobStore* const blobs = served_[store].get();
    auto connect = [this, blobs]() -> Result<RemoteConnection> {
      int sockets[2];
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
      auto link =
          RemoteServerLink::start(loop_, *workers_, loop_.adopt(sockets[0]), {false, "", "", {blobs}}, [](Result<void>) {});
      EXPECT_TRUE(link);
      links_.push_back(std::move(*link));
      return RemoteConnection{loop_.adopt(sockets[1]), nullptr, nullptr};
    };
    return make_remote_store("build:/srv/" + store, connect, loop_, *workers_);
  }

 private:
  TemporaryFolder folder_;
  net::EventLoop loop_;
  std::unique_ptr<net::Workers> workers_ = net::make_workers(loop_, 2);
  std::optional<net::TlsNetwork> tls_;
  std::vector<std::unique_ptr<HttpImageServer>> servers_;
  std::map<std::string, std::unique_ptr<store::BlobStore>> served_;
  std::vector<std::unique_ptr<RemoteServerLink>> links_;
};

std::unique_ptr<ChunkStore> chain(std::unique_ptr<ChunkStore> first, std::unique_ptr<ChunkStore> second) {
  std::vector<std::unique_ptr<ChunkStore>> stores;
  stores.push_back(std::move(first));
  stores.push_back(std::move(second));
  return make_store_chain(std::move(stores));
}

TEST(AllStores, BlobsBehindAWebServerAreABlobStore) {
  for (const bool by_tls : {false, true}) {
    SCOPED_TRACE(by_tls ? "HTTPS" : "HTTP");
    StoreScene scene;
    std::map<std::string, std::string> files;
    HttpScene server(by_tls ? scene.tls() : scene.loop(), serve_files(files), by_tls ? "https" : "http");
    const auto plant = [&](const std::string& name, ConstBytes content) { files[name] = as_text(content); };
    const auto open = [&] { return make_http_blobs(server.url(), scene.loop(), scene.trusting()); };
    store::conformance::check_blob_store({open, [&] { scene.pump(); }, plant});
    EXPECT_LT(server.connections, 300) << "for " << server.seen.size() << " requests";
  }
}

// The same questions for all.
void check_all(Compression c) {
  StoreScene scene;
  const auto plant_in = [&](const char* store) {
    return [&scene, store](const std::string& blob, ConstBytes content) { scene.plant(store, blob, content); };
  };
  const auto pump = [&] { scene.pump(); };
  const bool zstd = c == Compression::zstd;
  const std::string http = scene.serve(false), https = scene.serve(true);
  const auto far = [&](const std::string& url) { return scene.on(make_http_blobs(url, scene.loop(), scene.trusting()), c); };
  const ChunkStoreUnderTest rows[] = {
      {"folder", c, [&] { return scene.local("folder", c); }, pump, plant_in("folder"), scene.path("folder"), true, Has::tells,
       zstd},
      {"folder of a push", c, [&] { return scene.on(make_lazy_blobs(scene.path("lazy"), scene.workers(), scene.loop()), c); },
       pump, plant_in("lazy"), scene.path("lazy"), true},
      {"HTTP", c, [&] { return far(http + "/http.castr"); }, pump, plant_in("http.castr"), http + "/http.castr", false,
       Has::tells, zstd},
      {"HTTPS", c, [&] { return far(https + "/https.castr/"); }, pump, plant_in("https.castr"), https + "/https.castr"},
      {"remote", c, [&] { return scene.remote("remote"); }, pump, plant_in("remote"), "build:/srv/remote", false, Has::refuses,
       zstd},
      {"chain, by its second", c, [&] { return chain(scene.local("first", c), scene.local("second", c)); }, pump,
       plant_in("second"), scene.path("second"), true, Has::tells_of_what_was_put},
      {"chain, by its first", c, [&] { return chain(scene.local("front", c), scene.remote("back")); }, pump, plant_in("front"),
       scene.path("front"), true},
      {"chain of a folder and HTTP", c, [&] { return chain(scene.local("near", c), far(http + "/far.castr")); }, pump,
       plant_in("far.castr"), http + "/far.castr", true, Has::tells_of_what_was_put},
      {"cache before a folder", c, [&] { return make_cached_store(scene.local("cache1", c), scene.local("behind", c)); }, pump,
       plant_in("behind"), scene.path("behind"), true},
      {"cache before HTTP", c,
       [&] { return make_cached_store(scene.local("cache2", Compression::zstd), far(http + "/b.castr")); }, pump,
       plant_in("b.castr"), http + "/b.castr"},
      {"cache before a remote", c, [&] { return make_cached_store(scene.local("cache3", Compression::zstd), scene.remote("r")); },
       pump, plant_in("r"), "build:/srv/r", false, Has::refuses},
  };
  // What is put together of others cares little for the form.
  const auto of_every_form = {"folder", "HTTP", "remote", "cache before HTTP"};
  for (const ChunkStoreUnderTest& row : rows)
    if (zstd || std::ranges::find(of_every_form, row.name) != of_every_form.end()) conformance::check_chunk_store(row);
}

TEST(AllStores, GiveEveryChunkWholeOrAnErrorZstd) {
  check_all(Compression::zstd);
}
TEST(AllStores, GiveEveryChunkWholeOrAnErrorXz) {
  check_all(Compression::xz);
}
TEST(AllStores, GiveEveryChunkWholeOrAnErrorGzip) {
  check_all(Compression::gzip);
}
TEST(AllStores, GiveEveryChunkWholeOrAnErrorRaw) {
  check_all(Compression::none);
}

}  // namespace
}  // namespace godwit::chunks
