#include "chunks/driver/seed.h"

#include <fcntl.h>
#include <unistd.h>

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/driver/index_file.h"
#include "chunks/driver/tree_descriptor.h"

namespace godwit::chunks {

// A seed on its way in.
struct SeedMap::Opened {
  std::string path;
  std::unique_ptr<ByteSource> source;
  int descriptor = -1;  // where chunks will be read
  Descriptor file;      // until it is the map's
  std::optional<Error> error;
  std::optional<SeedIdentity> identity;  // of a file whose chunks may be kept,
  std::optional<SeedIndex> known;        // and what is kept of it
  std::vector<IndexEntry> entries;       // by number; empty where they are not kept
  std::shared_ptr<SeedTree> tree;        // of a folder
};

// What the name of a seed says: an index with its blob ("X.caibx:BLOB", or "X.caibx" for X beside it), or a file itself.
struct SeedName {
  std::string index;  // or nothing
  std::string blob;

  static SeedName parse(const std::string& name) {
    constexpr std::string_view kSuffix = ".caibx";
    if (name.ends_with(kSuffix)) return {name, name.substr(0, name.size() - kSuffix.size())};
    const std::size_t colon = name.rfind(':');
    if (colon != std::string::npos && std::string_view(name).substr(0, colon).ends_with(kSuffix))
      return {name.substr(0, colon), name.substr(colon + 1)};
    return {"", name};
  }
};

// What the index says of a blob of `size` bytes, to be looked up like what was kept of a seed. Blocking.
static Result<SeedIndex> read_seed_index(const std::string& path, std::optional<std::uint64_t> size, Digest digest) {
  Result<Index> index = read_index_file(path);
  if (!index) return fail(index.error());
  if (index->header.digest() != digest)
    return fail(ErrorKind::invalid, fmt::format("{} names its chunks by another digest than what is extracted", escaped(path)));
  if (size && *size != index->blob_size())
    return fail(ErrorKind::invalid, fmt::format("{} is not that file's index: it is of {} bytes, the file has {}", escaped(path),
                                                index->blob_size(), *size));
  return SeedIndex{
      .seed = {.size = index->blob_size()}, .sizes = index->header.sizes, .digest = digest, .entries = std::move(index->entries)};
}

SeedMap::SeedMap(const Index& index, const SeedCache* cache) : header_(index.header), cache_(cache) {
  wanted_.reserve(index.entries.size());
  for (const IndexEntry& entry : index.entries) wanted_.insert(entry.id);
}

void SeedMap::add(const std::string& path, unsigned threads, net::Workers& workers, net::Scheduler& scheduler, Done<void> done) {
  auto opened = std::make_shared<Opened>();
  const SeedName name = SeedName::parse(path);
  opened->path = name.blob;
  workers.run(
      [this, opened, index = name.index] {
        Result<std::unique_ptr<ByteSource>> source = ByteSource::open(opened->path);
        opened->file = Descriptor(::open(opened->path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!source)
          opened->error = source.error();
        else if (!opened->file.is_open())
          opened->error = errno_error("open", opened->path);
        if (opened->error) return;
        opened->source = std::move(*source);
        if (!index.empty()) {
          Result<SeedIndex> known = read_seed_index(index, opened->source->size(), header_.digest());
          if (known)
            opened->known = std::move(*known);
          else
            opened->error = std::move(known).error();
          return;
        }
        if (cache_ == nullptr) return;
        opened->identity = seed_identity_of(opened->file.get());
        if (opened->identity) opened->known = cache_->load(opened->path, *opened->identity, header_.sizes, header_.digest());
      },
      [this, opened, threads, &workers, &scheduler, done = std::move(done)]() mutable {
        begin(opened, threads, workers, scheduler, std::move(done));
      });
}

void SeedMap::add_folder(const Folder& folder, unsigned threads, net::Workers& workers, net::Scheduler& scheduler,
                         Done<void> done) {
  auto opened = std::make_shared<Opened>();
  opened->path = folder.path;
  workers.run(
      [this, opened, folder] {
        Result<std::unique_ptr<SeedTree>> tree = SeedTree::open(
            folder.path, {{header_.flags, folder.shift}, folder.spool_folder, folder.copies_all, folder.spool_bytes_max});
        if (!tree) {
          opened->error = tree.error();
          return;
        }
        opened->tree = std::move(*tree);
        opened->source =
            ByteSource::made_by([tree = opened->tree](MutableBytes into) { return tree->read(into); }, folder.path, 0);
      },
      [this, opened, threads, &workers, &scheduler, done = std::move(done)]() mutable {
        begin(opened, threads, workers, scheduler, std::move(done));
      });
}

void SeedMap::begin(const std::shared_ptr<Opened>& opened, unsigned threads, net::Workers& workers, net::Scheduler& scheduler,
                    Done<void> done) {
  const Result<CutRule> rule = CutRule::of(header_.sizes);
  if (!opened->error && !rule) opened->error = rule.error();
  if (opened->error) return done(fail(std::move(*opened->error).within("seed")));
  if (opened->tree) {
    trees_.push_back(opened->tree);
  } else {
    opened->descriptor = opened->file.get();
    files_.push_back(std::move(opened->file));
  }
  if (opened->known) {
    take_known(*opened->known, opened->descriptor);
    return done({});
  }
  const ChunkStreamOptions options{.rule = *rule, .digest = header_.digest(), .digest_stream = false, .threads = threads};
  if (stream_) bytes_before_ += stream_->bytes_read();
  stream_ = std::make_unique<ChunkStream>(std::move(opened->source), options, workers, scheduler);
  stream_->start(
      [this, opened](const ChunkBatch& batch) {
        for (const StreamChunk& chunk : batch.chunks) take(chunk, *opened);
      },
      [this, opened, &workers, done = std::move(done)](Result<ChunkStreamEnd> end) mutable {
        if (!end) {
          if (opened->tree) std::erase_if(places_, [&](const auto& place) { return place.second.tree == opened->tree.get(); });
          return done(fail(std::move(end.error()).within("seed")));
        }
        if (!opened->identity || opened->entries.size() != end->chunk_count) return done({});
        keep(opened, workers, std::move(done));
      });
}

void SeedMap::take(const StreamChunk& chunk, Opened& opened) {
  if (opened.identity && chunk.number + chunk.count <= kSeedIndexEntriesMax) {
    if (opened.entries.size() < chunk.number + chunk.count) opened.entries.resize(chunk.number + chunk.count);
    for (std::uint64_t i = 0; i < chunk.count; ++i)
      opened.entries[chunk.number + i] = {.end = chunk.offset + (i + 1) * chunk.data.size(), .id = chunk.id};
  }
  if (!wanted_.contains(chunk.id) || places_.contains(chunk.id)) return;
  places_.emplace(chunk.id, Place{.descriptor = opened.descriptor, .offset = chunk.offset, .tree = opened.tree.get()});
}

void SeedMap::take_known(const SeedIndex& known, int descriptor) {
  bytes_known_ += known.seed.size;
  std::uint64_t start = 0;
  for (const IndexEntry& entry : known.entries) {
    if (wanted_.contains(entry.id)) places_.try_emplace(entry.id, Place{.descriptor = descriptor, .offset = start});
    start = entry.end;
  }
}

// Only if the file is still what it was before it was read.
void SeedMap::keep(const std::shared_ptr<Opened>& opened, net::Workers& workers, Done<void> done) {
  workers.run(
      [this, opened] {
        if (seed_identity_of(opened->descriptor) != opened->identity) return;
        const SeedIndex index{
            .seed = *opened->identity, .sizes = header_.sizes, .digest = header_.digest(), .entries = std::move(opened->entries)};
        (void)cache_->save(opened->path, index);  // where it cannot be kept, the seed is read again the next time
      },
      [done = std::move(done)]() mutable { done({}); });
}

std::uint64_t SeedMap::bytes_read() const {
  return bytes_before_ + (stream_ ? stream_->bytes_read() : 0);
}

std::optional<SeedMap::Place> SeedMap::place_of(const ChunkId& id) const {
  const auto found = places_.find(id);
  if (found == places_.end() || found->second.tree != nullptr) return std::nullopt;
  return found->second;
}

void SeedMap::read(std::span<WantedChunk> wanted, Digest digest) {
  read_verified(wanted, digest, [&](const WantedChunk& chunk) {
    const auto found = places_.find(chunk.id);
    if (found == places_.end()) return false;
    const Place& place = found->second;
    return place.tree != nullptr ? place.tree->read_at(place.offset, chunk.into)
                                 : read_all_at(place.descriptor, place.offset, chunk.into);
  });
}

void remember_extracted(const SeedCache& cache, const std::string& path, const Index& index) {
  if (index.entries.size() > kSeedIndexEntriesMax) return;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.is_open()) return;
  const std::optional<SeedIdentity> identity = seed_identity_of(file.get());
  if (!identity || identity->size != index.blob_size()) return;
  const SeedIndex known{
      .seed = *identity, .sizes = index.header.sizes, .digest = index.header.digest(), .entries = index.entries};
  (void)cache.save(path, known);  // where it cannot be kept, the file is read when it becomes a seed
}

}  // namespace godwit::chunks
