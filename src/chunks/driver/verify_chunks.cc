#include "chunks/driver/verify_chunks.h"

#include <utility>

namespace godwit::chunks {

class VerifyChunks::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(std::vector<ChunkId> ids, ChunkStore& store, const VerifyOptions& options,
       std::function<void(const ChunkId&, const Error&)> complain, net::Scheduler& scheduler)
      : ids_(std::move(ids)), store_(store), options_(options), complain_(std::move(complain)), scheduler_(scheduler) {}

  void start(Done<VerifyResult> done) {
    done_ = std::move(done);
    scheduler_.post([self = shared_from_this()] { self->go_on(); });
  }
  void give_up() { done_ = nullptr; }
  const VerifyResult& so_far() const { return result_; }

 private:
  void go_on() {
    while (done_ != nullptr && next_ < ids_.size() && open_ < options_.requests_max) {
      ++open_;
      ask(ids_[next_++], options_.digest, options_.try_other_digest);
    }
    if (done_ != nullptr && next_ == ids_.size() && open_ == 0) std::exchange(done_, nullptr)(result_);
  }

  void ask(const ChunkId& id, Digest digest, bool then_the_other) {
    store_.get(id, digest, options_.size_max, [self = shared_from_this(), id, digest, then_the_other](Result<Bytes> chunk) {
      if (self->done_ == nullptr) return;
      if (!chunk && chunk.error().kind() == ErrorKind::corrupt && then_the_other) return self->ask(id, other_than(digest), false);
      if (chunk) {
        ++self->result_.good;
        self->result_.bytes += chunk->size();
        return self->end_one();
      }
      self->complain_(id, chunk.error());
      if (chunk.error().kind() == ErrorKind::not_found)
        ++self->result_.missing;
      else
        ++self->result_.damaged;
      if (chunk.error().kind() != ErrorKind::corrupt || !self->options_.remove_damaged) return self->end_one();
      self->store_.remove(id, [self](Result<void> removed) {
        if (removed) ++self->result_.removed;
        if (!removed && self->done_ != nullptr) return std::exchange(self->done_, nullptr)(fail(removed.error()));
        self->end_one();
      });
    });
  }

  void end_one() {
    --open_;
    go_on();
  }

  const std::vector<ChunkId> ids_;
  ChunkStore& store_;
  const VerifyOptions options_;
  std::function<void(const ChunkId&, const Error&)> complain_;
  net::Scheduler& scheduler_;
  Done<VerifyResult> done_;
  std::size_t next_ = 0;
  std::size_t open_ = 0;
  VerifyResult result_;
};

VerifyChunks::VerifyChunks(std::vector<ChunkId> ids, ChunkStore& store, const VerifyOptions& options,
                           std::function<void(const ChunkId&, const Error&)> complain, net::Scheduler& scheduler)
    : impl_(std::make_shared<Impl>(std::move(ids), store, options, std::move(complain), scheduler)) {}

VerifyChunks::~VerifyChunks() {
  impl_->give_up();
}

void VerifyChunks::start(Done<VerifyResult> done) {
  impl_->start(std::move(done));
}

const VerifyResult& VerifyChunks::so_far() const {
  return impl_->so_far();
}

}  // namespace godwit::chunks
