#include "export/nbd_client.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/checked.h"
#include "export/nbd_client_link.h"

namespace godwit::exports {

using namespace nbd;

namespace {

// Of requests without a payload; far from 2^32, and a multiple of every block size.
constexpr std::uint64_t kRangeBytesMax = 1ULL << 30;
// Zeros for servers without WRITE_ZEROES.
constexpr std::size_t kZeroBytes = 64 * 1024;
constexpr std::array<std::byte, kZeroBytes> kZeros{};

class Client final : public NbdClient {
 public:
  Client(net::Scheduler& scheduler, std::shared_ptr<NbdClientLink> link, OpenedExport opened)
      : scheduler_(scheduler), link_(std::move(link)), opened_(opened) {}
  ~Client() override { link_->abandon(); }

  std::uint64_t size() const override { return opened_.info.size; }
  bool read_only() const override { return offers(kReadOnly); }

  void read(std::uint64_t offset, MutableBytes into, store::Done<void> done) override {
    if (!fits(offset, into.size(), done)) return;
    in_pieces(into.size(), payload_bytes_max(), std::move(done), [&](std::uint64_t at, std::uint32_t length, auto ended) {
      link_->submit({0, kRead, 0, offset + at, length}, {}, into.subspan(at, length), std::move(ended));
    });
  }

  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, store::Done<void> done) override {
    if (!may_change(offset, from.size(), done)) return;
    const std::uint16_t flags = durable_flag(durability);
    in_pieces(from.size(), payload_bytes_max(), then_flush(durability, std::move(done)),
              [&](std::uint64_t at, std::uint32_t length, auto ended) {
                link_->submit({flags, kWrite, 0, offset + at, length}, from.subspan(at, length), {}, std::move(ended));
              });
  }

  void flush(store::Done<void> done) override {
    if (!offers(kSendFlush)) return refuse(std::move(done), ErrorKind::unsupported, "this NBD server offers no flush");
    link_->submit({0, kFlush, 0, 0, 0}, {}, {}, std::move(done));
  }

  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            store::Done<void> done) override {
    if (!may_change(offset, length, done)) return;
    std::uint16_t flags = durable_flag(durability);
    done = then_flush(durability, std::move(done));
    if (!offers(kSendWriteZeroes)) {
      return in_pieces(length, std::min<std::uint64_t>(kZeroBytes, payload_bytes_max()), std::move(done),
                       [&](std::uint64_t at, std::uint32_t piece, auto ended) {
                         link_->submit({flags, kWrite, 0, offset + at, piece}, ConstBytes(kZeros).first(piece), {},
                                       std::move(ended));
                       });
    }
    if (mode == store::ZeroMode::keep_allocated) flags |= kFlagNoHole;
    in_pieces(length, kRangeBytesMax, std::move(done), [&](std::uint64_t at, std::uint32_t piece, auto ended) {
      link_->submit({flags, kWriteZeroes, 0, offset + at, piece}, {}, {}, std::move(ended));
    });
  }

  void discard(std::uint64_t offset, std::uint64_t length, store::Done<void> done) override {
    if (!may_change(offset, length, done)) return;
    // Without TRIM the old bytes stay, which is one of the things a discard may do.
    if (!offers(kSendTrim)) return scheduler_.post([done = std::move(done)]() mutable { done({}); });
    in_pieces(length, kRangeBytesMax, std::move(done), [&](std::uint64_t at, std::uint32_t piece, auto ended) {
      link_->submit({0, kTrim, 0, offset + at, piece}, {}, {}, std::move(ended));
    });
  }

  void extents(std::uint64_t offset, std::uint64_t length, store::Done<std::vector<store::Extent>> done) override {
    if (length == 0 || !within(offset, length, size()))
      return refuse(std::move(done), ErrorKind::invalid, fmt::format("extents of {}+{} of {} bytes", offset, length, size()));
    if (!opened_.allocation_context) {
      scheduler_.post(
          [offset, length, done = std::move(done)]() mutable { done(std::vector{store::Extent{offset, length, false, false}}); });
      return;
    }
    const auto piece = static_cast<std::uint32_t>(std::min(length, kRangeBytesMax));
    link_->submit_status({0, kBlockStatus, 0, offset, piece},
                         [offset, piece, done = std::move(done)](Result<std::vector<Descriptor>> row) mutable {
                           if (!row) return done(fail(std::move(row).error()));
                           done(extents_of(*row, offset, piece));
                         });
  }

  void on_lost(std::move_only_function<void(Error)> handler) override { link_->on_lost(std::move(handler)); }
  std::size_t unanswered() const override { return link_->unanswered(); }

 private:
  bool offers(std::uint16_t flag) const { return (opened_.info.flags & flag) != 0; }
  std::uint64_t payload_bytes_max() const {
    // A server that says "any" means it up to what the protocol lets clients expect.
    const std::uint32_t max = std::min<std::uint32_t>(opened_.sizes.max, 32 * 1024 * 1024);
    return max - max % opened_.sizes.min;
  }
  std::uint16_t durable_flag(store::Durability durability) const {
    return durability == store::Durability::durable && offers(kSendFua) ? kFlagFua : 0;
  }

  template <class Done>
  void refuse(Done done, ErrorKind kind, std::string why) {
    scheduler_.post([done = std::move(done), kind, why = std::move(why)]() mutable { done(fail(kind, std::move(why))); });
  }
  bool fits(std::uint64_t offset, std::uint64_t length, store::Done<void>& done) {
    if (within(offset, length, size())) return true;
    refuse(std::move(done), ErrorKind::invalid, fmt::format("{}+{} of {} bytes", offset, length, size()));
    return false;
  }
  bool may_change(std::uint64_t offset, std::uint64_t length, store::Done<void>& done) {
    if (!read_only()) return fits(offset, length, done);
    refuse(std::move(done), ErrorKind::read_only, "the NBD export is read-only");
    return false;
  }

  // What a durable request needs behind it on a server without FUA.
  store::Done<void> then_flush(store::Durability durability, store::Done<void> done) {
    if (durability != store::Durability::durable || offers(kSendFua)) return done;
    return [this, alive = std::weak_ptr<NbdClientLink>(link_), done = std::move(done)](Result<void> result) mutable {
      if (!result || alive.expired()) return done(std::move(result));
      flush(std::move(done));
    };
  }

  // Cuts [0, length) into requests of at most `piece_max` bytes; `done` hears the first error, when all have ended.
  template <class Submit>
  void in_pieces(std::uint64_t length, std::uint64_t piece_max, store::Done<void> done, Submit submit) {
    if (length == 0) return scheduler_.post([done = std::move(done)]() mutable { done({}); });
    if (length <= piece_max) return submit(0, static_cast<std::uint32_t>(length), std::move(done));
    struct Join {
      std::uint64_t missing;
      Result<void> result;
      store::Done<void> done;
    };
    auto join = std::make_shared<Join>(Join{divide_up(length, piece_max), {}, std::move(done)});
    for (std::uint64_t at = 0; at < length; at += piece_max) {
      submit(at, static_cast<std::uint32_t>(std::min(piece_max, length - at)), store::Done<void>([join](Result<void> ended) {
               if (!ended && join->result) join->result = std::move(ended);
               if (--join->missing == 0) join->done(std::move(join->result));
             }));
    }
  }

  static Result<std::vector<store::Extent>> extents_of(const std::vector<Descriptor>& row, std::uint64_t offset,
                                                       std::uint32_t length) {
    std::vector<store::Extent> extents;
    const std::uint64_t end = offset + length;
    for (const Descriptor& descriptor : row) {
      if (offset == end) break;  // the last descriptor may reach beyond what was asked
      std::uint64_t piece = std::min<std::uint64_t>(descriptor.length, end - offset);
      const bool hole = (descriptor.state & kStateHole) != 0;
      extents.push_back({offset, piece, hole, (descriptor.state & kStateZero) != 0});
      offset += piece;
    }
    if (extents.empty()) return fail(ErrorKind::invalid, "the NBD server told no extent");
    return extents;
  }

  net::Scheduler& scheduler_;
  std::shared_ptr<NbdClientLink> link_;
  OpenedExport opened_;
};

}  // namespace

void NbdClient::open(net::Scheduler& scheduler, std::unique_ptr<net::Stream> stream, NbdClientOptions options,
                     net::Done<std::unique_ptr<NbdClient>> done) {
  auto link = std::make_shared<NbdClientLink>(scheduler, std::move(stream), std::move(options));
  NbdClientLink& opening = *link;
  opening.open([&scheduler, &opening, done = std::move(done)](Result<OpenedExport> opened) mutable {
    if (!opened) return done(fail(std::move(opened).error()));
    done(std::make_unique<Client>(scheduler, opening.shared_from_this(), *opened));
  });
}

}  // namespace godwit::exports
