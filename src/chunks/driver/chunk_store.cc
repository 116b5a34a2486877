#include "chunks/driver/chunk_store.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/driver/lender.h"
#include "net/lifetime.h"
#include "store/directory_blobs.h"

namespace godwit::chunks {

std::string chunk_name(const ChunkId& id, bool compressed) {
  const std::string hex = id.hex();
  return fmt::format("{}/{}{}", std::string_view(hex).substr(0, 4), hex, compressed ? kCompressedChunkSuffix : "");
}

std::optional<ChunkName> parse_chunk_name(std::string_view name) {
  const bool compressed = name.ends_with(kCompressedChunkSuffix);
  if (compressed) name.remove_suffix(kCompressedChunkSuffix.size());
  if (name.size() != 4 + 1 + 64 || name[4] != '/' || name.substr(0, 4) != name.substr(5, 4)) return std::nullopt;
  const Result<ChunkId> id = ChunkId::from_hex(name.substr(5));
  if (!id) return std::nullopt;
  return ChunkName{.id = *id, .compressed = compressed};
}

namespace {

// What jobs on workers need; it outlives the store while they run.
struct Tools {
  Lender<ChunkDecoder> decoders{[] { return ChunkDecoder(); }};
  Lender<ChunkEncoder> encoders;
  explicit Tools(const ChunkStoreOptions& options)
      : encoders([options] { return std::move(*ChunkEncoder::of(options.compression, options.level)); }) {}
};

// A chunk file longer than its chunk may be: data that do not shrink come with some framing.
std::uint64_t file_size_max(std::uint64_t chunk_size_max) {
  return std::min(kChunkBytesMax, chunk_size_max + chunk_size_max / 8 + 64 * 1024);
}

Result<Bytes> verified(const ChunkId& id, Digest digest, Bytes data, std::uint64_t size_max) {
  if (data.empty() || data.size() > size_max)
    return fail(ErrorKind::limit, fmt::format("it has {} bytes, 1 to {} are possible", data.size(), size_max));
  if (const ChunkId is = chunk_id_of(data, digest); is != id)
    return fail(ErrorKind::corrupt, fmt::format("its {} bytes hash to {}", data.size(), is.hex()));
  return data;
}

// Chunks of a store on this machine, in either form.
class BlobChunkReader final : public ChunkReader {
 public:
  BlobChunkReader(std::shared_ptr<store::BlockingBlobs> blobs, bool compressed)
      : blobs_(std::move(blobs)), compressed_(compressed) {}

  void read(std::span<WantedChunk> wanted, Digest digest) override {
    desks_.with([&](Desk& desk) {
      read_verified(wanted, digest, [&](WantedChunk& chunk) {
        const Result<bool> filled = fill(desk, chunk, compressed_);
        if (filled) return *filled;
        if (filled.error().kind() != ErrorKind::not_found) return false;
        return fill(desk, chunk, !compressed_).value_or(false);
      });
      return true;
    });
  }

 private:
  struct Desk {
    ChunkDecoder decoder;
    Bytes file;
  };

  Result<bool> fill(Desk& desk, const WantedChunk& chunk, bool compressed) {
    const std::uint64_t size_max = compressed ? file_size_max(chunk.into.size()) : chunk.into.size();
    const Result<std::size_t> size = blobs_->read(chunk_name(chunk.id, compressed), size_max, desk.file);
    if (!size) return fail(size.error());
    const ConstBytes file = ConstBytes(desk.file).first(*size);
    if (compressed) {
      const Result<std::size_t> decoded = desk.decoder.decode(file, chunk.into);
      return decoded && *decoded == chunk.into.size();
    }
    if (file.size() != chunk.into.size()) return false;
    std::ranges::copy(file, chunk.into.begin());
    return true;
  }

  const std::shared_ptr<store::BlockingBlobs> blobs_;
  const bool compressed_;
  Lender<Desk> desks_{[] { return Desk(); }};
};

class BlobChunkStore final : public ChunkStore {
 public:
  BlobChunkStore(std::unique_ptr<store::BlobStore> blobs, const ChunkStoreOptions& options, net::Workers& workers)
      : blobs_(std::move(blobs)),
        compressed_(options.compression != Compression::none),
        workers_(workers),
        tools_(std::make_shared<Tools>(options)) {
    if (std::shared_ptr<store::BlockingBlobs> blocking = blobs_->blocking())
      reader_ = std::make_shared<BlobChunkReader>(std::move(blocking), compressed_);
  }

  const std::string& title() const override { return blobs_->title(); }
  std::shared_ptr<ChunkReader> reader() override { return reader_; }

  void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) override {
    get_form({.id = id, .digest = digest, .size_max = size_max, .compressed = compressed_, .other_form_asked = false},
             std::move(done));
  }

  void has(std::vector<ChunkId> ids, Done<std::vector<bool>> done) override {
    std::vector<std::string> names;
    names.reserve(ids.size());
    for (const ChunkId& id : ids) names.push_back(chunk_name(id, compressed_));
    blobs_->has(std::move(names), [this, ids = std::move(ids), done = std::move(done)](Result<std::vector<bool>> there) mutable {
      if (!there || std::ranges::find(*there, false) == there->end()) return done(std::move(there));
      ask_for_other_form(std::move(ids), std::move(*there), std::move(done));
    });
  }

  void put(const ChunkId& id, ConstBytes data, Done<bool> done) override {
    auto file = std::make_shared<Result<Bytes>>(Bytes());
    workers_.run(
        [tools = tools_, data, file] {
          const Result<void> encoded = tools->encoders.with([&](ChunkEncoder& encoder) { return encoder.encode(data, **file); });
          if (!encoded) *file = fail(encoded.error());
        },
        lifetime_.while_alive([this, id, data, file, done = std::move(done)]() mutable {
          if (!*file) return done(fail(file->error().within("chunk " + id.hex())));
          // Compression that makes it longer than a chunk file may be would leave one that nobody reads.
          const bool fits = (*file)->size() <= kChunkBytesMax;
          blobs_->put(chunk_name(id, compressed_ && fits), fits ? std::move(**file) : to_bytes(data), std::move(done));
        }));
  }

  void sync(Done<void> done) override { blobs_->sync(std::move(done)); }

  void remove(const ChunkId& id, Done<void> done) override {
    blobs_->remove(chunk_name(id, compressed_), [this, id, done = std::move(done)](Result<void> first) mutable {
      blobs_->remove(chunk_name(id, !compressed_),
                     [first = std::move(first), done = std::move(done)](Result<void> second) mutable {
                       if (!second && second.error().kind() != ErrorKind::not_found) return done(std::move(second));
                       const bool second_gone = second.has_value();
                       if (!first && first.error().kind() == ErrorKind::not_found && second_gone) return done({});
                       done(std::move(first));
                     });
    });
  }

 private:
  struct Wanted {
    ChunkId id;
    Digest digest;
    std::uint64_t size_max;
    bool compressed;
    bool other_form_asked;
  };

  void get_form(Wanted wanted, Done<Bytes> done) {
    const std::uint64_t bytes_max = wanted.compressed ? file_size_max(wanted.size_max) : wanted.size_max;
    blobs_->get(
        chunk_name(wanted.id, wanted.compressed), bytes_max, [this, wanted, done = std::move(done)](Result<Bytes> file) mutable {
          if (!file && file.error().kind() == ErrorKind::not_found && !wanted.other_form_asked) {
            wanted.compressed = !wanted.compressed;
            wanted.other_form_asked = true;
            return get_form(wanted, std::move(done));
          }
          if (!file && file.error().kind() == ErrorKind::not_found)
            return done(fail(ErrorKind::not_found, fmt::format("chunk {} is not in the store {}", wanted.id.hex(), title())));
          if (!file) return done(fail(std::move(file.error()).within("chunk " + wanted.id.hex())));
          decode(wanted, std::move(*file), std::move(done));
        });
  }

  void decode(const Wanted& wanted, Bytes file, Done<Bytes> done) {
    auto result = std::make_shared<Result<Bytes>>(std::move(file));
    workers_.run(
        [tools = tools_, wanted, result] {
          if (wanted.compressed)
            *result =
                tools->decoders.with([&](ChunkDecoder& decoder) { return decoder.decode_up_to(**result, wanted.size_max); });
          if (*result) *result = verified(wanted.id, wanted.digest, std::move(**result), wanted.size_max);
        },
        lifetime_.while_alive([this, wanted, result, done = std::move(done)]() mutable {
          if (!*result)
            return done(fail(ErrorKind::corrupt, fmt::format("chunk {} in the store {} is damaged: {}", wanted.id.hex(), title(),
                                                             result->error().message())));
          done(std::move(*result));
        }));
  }

  void ask_for_other_form(std::vector<ChunkId> ids, std::vector<bool> there, Done<std::vector<bool>> done) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (!there[i]) names.push_back(chunk_name(ids[i], !compressed_));
    blobs_->has(std::move(names), [there = std::move(there), done = std::move(done)](Result<std::vector<bool>> other) mutable {
      if (!other) return done(std::move(other));
      std::size_t next = 0;
      for (std::size_t i = 0; i < there.size(); ++i)
        if (!there[i]) there[i] = (*other)[next++];
      done(std::move(there));
    });
  }

  std::unique_ptr<store::BlobStore> blobs_;
  const bool compressed_;
  net::Workers& workers_;
  std::shared_ptr<Tools> tools_;
  std::shared_ptr<ChunkReader> reader_;
  net::Lifetime lifetime_;
};

class StoreChain final : public ChunkStore {
 public:
  explicit StoreChain(std::vector<std::unique_ptr<ChunkStore>> stores) : stores_(std::move(stores)) {
    GODWIT_CHECK(!stores_.empty());
  }

  const std::string& title() const override { return stores_.front()->title(); }
  // What the first has not, get() looks for in all of them.
  std::shared_ptr<ChunkReader> reader() override { return stores_.front()->reader(); }
  void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) override {
    get_from(0, id, digest, size_max, std::nullopt, std::move(done));
  }
  void has(std::vector<ChunkId> ids, Done<std::vector<bool>> done) override {
    stores_.front()->has(std::move(ids), std::move(done));
  }
  void put(const ChunkId& id, ConstBytes data, Done<bool> done) override { stores_.front()->put(id, data, std::move(done)); }
  void sync(Done<void> done) override { stores_.front()->sync(std::move(done)); }
  void remove(const ChunkId& id, Done<void> done) override { stores_.front()->remove(id, std::move(done)); }

 private:
  void get_from(std::size_t number, const ChunkId& id, Digest digest, std::uint64_t size_max, std::optional<Error> complaint,
                Done<Bytes> done) {
    stores_[number]->get(id, digest, size_max,
                         [this, number, id, digest, size_max, complaint = std::move(complaint),
                          done = std::move(done)](Result<Bytes> chunk) mutable {
                           if (chunk) return done(std::move(chunk));
                           // Damage says more than absence does.
                           if (!complaint || complaint->kind() == ErrorKind::not_found) complaint = chunk.error();
                           if (number + 1 == stores_.size()) return done(fail(complaint_of_all(id, std::move(*complaint))));
                           get_from(number + 1, id, digest, size_max, std::move(complaint), std::move(done));
                         });
  }

  Error complaint_of_all(const ChunkId& id, Error complaint) const {
    if (complaint.kind() != ErrorKind::not_found || stores_.size() == 1) return complaint;
    std::string titles;
    for (const auto& store : stores_) titles += (titles.empty() ? "" : ", ") + store->title();
    return Error(ErrorKind::not_found, fmt::format("chunk {} is in none of the stores {}", id.hex(), titles));
  }

  std::vector<std::unique_ptr<ChunkStore>> stores_;
};

}  // namespace

Result<std::unique_ptr<ChunkStore>> make_chunk_store(std::unique_ptr<store::BlobStore> blobs, const ChunkStoreOptions& options,
                                                     net::Workers& workers) {
  if (const Result<ChunkEncoder> possible = ChunkEncoder::of(options.compression, options.level); !possible)
    return fail(possible.error());
  return std::make_unique<BlobChunkStore>(std::move(blobs), options, workers);
}

Result<std::unique_ptr<ChunkStore>> open_local_store(const std::string& path, bool create, const ChunkStoreOptions& options,
                                                     net::Workers& workers, net::Scheduler& scheduler) {
  Result<std::unique_ptr<store::BlobStore>> blobs = store::make_directory_blobs(path, create, workers, scheduler);
  if (!blobs) return fail(std::move(blobs.error()).within("chunk store"));
  return make_chunk_store(std::move(*blobs), options, workers);
}

std::unique_ptr<ChunkStore> make_store_chain(std::vector<std::unique_ptr<ChunkStore>> stores) {
  if (stores.size() == 1) return std::move(stores.front());
  return std::make_unique<StoreChain>(std::move(stores));
}

}  // namespace godwit::chunks
