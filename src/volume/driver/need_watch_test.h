// Watches what a host writes and reads as a destination: each absent block is asked for once (silo.md 7.3). It stands between the
// drivers and the simulated network and decodes the frames that pass, so it knows nothing of the code it watches.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "net/stream.h"
#include "volume/core/block_form.h"
#include "volume/core/frame_assembler.h"

namespace godwit::volume {

struct NeedCounts {
  std::uint64_t asked = 0;
  std::uint64_t answered = 0;  // asked for, and then acknowledged as stored
  std::string finding;         // the first mistake
};

// A stream to a source: NeedAt goes out, data come in, and an acknowledgement says that a block is here.
class NeedWatchedStream final : public net::Stream {
 public:
  NeedWatchedStream(std::unique_ptr<net::Stream> stream, NeedCounts& counts) : stream_(std::move(stream)), counts_(counts) {
    for (FrameAssembler* frames : {&read_, &written_}) frames->set_body_size_max(256 << 20);
  }
  void read(std::span<const MutableBytes> into, net::Done<std::size_t> done) override {
    auto spans = std::make_shared<std::vector<MutableBytes>>(into.begin(), into.end());
    stream_->read(into, [this, spans, done = std::move(done)](Result<std::size_t> count) mutable {
      std::size_t left = count ? *count : 0;
      for (MutableBytes span : *spans) {
        const std::size_t part = std::min(left, span.size());
        read_.feed(span.first(part));
        left -= part;
      }
      for_each_frame(read_, [this](const FrameHeader& header, const Packet& packet) { came(header, packet); });
      done(std::move(count));
    });
  }
  void write(std::span<const ConstBytes> from, net::Done<void> done) override {
    for (ConstBytes span : from) written_.feed(span);
    for_each_frame(written_, [this](const FrameHeader& header, const Packet& packet) { goes(header, packet); });
    stream_->write(from, std::move(done));
  }
  void shut_down_sending() override { stream_->shut_down_sending(); }
  void close() override { stream_->close(); }
  void limit_unsent(std::size_t bytes) override { stream_->limit_unsent(bytes); }
  net::Address peer() const override { return stream_->peer(); }

 private:
  using Range = std::pair<std::uint64_t, std::uint64_t>;  // of bytes: first, end

  template <class F>
  static void for_each_frame(FrameAssembler& frames, F&& of_frame) {
    while (true) {
      const auto frame = frames.next();
      if (!frame || !*frame) return;
      if (const Result<Packet> packet = decode_packet((*frame)->body)) of_frame((*frame)->header, *packet);
    }
  }
  void came(const FrameHeader& header, const Packet& packet) {
    if (const auto* data = std::get_if<WriteData>(&packet)) {
      const auto first = static_cast<std::uint64_t>(data->offset);
      if (const Result<std::uint64_t> length = decoded_length(*data, 256 << 20))
        under_way_[{header.device, header.tx.value}] = {first, first + *length};
    } else if (const auto* mapped = std::get_if<WriteAtWithMap>(&packet)) {
      const auto first = static_cast<std::uint64_t>(mapped->offset);
      under_way_[{header.device, header.tx.value}] = {first, first + mapped->payload.size()};
    }
  }
  void goes(const FrameHeader& header, const Packet& packet) {
    if (const auto* need = std::get_if<NeedAt>(&packet)) {
      ++counts_.asked;
      if (!asked_[header.device].insert(static_cast<std::uint64_t>(need->offset)).second && counts_.finding.empty())
        counts_.finding = "the block at offset " + std::to_string(need->offset) + " is asked for again before it has come";
    } else if (std::holds_alternative<WriteAtResponse>(packet)) {
      const auto stored = under_way_.find({header.device, header.tx.value});
      if (stored == under_way_.end()) return;
      std::set<std::uint64_t>& asked = asked_[header.device];
      const auto first = asked.lower_bound(stored->second.first), end = asked.lower_bound(stored->second.second);
      counts_.answered += static_cast<std::uint64_t>(std::distance(first, end));
      asked.erase(first, end);
      under_way_.erase(stored);
    }
  }

  std::unique_ptr<net::Stream> stream_;
  NeedCounts& counts_;
  FrameAssembler read_, written_;
  std::map<DeviceId, std::set<std::uint64_t>> asked_;  // offsets of blocks that have not come yet
  std::map<std::pair<DeviceId, std::uint32_t>, Range> under_way_;
};

// The network as a host has it; whom it dials at the hosts' port is a source.
class NeedWatch final : public net::Network {
 public:
  NeedWatch(net::Network& network, NeedCounts& counts) : network_(network), counts_(counts) {}
  void connect(const net::Address& to, net::Done<std::unique_ptr<net::Stream>> done) override {
    if (to.port != 5170) return network_.connect(to, std::move(done));
    network_.connect(to, [this, done = std::move(done)](Result<std::unique_ptr<net::Stream>> stream) mutable {
      if (stream) *stream = std::make_unique<NeedWatchedStream>(std::move(*stream), counts_);
      done(std::move(stream));
    });
  }
  Result<std::unique_ptr<net::Listener>> listen(const net::Address& at,
                                                std::function<void(std::unique_ptr<net::Stream>)> accept) override {
    return network_.listen(at, std::move(accept));
  }

 private:
  net::Network& network_;
  NeedCounts& counts_;
};

}  // namespace godwit::volume
