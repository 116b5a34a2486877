#include "store/base_hash.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

namespace godwit::store {

namespace {

constexpr std::uint64_t kPieceBytes = 4u << 20;  // rounded to blocks
constexpr std::size_t kPiecesAtOnce = 3;

// Pieces are read and hashed side by side; each leaves its blocks' hashes at their place.
class BaseHashing : public std::enable_shared_from_this<BaseHashing> {
 public:
  BaseHashing(BlockDevice& base, std::uint32_t block_size, net::Workers& workers, Done<Sha256> done)
      : base_(base),
        block_size_(block_size),
        piece_(std::max<std::uint64_t>(1, kPieceBytes / block_size) * block_size),
        workers_(workers),
        done_(std::move(done)),
        hashes_((base.size() + block_size - 1) / block_size) {}

  void start() {
    for (std::size_t i = 0; i < kPiecesAtOnce; ++i) next();
  }

 private:
  void next() {
    if (!done_) return;
    if (at_ >= base_.size() || !result_) return finish();
    const std::uint64_t offset = at_;
    auto bytes = std::make_shared<Bytes>(std::min(piece_, base_.size() - offset));
    at_ += bytes->size();
    ++open_;
    base_.read(offset, *bytes, [self = shared_from_this(), offset, bytes](Result<void> read) {
      if (!read) return self->ended(std::move(read));
      self->workers_.run([self, offset, bytes] { self->hash(offset, *bytes); }, [self] { self->ended({}); });
    });
  }
  void hash(std::uint64_t offset, ConstBytes bytes) {
    for (std::uint64_t block = offset / block_size_; !bytes.empty(); ++block) {
      const ConstBytes one = bytes.first(std::min<std::size_t>(bytes.size(), block_size_));
      hashes_[block] = sha256(one);
      bytes = bytes.subspan(one.size());
    }
  }
  void ended(Result<void> result) {
    --open_;
    if (!result && result_) result_ = std::move(result);
    next();
  }
  void finish() {
    if (open_ > 0 || !done_) return;
    Done<Sha256> done = std::exchange(done_, nullptr);
    if (!result_) return done(fail(std::move(result_).error()));
    Sha256Stream all;
    for (const Sha256& hash : hashes_) all.update(hash);
    done(all.finish());
  }

  BlockDevice& base_;
  const std::uint32_t block_size_;
  const std::uint64_t piece_;
  net::Workers& workers_;
  Done<Sha256> done_;
  std::vector<Sha256> hashes_;
  std::uint64_t at_ = 0;
  std::size_t open_ = 0;
  Result<void> result_;
};

}  // namespace

void hash_base(BlockDevice& base, std::uint32_t block_size, net::Workers& workers, Done<Sha256> done) {
  std::make_shared<BaseHashing>(base, block_size, workers, std::move(done))->start();
}

}  // namespace godwit::store
