// A DestinationLink fed by an arbitrary source: well-formed packets of all kinds in any order, and any bytes. Whatever comes,
// every frame we send decodes, and once the stream has ended no buffer stays behind.
#include "volume/driver/destination_link.h"

#include "volume/driver/link_scene_fuzz.h"

namespace godwit::volume::fuzz {
namespace {

class DestinationScene final : public LinkScene<DestinationOwner> {
 public:
  explicit DestinationScene(Choices& in) {
    add_volume("a", Geometry{10000, 1024}, false);
    add_volume("b", Geometry{8192, 4096}, false);
    const std::uint8_t choice = in.byte();
    DestinationOptions options;
    options.take = static_cast<Take>(choice % 3);
    options.post_copy = (choice & 4) != 0;
    options.early_writes = (choice & 8) != 0;
    options.config.completed_needs_all_blocks = (choice & 16) == 0;
    options.config.answer_reads = (choice & 32) != 0;
    options.config.by_hash = (choice & 64) != 0 ? ByHashFetch::read_by_hash : ByHashFetch::read_at;
    options.config.stores_in_flight_max = (choice & 128) != 0 ? 2 : 1024;
    options.config.early_bytes_max = 64 * 1024;
    link_ = std::make_unique<DestinationLink>(context(), *this, link_id, std::move(stream), options, nullptr);
    link = link_.get();
    link_->start();
  }

  void announce(Choices& in) {
    const std::uint8_t choice = in.byte();
    DeviceGroupInfo group;
    std::string schema = "device";
    if ((choice & 1) != 0) schema = with_mark(schema, Mark{1, Nonce{std::string(32, 'a')}});
    for (std::size_t i = 0; i < volumes.size(); ++i)
      group.devices.push_back(
          {DeviceId{static_cast<std::uint32_t>(i + 1)},
           DevInfo{volumes[i]->geometry().size_bytes, volumes[i]->geometry().block_size_bytes, volumes[i]->name(), schema}});
    if ((choice & 2) != 0) return send(group.devices[0].device, TxId{++tx_}, group.devices[0].info);
    send(kControlDevice, TxId{++tx_}, group);
  }
  void say_something(Choices& in) {
    const DeviceId device{in.below(4)};
    const TxId tx{in.below(8) == 0 ? tx_ : ++tx_};
    const Bytes data = to_bytes(in.take(in.below(2) == 0 ? 20 : 0));
    Bytes block(1024, static_cast<std::byte>(in.byte()));
    const Sha256 hash = sha256(block);
    const std::int64_t offset = in.offset();
    const auto length = static_cast<std::int32_t>(in.below(4) == 0 ? in.offset() : 1024);
    const std::vector<std::uint32_t> blocks = {in.below(10), in.below(11)};
    switch (in.below(16)) {
      case 0:
      case 1:
        return send(device, tx, WriteData{WriteForm::raw, offset, 0, in.below(2) == 0 ? ConstBytes(block) : ConstBytes(data)});
      case 2: return send(device, tx, WriteData{WriteForm::rle, offset, 0, data});
      case 3: return send(device, tx, WriteData{WriteForm::gzip, offset, 0, data});
      case 4: return send(device, tx, WriteData{WriteForm::zeroes, offset, static_cast<std::uint64_t>(length), data});
      case 5: return send(device, tx, WriteByHash{HashLocation::s3, offset, length, hash});
      case 6: return send(device, tx, AlreadyHave{in.below(8) == 0 ? 7u : 1024u, blocks});
      case 7: return send(device, tx, DirtyList{in.below(8) == 0 ? 7u : 1024u, blocks});
      case 8:
        return send(device, tx, Event{static_cast<EventType>(in.below(7)), static_cast<std::uint8_t>(in.below(2) * 0x47), data});
      case 9: return send(device, tx, Hashes{{{blocks[0], hash}, {blocks[1], hash}}});
      case 10: return send(device, tx, WriteAtWithMap{offset, {{1, 2}}, block});
      case 11: return send(device, tx, RemoveFromMap{{1}});
      case 12: return send(device, tx, AlternateSources{{{offset, length, hash, "x"}}});
      case 13: return send(device, tx, ReadAt{offset, length});
      case 14: return in.below(8) == 0 ? send(device, tx, RemoveDev{}) : send(device, tx, ReadByHash{hash});
      default: return answer(in, block);
    }
  }
  void answer(Choices& in, ConstBytes block) {
    if (asked.empty()) return;
    const FrameHeader header = asked.front();
    asked.pop_front();
    switch (in.below(4)) {
      case 0: return send(header.device, header.tx, ReadAtResponse{1024, block});
      case 1: return send(header.device, header.tx, ReadByHashResponse{block});
      case 2: return send(header.device, header.tx, ReadAtResponseErr{});
      default: return send(header.device, header.tx, ReadByHashResponseErr{"no"});
    }
  }
  void finish() {
    hang_up();
    bool idle = false;
    link_->end_session_then([&idle] { idle = true; });
    world.run_for(Duration::seconds(1));
    GODWIT_CHECK(idle);
    link_.reset();
    check_nothing_is_left();
  }

  void handle_link_up(ControlLink& up) override { up.send_control(hello_of(me)); }
  void open_copies(DestinationLink&, const std::vector<DeviceGroupInfo::Entry>& devices,
                   net::Done<std::vector<Volume*>> done) override {
    std::vector<Volume*> opened;
    for (const auto& entry : devices) {
      opened.push_back(nullptr);
      for (auto& volume : volumes)
        if (volume->name() == entry.info.name && volume->geometry() == Geometry{entry.info.size, entry.info.block_size})
          opened.back() = volume.get();
    }
    ours.scheduler().post([done = std::move(done), opened = std::move(opened)]() mutable { done(std::move(opened)); });
  }
  void handle_states(DestinationLink& from, const std::map<DeviceId, ControlMessage>& states,
                     const std::vector<DeviceGroupInfo::Entry>&) override {
    for (const auto& [device, state] : states)
      for (auto& volume : volumes)
        if (volume->id() == state.volume && !from.carries(*volume)) from.pull(device, *volume, 1);
  }
  void handle_original_completed(DestinationLink&, Volume&, bool) override {}

 private:
  std::unique_ptr<DestinationLink> link_;
};

}  // namespace
}  // namespace godwit::volume::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  using namespace godwit::volume::fuzz;
  Choices in(ConstBytes(reinterpret_cast<const std::byte*>(data), std::min<std::size_t>(size, 4096)));
  DestinationScene scene(in);
  while (in.are_left()) {
    switch (in.below(12)) {
      case 0: scene.send_bytes(in.take(in.byte())); break;
      case 1: scene.announce(in); break;
      case 2: scene.send_control(in.below(4) == 0 ? scene.hello() : scene.control(in, *scene.volumes[in.below(2)])); break;
      case 3: scene.world.run_for(Duration::microseconds(std::int64_t{in.byte()} * 20)); break;
      case 4: scene.touch(in); break;
      default: scene.say_something(in);
    }
  }
  scene.finish();
  return 0;
}
