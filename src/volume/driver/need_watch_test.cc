#include "volume/driver/need_watch_test.h"

#include <gtest/gtest.h>

#include "sim/host.h"

namespace godwit::volume {
namespace {

constexpr DeviceId kDevice{1};

// What a destination writes and reads, frame by frame.
struct Watched {
  Watched() : world(1), fabric(world), a(fabric, "a"), b(fabric, "b"), watch(b.network(), counts) {
    listener = std::move(*a.network().listen(*net::Address::parse("a:5170", 0),
                                             [this](std::unique_ptr<net::Stream> stream) { source = std::move(stream); }));
    watch.connect(*net::Address::parse("a:5170", 0), [this](Result<std::unique_ptr<net::Stream>> stream) {
      if (stream) destination = std::move(*stream);
    });
    EXPECT_TRUE(world.run_until([this] { return source && destination; }, Duration::seconds(1)));
    read();
  }
  void say(net::Stream& stream, TxId id, const Packet& packet) {
    Bytes frame;
    encode_frame(kDevice, id, packet, frame);
    const ConstBytes from[] = {frame};
    bool written = false;
    stream.write(from, [&](Result<void>) { written = true; });
    EXPECT_TRUE(world.run_until([&] { return written; }, Duration::seconds(1)));
    world.run_for(Duration::milliseconds(10));
  }
  void need(std::int64_t offset) { say(*destination, TxId{++tx}, NeedAt{offset, 4096}); }
  void send_block(std::int64_t offset) { say(*source, TxId{7}, WriteData{WriteForm::raw, offset, 0, block}); }
  void acknowledge() { say(*destination, TxId{7}, WriteAtResponse{4096}); }

 private:
  void read() {
    const MutableBytes into[] = {room};
    destination->read(into, [this](Result<std::size_t> count) {
      if (count && *count > 0) read();
    });
  }

 public:
  sim::World world;
  sim::Fabric fabric;
  sim::Host a, b;
  NeedCounts counts;
  NeedWatch watch;
  Bytes block = Bytes(4096, std::byte{1});
  Bytes room = Bytes(512);
  std::uint32_t tx = 0;
  std::unique_ptr<net::Listener> listener;
  std::unique_ptr<net::Stream> source, destination;
};

TEST(NeedWatch, FindsABlockThatIsAskedForTwice) {
  Watched w;
  w.need(0);
  w.need(4096);
  EXPECT_EQ(w.counts.finding, "");
  w.send_block(0);
  w.need(0);
  EXPECT_NE(w.counts.finding, "") << "it has been sent, but nobody has said that it was stored";
  EXPECT_EQ(w.counts.asked, 3u);
}

TEST(NeedWatch, ABlockThatHasComeMayBeAskedForAgain) {
  Watched w;
  w.need(0);
  w.send_block(0);
  w.acknowledge();
  w.need(0);
  EXPECT_EQ(w.counts.finding, "");
  EXPECT_EQ(w.counts.answered, 1u);
}

}  // namespace
}  // namespace godwit::volume
