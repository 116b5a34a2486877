#include "chunks/driver/seed.h"

namespace godwit::chunks {

SeedMap::SeedMap(const Index& index) : header_(index.header) {
  wanted_.reserve(index.entries.size());
  for (const IndexEntry& entry : index.entries) wanted_.insert(entry.id);
}

void SeedMap::add(const std::string& path, unsigned threads, net::Workers& workers, net::Scheduler& scheduler, Done<void> done) {
  Result<std::unique_ptr<ByteSource>> source = ByteSource::open(path);
  Result<std::unique_ptr<store::DiskFile>> file = fail(ErrorKind::cancelled, "");
  if (source) file = store::DiskFile::open(path, true);
  Result<CutRule> rule = CutRule::of(header_.sizes);
  std::optional<Error> error;
  if (!source)
    error = source.error();
  else if (!file)
    error = file.error();
  else if (!rule)
    error = rule.error();
  if (error) {
    scheduler.post(
        [done = std::move(done), error = std::move(*error)]() mutable { done(fail(std::move(error).within("seed"))); });
    return;
  }
  files_.push_back(std::move(*file));
  const auto number = static_cast<std::uint32_t>(files_.size() - 1);
  const ChunkStreamOptions options{.rule = *rule, .digest = header_.digest(), .digest_stream = false, .threads = threads};
  if (stream_) bytes_before_ += stream_->bytes_read();
  stream_ = std::make_unique<ChunkStream>(std::move(*source), options, workers, scheduler);
  stream_->start(
      [this, number](const ChunkBatch& batch) {
        for (const StreamChunk& chunk : batch.chunks)
          if (wanted_.contains(chunk.id)) places_.try_emplace(chunk.id, Place{.file = number, .offset = chunk.offset});
      },
      [done = std::move(done)](Result<ChunkStreamEnd> end) mutable {
        if (!end) return done(fail(std::move(end.error()).within("seed")));
        done({});
      });
}

std::uint64_t SeedMap::bytes_read() const {
  return bytes_before_ + (stream_ ? stream_->bytes_read() : 0);
}

void SeedMap::read(std::span<WantedChunk> wanted, Digest digest) {
  read_verified(wanted, digest, [&](const WantedChunk& chunk) {
    const auto found = places_.find(chunk.id);
    if (found == places_.end()) return false;
    store::DiskFile& file = *files_[found->second.file];
    const std::uint64_t length = chunk.into.size();
    if (file.size() < length || found->second.offset > file.size() - length) return false;
    return file.read(found->second.offset, chunk.into).has_value();
  });
}

}  // namespace godwit::chunks
