// A SourceLink fed by an arbitrary destination: answers of all kinds to what it asks, requests, control messages in any order,
// and any bytes. Whatever comes, every frame we send decodes, and once the stream has ended no buffer stays behind.
#include "volume/driver/source_link.h"

#include "volume/driver/link_scene_fuzz.h"

namespace godwit::volume::fuzz {
namespace {

class SourceScene final : public LinkScene<LinkOwner> {
 public:
  explicit SourceScene(Choices& in) {
    add_volume("a", Geometry{10000, 1024}, true);
    add_volume("b", Geometry{8192, 4096}, true);
    const std::uint8_t choice = in.byte();
    SourceOptions options;
    options.mark = (choice & 1) == 0;
    options.config.lone_device = (choice & 6) == 6;
    options.config.lock_events = options.config.hashes = options.config.lone_device;
    options.config.legacy = static_cast<LegacyHandOver>(in.below(3));
    options.config.blocks_in_flight_original = (choice & 8) != 0 ? 1 : 100;
    options.config.dirty_threshold_blocks = 0;
    options.config.rounds_max = 3;
    options.forms.form = (choice & 16) != 0 ? WriteForm::rle : WriteForm::zeroes;
    options.forms.hash_only = (choice & 32) != 0;
    if ((choice & 64) != 0)
      options.of_volume = [](const Volume& volume) {
        SourceVolumeOptions special;
        special.base_blocks = [&volume] {
          Bitset blocks(volume.geometry().block_count());
          blocks.set_range(0, 1);
          return blocks;
        };
        special.alternates[1024] = {1024, 1024, sha256(Bytes(1024)), "x"};
        return special;
      };
    std::vector<Volume*> offered{volumes[0].get()};
    if (!options.config.lone_device) offered.push_back(volumes[1].get());
    link_ = std::make_unique<SourceLink>(context(), *this, link_id, std::move(stream), offered, options, Random(3));
    link = link_.get();
    link_->start();
  }

  void say_something(Choices& in) {
    const DeviceId device{in.below(4)};
    const TxId tx{++tx_};
    const std::int64_t offset = in.offset();
    const auto length = static_cast<std::int32_t>(in.below(4) == 0 ? in.offset() : 1024 * static_cast<std::int32_t>(in.below(4)));
    switch (in.below(10)) {
      case 0: return send(device, tx, NeedAt{offset, length});
      case 1: return send(device, tx, DontNeedAt{offset, length});
      case 2: return send(device, tx, ReadAt{offset, length});
      case 3: return send(device, tx, ReadByHash{sha256(Bytes(1024))});
      case 4: return send(device, tx, Event{EventType::completed, 0, {}});
      case 5: return send(device, tx, DirtyList{1024, {1}});
      default: return answer(in);
    }
  }
  // Mostly as it should be.
  void answer(Choices& in) {
    if (asked.empty()) return;
    const FrameHeader header = asked.front();
    asked.pop_front();
    const Bytes& body = bodies[header.tx.value];
    const std::uint8_t wrong = in.byte();
    auto type = wrong >= 0xF8 ? static_cast<PacketType>(1 + wrong % 9) : static_cast<PacketType>(body[0]);
    if (wrong == 0xF7) return send(header.device, header.tx, WriteAtResponseErr{});
    switch (type) {
      case PacketType::write_at:
        return send(header.device, header.tx, WriteAtResponse{length_of(header.device, body) + (wrong == 0xF6 ? 1 : 0)});
      case PacketType::dirty_list: return send(header.device, header.tx, DirtyListResponse{});
      case PacketType::event: return send(header.device, header.tx, EventResponse{});
      case PacketType::hashes: return send(header.device, header.tx, HashesResponse{});
      default: return;
    }
  }
  void reply_to_mark(Choices& in) {
    if (!mark) return;
    Bytes payload;
    encode_reply(in.below(8) == 0 ? Mark{1, Nonce{std::string(32, '0')}} : *mark, hello(), payload);
    send(kControlDevice, TxId{++tx_}, Event{EventType::custom, kCustomGodwit, payload});
  }
  void finish() {
    hang_up();
    link_.reset();
    for (auto& volume : volumes) GODWIT_CHECK(!volume->ownership().is_busy() && !volume->ownership().is_locked());
    check_nothing_is_left();
  }

  void handle_link_up(ControlLink& up) override {
    for (auto& volume : volumes) {
      up.send_control(volume->ownership().state_message(std::nullopt));
      volume->ownership().handle_link_up(*up.peer());
      volume->pump();
    }
  }

 private:
  // The decoded length of a WriteAt, as far as its first bytes tell.
  std::uint32_t length_of(DeviceId device, const Bytes& body) const {
    const Result<Packet> packet = decode_packet(body);
    if (!packet) return 0;
    if (const auto* have = std::get_if<AlreadyHave>(&*packet))
      return static_cast<std::uint32_t>(have->blocks.size() * have->block_size);
    if (const auto* hash = std::get_if<WriteByHash>(&*packet)) return static_cast<std::uint32_t>(hash->length);
    const auto* data = std::get_if<WriteData>(&*packet);
    if (!data) return 0;
    if (data->form == WriteForm::zeroes) return static_cast<std::uint32_t>(data->zeroes_length);
    const Geometry geometry = volumes[device.value - 1]->geometry();
    return geometry.length_of(geometry.block_at(static_cast<std::uint64_t>(data->offset)));
  }

  std::unique_ptr<SourceLink> link_;
};

}  // namespace
}  // namespace godwit::volume::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  using namespace godwit::volume::fuzz;
  Choices in(ConstBytes(reinterpret_cast<const std::byte*>(data), std::min<std::size_t>(size, 4096)));
  SourceScene scene(in);
  scene.world.run_for(Duration::milliseconds(1));
  while (in.are_left()) {
    switch (in.below(12)) {
      case 0: scene.send_bytes(in.take(in.byte())); break;
      case 1: scene.reply_to_mark(in); break;
      case 2: scene.send_control(in.below(4) == 0 ? scene.hello() : scene.control(in, *scene.volumes[in.below(2)])); break;
      case 3:
      case 4: scene.world.run_for(Duration::microseconds(std::int64_t{in.byte()} * 40)); break;
      case 5: scene.touch(in); break;
      default: scene.say_something(in);
    }
  }
  scene.finish();
  return 0;
}
