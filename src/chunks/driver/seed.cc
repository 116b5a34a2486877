#include "chunks/driver/seed.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "chunks/core/archive_cutter.h"
#include "chunks/driver/archive_chunks.h"
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
  std::shared_ptr<SeedTree> tree;        // of a folder:
  bool will_change = false;
  EncoderCache tree_chunks;               // what is known of it
  std::vector<SeedTree::Stretch> wanted;  // of one that will change
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
  opened->will_change = folder.will_change;
  workers.run(
      [this, opened, folder] {
        Result<std::unique_ptr<SeedTree>> tree =
            SeedTree::open(folder.path, {{.features = header_.flags, .shift = folder.shift, .every_state = cache_ != nullptr},
                                         folder.spool_folder,
                                         folder.spool_bytes_max});
        if (!tree) {
          opened->error = tree.error();
          return;
        }
        opened->tree = std::move(*tree);
        if (cache_ != nullptr)
          opened->tree_chunks = cache_->load_tree(folder.path, header_.flags, header_.sizes, header_.digest());
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
  const ChunkStreamOptions options{.rule = *rule, .digest = header_.digest(), .digest_stream = false, .threads = threads};
  if (opened->tree) return begin_tree(opened, options, workers, scheduler, std::move(done));
  opened->descriptor = opened->file.get();
  files_.push_back(std::move(opened->file));
  if (opened->known) {
    take_known(*opened->known, opened->descriptor);
    return done({});
  }
  source_ = std::make_unique<ChunkStream>(std::move(opened->source), options, workers, scheduler);
  source_->start(
      [this, opened](const ChunkBatch& batch) {
        for (const StreamChunk& chunk : batch.chunks) take(chunk, *opened);
      },
      [this, opened, &workers, done = std::move(done)](Result<ChunkStreamEnd> end) mutable {
        bytes_read_ += std::exchange(source_, nullptr)->bytes_read();
        if (!end) return done(fail(std::move(end.error()).within("seed")));
        if (!opened->identity || opened->entries.size() != end->chunk_count) return done({});
        keep(opened, workers, std::move(done));
      });
}

void SeedMap::begin_tree(const std::shared_ptr<Opened>& opened, const ChunkStreamOptions& options, net::Workers& workers,
                         net::Scheduler& scheduler, Done<void> done) {
  trees_.push_back(opened->tree);
  source_ = std::make_unique<ArchiveChunks>(opened->tree, opened->tree_chunks, nullptr, options, workers, scheduler,
                                            opened->tree.get());
  source_->start([this, opened](const ChunkBatch& batch) { take_tree(batch, *opened); },
                 [this, opened, &workers, done = std::move(done)](Result<ChunkStreamEnd> end) mutable {
                   source_.reset();
                   if (end) return end_tree(opened, *end, workers, std::move(done));
                   drop_tree(*opened->tree);
                   done(fail(std::move(end.error()).within("seed")));
                 });
}

void SeedMap::take_tree(const ChunkBatch& batch, Opened& opened) {
  for (const StreamChunk& chunk : batch.chunks) {
    (chunk.known_length > 0 ? bytes_known_ : bytes_read_) += chunk.length();
    if (!wanted_.contains(chunk.id)) continue;
    const bool is_new = places_.try_emplace(chunk.id, Place{.offset = chunk.offset, .tree = opened.tree.get()}).second;
    if (is_new && opened.will_change) opened.wanted.push_back({.offset = chunk.offset, .size = chunk.length()});
  }
}

void SeedMap::end_tree(const std::shared_ptr<Opened>& opened, const ChunkStreamEnd& end, net::Workers& workers, Done<void> done) {
  const auto error = std::make_shared<std::optional<Error>>();
  workers.run(
      [this, opened, error, is_known = end.known_bytes == end.size] {
        // Where it cannot be kept, the seed is read again the next time.
        if (cache_ != nullptr && !is_known) (void)cache_->save_tree(opened->path, header_.flags, opened->tree_chunks);
        if (!opened->will_change) return;
        std::ranges::sort(opened->wanted, {}, &SeedTree::Stretch::offset);
        Result<std::size_t> held = opened->tree->hold(opened->wanted, files_to_hold());
        if (held)
          files_held_ += *held;
        else
          *error = std::move(held).error();
      },
      [this, opened, error, done = std::move(done)]() mutable {
        if (!*error) return done({});
        drop_tree(*opened->tree);
        done(fail(std::move(**error).within("seed")));
      });
}

void SeedMap::drop_tree(const SeedTree& tree) {
  std::erase_if(places_, [&](const auto& place) { return place.second.tree == &tree; });
  std::erase_if(trees_, [&](const auto& other) { return other.get() == &tree; });
}

// Of the descriptors that this process may have, the extraction needs some hundreds.
std::size_t SeedMap::files_to_hold() const {
  constexpr std::size_t kFilesHeldMax = 4096;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const auto allowed = static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur / 2, kFilesHeldMax));
  return allowed - std::min(allowed, files_held_);
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

void remember_extracted_tree(const SeedCache& cache, const std::string& path, const UidShift& shift, const Index& index) {
  const IndexHeader& header = index.header;
  const Result<CutRule> rule = CutRule::of(header.sizes);
  if (!rule || index.entries.size() > kEncoderCacheChunksMax) return;
  const Result<std::unique_ptr<TreeWalker>> tree =
      TreeWalker::open(path, {.features = header.flags, .shift = shift, .every_state = true});
  if (!tree) return;
  Result<std::vector<KnownChunk>> known = known_chunks_of(**tree, *rule, index);
  if (!known) return;  // not all was extracted, or not as it was: the folder is read when it becomes a seed
  (void)cache.save_tree(path, header.flags, {.sizes = header.sizes, .digest = header.digest(), .chunks = std::move(*known)});
}

}  // namespace godwit::chunks
