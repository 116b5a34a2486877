// What the fuzzers of the two links share: a host with volumes in memory in the simulated world, and a peer at the other end of a
// stream that says what the input tells it to. An input is a row of bytes that is read as choices; where it ends, zeros follow.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "sim/host.h"
#include "store/memory_device.h"
#include "volume/core/control.h"
#include "volume/core/frame_assembler.h"
#include "volume/driver/control_link.h"

namespace godwit::volume::fuzz {

class Choices {
 public:
  explicit Choices(ConstBytes bytes) : bytes_(bytes) {}
  bool are_left() const { return at_ < bytes_.size(); }
  std::uint8_t byte() { return are_left() ? std::to_integer<std::uint8_t>(bytes_[at_++]) : 0; }
  std::uint32_t below(std::uint32_t bound) { return byte() % bound; }
  ConstBytes take(std::size_t count) {
    const ConstBytes taken = bytes_.subspan(at_, std::min(count, bytes_.size() - at_));
    at_ += taken.size();
    return taken;
  }
  // Around blocks' edges, around the ends, and far away.
  std::int64_t offset() {
    const std::uint8_t b = byte();
    if (b >= 0xF0) return static_cast<std::int64_t>(0x7fffffffffffffffull << (b & 3));
    return std::int64_t{b & 0x0F} * 1024 + (b >> 4) - 2 * (b >> 6);
  }

 private:
  ConstBytes bytes_;
  std::size_t at_ = 0;
};

class Scene : public VolumeEvents {
 public:
  Scene() : world(1), fabric(world), ours(fabric, "ours"), theirs(fabric, "theirs"), buffers(16 << 20) {
    Random random(7);
    me = LocalHost{HostId::random(random), Boot{1}, "ours", "", ""};
    them = LocalHost{HostId::random(random), Boot{1}, "theirs", "", ""};
    auto listener = std::move(*theirs.network().listen(
        *net::Address::parse("theirs:5170", 0), [&](std::unique_ptr<net::Stream> theirs_end) { peer = std::move(theirs_end); }));
    stream = std::move(*sim::wait_for<std::unique_ptr<net::Stream>>(world, [&](net::Done<std::unique_ptr<net::Stream>> done) {
      ours.network().connect(*net::Address::parse("theirs:5170", 0), std::move(done));
    }));
    world.run_until([&] { return peer != nullptr; }, Duration::seconds(1));
    read();
  }
  ~Scene() override { peer.reset(); }

  Volume& add_volume(const std::string& name, Geometry geometry, bool owned) {
    Random random(volumes.size() + 1);
    Record record =
        owned ? Ownership::new_owned(me, random, geometry, name)
              : Ownership::new_receiving(me, random, VolumeId::random(random), geometry, Peer{them.host, them.name, ""}, name);
    volumes.push_back(std::make_unique<Volume>(ours.scheduler(), *this, name, me, std::move(record), false,
                                               std::move(*store::make_memory_device(geometry.size_bytes, ours.scheduler())),
                                               RecordPlace{}, random));
    volumes.back()->start();
    return *volumes.back();
  }
  DriverContext context() { return {ours.scheduler(), ours.network(), ours.workers(), buffers}; }

  void send(DeviceId device, TxId tx, const Packet& packet) {
    Bytes frame;
    encode_frame(device, tx, packet, frame);
    send_bytes(frame);
  }
  void send_bytes(ConstBytes bytes) {
    append(unsent_, bytes);
    flush();
  }
  void send_control(const ControlMessage& message) {
    Bytes payload;
    encode_control(message, payload);
    send(kControlDevice, TxId{++control_tx_}, Event{EventType::custom, kCustomGodwit, payload});
  }
  ControlMessage hello() const { return hello_of(them); }
  // A message about a volume, well-formed, with what was seen last where it must agree.
  ControlMessage control(Choices& in, Volume& volume) {
    static constexpr ControlType kTypes[] = {
        ControlType::state,  ControlType::pull,     ControlType::accept, ControlType::refuse, ControlType::prepare,
        ControlType::ready,  ControlType::aborted,  ControlType::grant,  ControlType::owned,  ControlType::owned_ack,
        ControlType::revoke, ControlType::declined, ControlType::cancel};
    ControlMessage m;
    m.type = kTypes[in.below(std::size(kTypes))];
    m.volume = volume.id();
    Random random(in.below(3));
    const ControlMessage& seen = last_control[static_cast<std::size_t>(in.below(2))];
    const CopyId copy = seen.copy.value_or(CopyId::random(random));
    const HandoverId h = seen.h.value_or(HandoverId::random(random));
    const SessionId session = seen.session.value_or(SessionId::random(random));
    Chain chain = seen.chain.value_or(volume.ownership().record().chain);
    if (in.below(2) == 1) chain.add(OwnershipKind::created, HandoverId::random(random), them.host);
    const bool describes = m.type == ControlType::state || m.type == ControlType::pull;
    if (describes) {
      m.state = static_cast<CopyState>(in.below(6));
      m.size = volume.geometry().size_bytes;
      m.block_size = volume.geometry().block_size_bytes;
    }
    if (m.type == ControlType::state) m.device = DeviceId{1 + in.below(2)};
    if (m.type == ControlType::pull) m.claims = 0, m.word = in.below(3);
    if (m.type == ControlType::accept) m.mode = static_cast<PullMode>(in.below(2));
    if (m.type == ControlType::refuse) m.code = RefuseCode::busy;
    if (m.type == ControlType::prepare) m.epoch = 0;
    const auto is = [&](std::initializer_list<ControlType> types) {
      return std::find(types.begin(), types.end(), m.type) != types.end();
    };
    if (is({ControlType::pull, ControlType::accept, ControlType::refuse, ControlType::prepare})) m.session = session;
    if (describes || is({ControlType::ready, ControlType::grant, ControlType::cancel})) m.copy = copy;
    if (describes || is({ControlType::accept, ControlType::grant, ControlType::owned})) m.chain = chain;
    if (is({ControlType::prepare, ControlType::ready, ControlType::aborted, ControlType::grant, ControlType::owned,
            ControlType::owned_ack, ControlType::revoke, ControlType::declined}))
      m.h = h;
    return m;
  }

  void handle_effect(Volume& volume, OwnershipEffect& effect) override {
    if (!link) {
      if (const auto* end = std::get_if<EndSession>(&effect)) ended(volume, end->session);
      return;
    }
    if (const auto* send = std::get_if<SendControl>(&effect)) {
      if (link->peer()) link->send_control(send->message);
    } else if (std::holds_alternative<StartSending>(effect)) {
      link->start_sending(volume, false);
    } else if (std::holds_alternative<StartReceiving>(effect)) {
      link->start_receiving(volume);
    } else if (const auto* end = std::get_if<EndSession>(&effect)) {
      link->end_session(volume, [this, &volume, session = end->session] { ended(volume, session); });
    } else if (const auto* drop = std::get_if<DropLink>(&effect)) {
      link->drop(drop->reason);
    } else if (std::holds_alternative<PeerReady>(effect)) {
      link->handle_peer_ready(volume);
    }
  }
  void handle_mode(Volume& volume) override {
    if (link) link->handle_mode(volume);
  }
  // What a host does with the end of a connection.
  void link_closed() {
    for (auto& volume : volumes) {
      volume->ownership().handle_link_down(link_id);
      volume->pump();
    }
  }
  void touch(Choices& in) {
    Volume& volume = *volumes[in.below(static_cast<std::uint32_t>(volumes.size()))];
    local_.emplace_back(1 + in.below(255) * 16u);
    const std::uint64_t offset = static_cast<std::uint64_t>(in.byte()) * 40;
    if (in.below(2) == 1)
      volume.face().write(offset, local_.back(), store::Durability::written, [](Result<void>) {});
    else
      volume.face().read(offset, local_.back(), [](Result<void>) {});
  }

  sim::World world;
  sim::Fabric fabric;
  sim::Host ours, theirs;
  net::BufferPool buffers;
  LocalHost me, them;
  std::unique_ptr<net::Stream> stream;  // our end
  std::unique_ptr<net::Stream> peer;
  std::deque<Bytes> local_;
  std::vector<std::unique_ptr<Volume>> volumes;
  ControlLink* link = nullptr;
  LinkId link_id{1};
  ControlMessage last_control[2];
  std::deque<FrameHeader> asked;  // our requests that nobody has answered
  std::map<std::uint32_t, Bytes> bodies;
  std::optional<Mark> mark;

 private:
  void ended(Volume& volume, const SessionId& session) {
    volume.ownership().handle_session_ended(session);
    volume.pump();
  }
  void read() {
    const MutableBytes into[1] = {buffer_};
    peer->read(into, [this](Result<std::size_t> count) {
      if (!count || *count == 0) return;
      frames_.feed(ConstBytes(buffer_).first(*count));
      while (true) {
        const Result<std::optional<FrameAssembler::Frame>> frame = frames_.next();
        GODWIT_CHECK(frame.has_value());
        if (!*frame) break;
        receive((*frame)->header, (*frame)->body);
      }
      read();
    });
  }
  // Whatever we say decodes.
  void receive(const FrameHeader& header, ConstBytes body) {
    const Result<Packet> packet = decode_packet(body);
    GODWIT_CHECK(packet.has_value());
    if (const auto* group = std::get_if<DeviceGroupInfo>(&*packet)) mark = find_mark(group->devices.front().info.schema);
    const auto* event = std::get_if<Event>(&*packet);
    if (event && event->custom_type == kCustomGodwit && event->type == EventType::custom) {
      const Result<DecodedControl> control = decode_control(event->payload);
      if (control && control->message) last_control[1] = std::exchange(last_control[0], *control->message);
    } else if (!is_response(static_cast<PacketType>(body[0]))) {
      asked.push_back(header);
      bodies[header.tx.value] = to_bytes(body.first(std::min<std::size_t>(body.size(), 64)));
    }
  }
  void flush() {
    if (writing_ || unsent_.empty()) return;
    writing_ = true;
    sending_ = std::exchange(unsent_, {});
    const ConstBytes from[1] = {sending_};
    peer->write(from, [this](Result<void> result) {
      writing_ = false;
      if (result) flush();
    });
  }

  FrameAssembler frames_;
  Bytes buffer_ = Bytes(64 * 1024);
  Bytes unsent_, sending_;
  bool writing_ = false;
  std::uint32_t control_tx_ = 0x80000000;
};

// A scene around one link; `Owner` is what that link reports to.
template <class Owner>
class LinkScene : public Scene, public Owner {
 public:
  LocalHost local_host() const override { return me; }
  void handle_control(ControlLink& from, const ControlMessage& message) override {
    for (auto& volume : volumes) {
      if (volume->id() != message.volume || !from.peer()) continue;
      volume->ownership().handle_message(*from.peer(), message);
      volume->pump();
    }
  }
  void handle_link_closed(ControlLink&, std::optional<Error>) override {
    ++closed_;
    link_closed();
  }
  void note(NoteLevel, std::string) override {}

 protected:
  // The peer goes; the link has told so once and is about to be destroyed.
  void hang_up() {
    peer->close();
    world.run_for(Duration::seconds(5));
    GODWIT_CHECK(closed_ == 1);
    link = nullptr;
  }
  void check_nothing_is_left() {
    for (auto& volume : volumes) volume->face().fail_all(Error(ErrorKind::shut_down, "the end"));
    world.run_for(Duration::seconds(1));
    GODWIT_CHECK(buffers.leased_bytes() == 0);
  }
  std::uint32_t tx_ = 0;

 private:
  int closed_ = 0;
};

}  // namespace godwit::volume::fuzz
