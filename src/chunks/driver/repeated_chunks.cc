#include "chunks/driver/repeated_chunks.h"

#include <algorithm>
#include <list>
#include <numeric>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/lifetime.h"

namespace godwit::chunks {

std::unordered_set<ChunkId> repeats_of(const Index& index) {
  // Numbers of chunks, since ids are eight times as long. An index beyond them would not be in memory.
  if (index.entries.size() > ~std::uint32_t{0}) return {};
  std::vector<std::uint32_t> numbers(index.entries.size());
  std::iota(numbers.begin(), numbers.end(), 0U);
  const auto id_of = [&](std::uint32_t number) -> const ChunkId& { return index.entries[number].id; };
  std::ranges::sort(numbers, [&](std::uint32_t a, std::uint32_t b) { return id_of(a) < id_of(b); });
  std::unordered_set<ChunkId> repeats;
  for (std::size_t i = 1; i < numbers.size(); ++i)
    if (id_of(numbers[i]) == id_of(numbers[i - 1])) repeats.insert(id_of(numbers[i]));
  return repeats;
}

namespace {

class StoreOfRepeats final : public ChunkStore {
 public:
  StoreOfRepeats(std::unique_ptr<ChunkStore> behind, std::unordered_set<ChunkId> repeats, net::Scheduler& scheduler,
                 std::uint64_t bytes_max)
      : behind_(std::move(behind)), repeats_(std::move(repeats)), scheduler_(scheduler), bytes_max_(bytes_max) {}

  const std::string& title() const override { return behind_->title(); }
  std::shared_ptr<ChunkReader> reader() override { return behind_->reader(); }

  void get(const ChunkId& id, Digest digest, std::uint64_t size_max, Done<Bytes> done) override {
    if (!repeats_.contains(id)) return behind_->get(id, digest, size_max, std::move(done));
    if (const auto kept = kept_.find(id); kept != kept_.end() && kept->second.is_for(digest, size_max)) {
      order_.splice(order_.begin(), order_, kept->second.place);
      scheduler_.post(lifetime_.while_alive([data = kept->second.data, done = std::move(done)]() mutable { done(*data); }));
      return;
    }
    const auto [coming, is_new] = coming_.try_emplace(id, Coming{.digest = digest, .size_max = size_max, .waiting = {}});
    if (!is_new && (coming->second.digest != digest || coming->second.size_max != size_max))
      return behind_->get(id, digest, size_max, std::move(done));
    // Each by itself: the first that is called may end us.
    coming->second.waiting.emplace_back(lifetime_.while_alive(std::move(done)));
    if (is_new)
      behind_->get(id, digest, size_max, [this, id, digest](Result<Bytes> chunk) { arrive(id, digest, std::move(chunk)); });
  }
  void has(std::vector<ChunkId> ids, Done<std::vector<bool>> done) override { behind_->has(std::move(ids), std::move(done)); }
  void put(const ChunkId& id, ConstBytes data, Done<bool> done) override { behind_->put(id, data, std::move(done)); }
  void sync(Done<void> done) override { behind_->sync(std::move(done)); }
  void remove(const ChunkId& id, Done<void> done) override { behind_->remove(id, std::move(done)); }

 private:
  struct Coming {
    Digest digest;
    std::uint64_t size_max = 0;
    std::vector<Done<Bytes>> waiting;
  };
  struct Kept {
    Digest digest;
    std::shared_ptr<const Bytes> data;
    std::list<ChunkId>::iterator place;
    bool is_for(Digest wanted, std::uint64_t size_max) const { return digest == wanted && data->size() <= size_max; }
  };

  void arrive(const ChunkId& id, Digest digest, Result<Bytes> chunk) {
    std::vector<Done<Bytes>> waiting = std::move(coming_.extract(id).mapped().waiting);
    if (chunk) keep(id, digest, *chunk);
    for (Done<Bytes>& done : waiting) done(chunk);
  }

  void keep(const ChunkId& id, Digest digest, const Bytes& data) {
    if (data.size() > bytes_max_ || kept_.contains(id)) return;
    order_.push_front(id);
    kept_.emplace(id, Kept{.digest = digest, .data = std::make_shared<const Bytes>(data), .place = order_.begin()});
    bytes_ += data.size();
    while (bytes_ > bytes_max_) {
      const auto oldest = kept_.find(order_.back());
      bytes_ -= oldest->second.data->size();
      kept_.erase(oldest);
      order_.pop_back();
    }
  }

  const std::unique_ptr<ChunkStore> behind_;
  const std::unordered_set<ChunkId> repeats_;
  net::Scheduler& scheduler_;
  const std::uint64_t bytes_max_;
  std::unordered_map<ChunkId, Coming> coming_;
  std::unordered_map<ChunkId, Kept> kept_;
  std::list<ChunkId> order_;  // of kept_, the last wanted first
  std::uint64_t bytes_ = 0;   // of kept_
  net::Lifetime lifetime_;
};

}  // namespace

std::unique_ptr<ChunkStore> make_store_of_repeats(std::unique_ptr<ChunkStore> behind, std::unordered_set<ChunkId> repeats,
                                                  net::Scheduler& scheduler, std::uint64_t bytes_max) {
  if (repeats.empty()) return behind;
  return std::make_unique<StoreOfRepeats>(std::move(behind), std::move(repeats), scheduler, bytes_max);
}

}  // namespace godwit::chunks
