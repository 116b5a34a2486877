// One end of a connection where the recorded sessions (replay_source_test.cc) do not lead: a destination that asks and a disk
// that takes its time.
#include "volume/driver/source_link.h"

#include <gtest/gtest.h>

#include "volume/core/block_form.h"
#include "volume/driver/replay_test.h"

namespace godwit::volume::replay {
namespace {

constexpr std::uint32_t kBlock = 4096;

// Reads that begin at one offset wait until they are let go.
class HoldingDevice final : public ForwardingDevice {
 public:
  HoldingDevice(std::unique_ptr<store::BlockDevice> under, std::uint64_t held) : under_(std::move(under)), held_(held) {}
  void read(std::uint64_t offset, MutableBytes into, store::Done<void> done) override {
    if (offset != held_) return under_->read(offset, into, std::move(done));
    waiting_.push_back([this, offset, into, done = std::move(done)]() mutable { under_->read(offset, into, std::move(done)); });
  }
  std::size_t waiting() const { return waiting_.size(); }
  void let_go() {
    for (net::Task& task : std::exchange(waiting_, {})) task();
  }

 private:
  store::BlockDevice* target() const override { return under_.get(); }
  std::unique_ptr<store::BlockDevice> under_;
  std::uint64_t held_;
  std::vector<net::Task> waiting_;
};

// A lone volume of ours and an original that takes it, block by block, and asks for bytes 5 to 105 at the first.
class SourceLinkTest : public testing::Test, public OurEnd, public LinkOwner {
 protected:
  static constexpr std::uint64_t kAsked = 5;

  SourceLinkTest() : OurEnd(1) {
    sim::RecordedDevice device;
    device.id = 1;
    device.name = "disk";
    device.size = 4 * kBlock;
    device.block_size = kBlock;
    Volume& volume = add_volume(device, sim::recorded_bytes(7, device.size), true, {}, [this](auto store) {
      auto holding = std::make_unique<HoldingDevice>(std::move(store), kAsked);
      disk = holding.get();
      return holding;
    });
    auto stream = connect(destination, [this](const FrameHeader& header, ConstBytes body) { receive(header, body); });
    source = std::make_unique<SourceLink>(context(), *this, LinkId{1}, std::move(stream), std::vector<Volume*>{&volume},
                                          SourceOptions{}, Random(1));
    link = source.get();
    source->start();
  }
  ~SourceLinkTest() override { link = nullptr; }

  void receive(const FrameHeader& header, ConstBytes body) {
    const Packet packet = decode_packet(body).value();
    if (const auto* have = std::get_if<AlreadyHave>(&packet)) {
      EXPECT_TRUE(have->blocks.empty());
      destination.send(header.device, header.tx, WriteAtResponse{0});
    } else if (const auto* data = std::get_if<WriteData>(&packet)) {
      if (!std::exchange(has_asked, true)) destination.send(header.device, TxId{77}, ReadAt{kAsked, 100});
      destination.send(header.device, header.tx,
                       WriteAtResponse{static_cast<std::uint32_t>(decoded_length(*data, 1 << 20).value())});
    } else if (std::holds_alternative<Event>(packet)) {
      has_completed = true;
      destination.send(header.device, header.tx, EventResponse{});
    } else if (const auto* read = std::get_if<ReadAtResponse>(&packet)) {
      EXPECT_EQ(header.tx, TxId{77});
      answer = to_bytes(read->payload);
    }
  }

  LocalHost local_host() const override { return me; }
  void handle_link_up(ControlLink&) override { ADD_FAILURE(); }
  void handle_control(ControlLink&, const ControlMessage&) override { ADD_FAILURE(); }
  void handle_link_closed(ControlLink&, std::optional<Error> error) override { closed_because = error ? error->message() : ""; }
  void note(NoteLevel, std::string text) override { notes.push_back(std::move(text)); }

  HoldingDevice* disk = nullptr;
  FakePeer destination;
  std::unique_ptr<SourceLink> source;
  bool has_asked = false, has_completed = false;
  std::optional<Bytes> answer;
};

TEST_F(SourceLinkTest, AnswersWhatWasAskedBeforeTheEndAndThenHangsUp) {
  settle();
  EXPECT_TRUE(has_completed) << all_notes();
  EXPECT_EQ(disk->waiting(), 1u);
  EXPECT_FALSE(destination.has_ended()) << "an answer is due";
  disk->let_go();
  settle();
  ASSERT_TRUE(answer) << all_notes();
  EXPECT_EQ(*answer, to_bytes(ConstBytes(sim::recorded_bytes(7, 4 * kBlock)).subspan(kAsked, 100)));
  EXPECT_TRUE(destination.has_ended());
}

}  // namespace
}  // namespace godwit::volume::replay
