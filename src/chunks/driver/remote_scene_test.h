// The remote protocol's two drivers in a simulated world: a client at host "near", a server at host "far" with its stores, and
// links between them that are slow, cut or worse. Files of the server are real ones in a temporary folder, since nothing in the
// world depends on when they are written.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"
#include "chunks/core/index.h"
#include "chunks/driver/remote_server_link.h"
#include "chunks/driver/remote_store.h"
#include "chunks/driver/remote_transfer.h"
#include "sim/host.h"
#include "store/memory_blobs.h"

namespace godwit::chunks {

struct RemoteScene {
  explicit RemoteScene(std::uint64_t seed) : world(seed), fabric(world), near(fabric, "near"), far(fabric, "far") {
    near_blobs = store::make_memory_blobs(near.scheduler());
    far_blobs = store::make_memory_blobs(far.scheduler());
    sim::LinkQuality quality;
    quality.latency = Duration::milliseconds(static_cast<std::int64_t>(1 + seed % 30));
    quality.bandwidth_bytes_per_second = 20'000'000;
    fabric.set_default_quality(quality);
  }

  // Serves every connection as one child of an ssh would; listens on far:22.
  void serve(RemoteService service) {
    listener =
        std::move(*far.network().listen(*net::Address::parse("far:22", 22), [this, service](std::unique_ptr<net::Stream> stream) {
          auto done = [this](Result<void> result) { server_results.push_back(std::move(result)); };
          Result<std::unique_ptr<RemoteServerLink>> link =
              RemoteServerLink::start(far.scheduler(), far.workers(), std::move(stream), service, std::move(done));
          EXPECT_TRUE(link) << link.error().message();
          if (link) links.push_back(std::move(*link));
        }));
  }

  // A stream to far:22, got by running the world.
  Result<RemoteConnection> connect() {
    Result<std::unique_ptr<net::Stream>> stream =
        sim::wait_for<std::unique_ptr<net::Stream>>(world, [&](net::Done<std::unique_ptr<net::Stream>> done) {
          near.network().connect(*net::Address::parse("far:22", 22), std::move(done));
        });
    if (!stream) return fail(std::move(stream).error());
    return RemoteConnection{std::move(*stream), nullptr, nullptr, rate};
  }
  // The store asks from within the world, where nothing can be waited for: so many streams lie ready.
  RemoteConnector connector(int count) {
    for (int i = 0; i < count; ++i)
      if (Result<RemoteConnection> connection = connect()) ready.push_back(std::move(*connection));
    return [this]() -> Result<RemoteConnection> {
      if (ready.empty()) return fail(ErrorKind::connection_lost, "no more connections");
      RemoteConnection connection = std::move(ready.front());
      ready.erase(ready.begin());
      ++sessions;
      return connection;
    };
  }

  // A chunk that the seed makes, put into `blobs`; raw ones too.
  ChunkId add_chunk(store::BlobStore& blobs, std::size_t size, bool compressed) {
    Bytes data(size);
    for (std::byte& b : data) b = static_cast<std::byte>(world.random().next() >> 40);
    const ChunkId id = chunk_id_of(data, Digest::sha512_256);
    Bytes stored;
    ChunkEncoder encoder = std::move(*ChunkEncoder::of(compressed ? Compression::zstd : Compression::none, std::nullopt));
    EXPECT_TRUE(encoder.encode(data, stored));
    put(blobs, chunk_name(id, compressed), std::move(stored));
    content[id] = std::move(data);
    return id;
  }
  void put(store::BlobStore& blobs, const std::string& name, Bytes bytes) {
    EXPECT_TRUE(sim::wait_for<bool>(world, [&](net::Done<bool> done) { blobs.put(name, std::move(bytes), std::move(done)); }));
  }
  std::string write_index(const std::string& name, const std::vector<ChunkId>& ids) {
    Index index;
    std::uint64_t end = 0;
    for (const ChunkId& id : ids) index.entries.push_back({end += content.at(id).size(), id});
    const Bytes bytes = encode_index(index);
    std::ofstream(folder / name, std::ios::binary) << as_text(bytes);
    return folder / name;
  }
  std::string file(const std::string& name) const {
    std::ifstream in(folder / name, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), {});
  }
  std::vector<std::string> file_names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
      names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    return names;
  }

  sim::World world;
  sim::Fabric fabric;
  sim::Host near, far;
  TemporaryFolder folder;
  std::unique_ptr<store::BlobStore> near_blobs, far_blobs;
  std::map<ChunkId, Bytes> content;
  std::unique_ptr<net::Listener> listener;
  std::vector<std::unique_ptr<RemoteServerLink>> links;
  std::vector<Result<void>> server_results;
  std::vector<RemoteConnection> ready;
  int sessions = 0;
  std::shared_ptr<RemoteRate> rate;  // of connections made from now on
};

}  // namespace godwit::chunks
