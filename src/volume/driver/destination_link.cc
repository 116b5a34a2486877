#include "volume/driver/destination_link.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "volume/core/block_form.h"

namespace godwit::volume {

DestinationLink::DestinationLink(DriverContext context, DestinationOwner& owner, LinkId id, std::unique_ptr<net::Stream> stream,
                                 DestinationOptions options, BlockSource* blocks)
    : context_(context),
      owner_(owner),
      id_(id),
      options_(options),
      blocks_(blocks),
      session_(options.config),
      link_(context.scheduler, context.buffers, std::move(stream), *this, FrameLink::Limits{}),
      remote_(link_.stream().peer()) {}

DestinationLink::~DestinationLink() {
  *alive_ = false;
  if (link_.is_closed()) return;
  for (auto& [id, d] : devices_)
    if (d.volume) d.volume->face().on_cache_wish(nullptr);
}

// --- frames from the source ---

// More than a block of any device: what decodes to more is the session's to judge.
static constexpr std::uint64_t kInflatedBytesMax = 8 << 20;

void DestinationLink::handle_frame(const FrameHeader& header, ConstBytes body, net::Lease buffer) {
  Result<Packet> packet = decode_packet(body);
  if (!packet) {
    session_.handle_malformed(header, body, packet.error());
    return work();
  }
  const auto* event = std::get_if<Event>(&*packet);
  const bool control =
      event && header.device == kControlDevice && event->type == EventType::custom && event->custom_type == kCustomGodwit;
  if (control && !announced_.empty()) return handle_control_frame(event->payload);

  const bool borrows = std::holds_alternative<WriteData>(*packet) || std::holds_alternative<WriteAtWithMap>(*packet) || event ||
                       std::holds_alternative<ReadAtResponse>(*packet) || std::holds_alternative<ReadByHashResponse>(*packet);
  PayloadToken token = 0;
  const auto* write = std::get_if<WriteData>(&*packet);
  std::optional<Payload> plain = write ? inflate(*write) : std::nullopt;
  if (plain) {
    token = next_payload_++;
    packet = WriteData{WriteForm::raw, write->offset, 0, plain->body};
    payloads_.emplace(token, std::move(*plain));
  } else if (borrows) {
    token = next_payload_++;
    if (!buffer) {  // it lies in the receive buffer: what outlives this call must be copied
      buffer = context_.buffers.lease(body.size());
      std::memcpy(buffer.bytes().data(), body.data(), body.size());
      packet = decode_packet(buffer.bytes());
    }
    const ConstBytes kept = buffer.bytes();
    payloads_.emplace(token, Payload{std::move(buffer), kept});
  }
  session_.handle_packet(header, std::move(*packet), token, body.size());
  work();
}

// The session must know how long the bytes are, and nobody knows that before they are decoded: so this happens first, and once.
// Where the payload's own hint was wrong, or it can not be read, the session finds out by itself.
std::optional<DestinationLink::Payload> DestinationLink::inflate(const WriteData& write) {
  if (write.form != WriteForm::gzip) return std::nullopt;
  const std::uint64_t length = hinted_gzip_length(write.payload, kInflatedBytesMax);
  if (length == 0) return std::nullopt;
  net::Lease plain = context_.buffers.lease(length);
  const Result<std::uint64_t> decoded = decode_form_within(write, plain.bytes());
  if (!decoded) return std::nullopt;
  const ConstBytes bytes = plain.bytes().first(*decoded);
  return Payload{std::move(plain), bytes, true};
}

MutableBytes DestinationLink::place(const FrameHeader& header, const RawWriteHead& head) {
  const auto it = devices_.find(header.device);
  if (it == devices_.end() || !it->second.volume || !peer_) return {};
  const MutableBytes memory = it->second.volume->store().memory();
  if (memory.empty() || head.offset < 0) return {};
  const auto offset = static_cast<std::uint64_t>(head.offset);
  if (!session_.may_place(header.device, offset, head.payload_length)) return {};
  touch_ahead(it->second, offset);
  return memory.subspan(offset, head.payload_length);
}

void DestinationLink::touch_ahead(Device& d, std::uint64_t offset) {
  if (!d.touch) {
    const auto begun = [this] { ++operations_; };
    const auto ended = [this, alive = alive_] {
      if (*alive) operation_ended();
    };
    d.touch = std::make_unique<MemoryTouch>(d.volume->store().memory(), context_.workers, begun, ended);
  }
  d.touch->note_placed(offset);
}

void DestinationLink::handle_placed(const FrameHeader& header, const RawWriteHead& head) {
  Volume& volume = *devices_.at(header.device).volume;
  volume.placed_remote(static_cast<std::uint64_t>(head.offset), head.payload_length);
  session_.handle_placed(header, static_cast<std::uint64_t>(head.offset), head.payload_length);
  volume.face().wake_waiters();
  work();
}

void DestinationLink::handle_closed(std::optional<Error> error) {
  for (auto& [id, d] : devices_)
    if (d.volume) d.volume->face().on_cache_wish(nullptr);
  owner_.handle_link_closed(*this, std::move(error));
}

void DestinationLink::fail(std::string reason) {
  if (link_.is_closed()) return;
  link_.close();
  handle_closed(Error(ErrorKind::invalid, std::move(reason)));
}

void DestinationLink::end_session(Volume&, net::Task ended) {
  if (!link_.is_closed()) {
    link_.close();
    handle_closed(Error(ErrorKind::cancelled, "the session was ended"));
  }
  if (operations_ == 0) return context_.scheduler.post(std::move(ended));
  when_idle_.push_back(std::move(ended));
}

void DestinationLink::end_session_then(net::Task ended) {
  if (operations_ == 0) return ended();
  when_idle_.push_back(std::move(ended));
}

bool DestinationLink::carries(const Volume& volume) const {
  return std::any_of(devices_.begin(), devices_.end(), [&](const auto& entry) { return entry.second.volume == &volume; });
}

void DestinationLink::operation_ended() {
  if (--operations_ > 0) return;
  for (net::Task& task : std::exchange(when_idle_, {})) context_.scheduler.post(std::move(task));
}

void DestinationLink::send_packet(DeviceId device, TxId tx, const Packet& packet) {
  Bytes frame;
  encode_frame(device, tx, packet, frame);
  link_.send(Lane::urgent, std::move(frame));
}

void DestinationLink::send_control(const ControlMessage& message) {
  Bytes payload;
  encode_control(message, payload);
  ++control_tx_;
  send_packet(kControlDevice, control_tx_, Event{EventType::custom, kCustomGodwit, payload});
}

// --- who is there ---

void DestinationLink::open_devices(OpenDevices work) {
  std::uint32_t largest = 0;
  for (const auto& entry : work.devices) largest = std::max(largest, entry.info.block_size);
  link_.raise_body_limit(2 * largest + 64 * 1024);
  group_ = group_ || work.group;

  std::optional<Mark> mark = work.devices.empty() || !work.group ? std::nullopt : find_mark(work.devices.front().info.schema);
  for (const auto& entry : work.devices)
    if (find_mark(entry.info.schema) != mark) mark.reset();
  if (mark && options_.answer_mark) {
    announced_ = work.devices;
    for (const auto& entry : work.devices) session_.handle_device_opened(entry.device, nullptr, Admission::not_accepted);
    return answer_mark(*mark);
  }
  original_ = true;
  owner_.open_copies(*this, work.devices, [this, alive = alive_, devices = work.devices](Result<std::vector<Volume*>> volumes) {
    if (!*alive || link_.is_closed()) return;
    if (!volumes) return fail(volumes.error().message());
    for (std::size_t i = 0; i < devices.size(); ++i) {
      Volume* volume = (*volumes)[i];
      if (!volume) {
        session_.handle_device_opened(devices[i].device, nullptr, Admission::not_accepted);
        continue;
      }
      devices_[devices[i].device] = Device{volume, true, std::nullopt, false, nullptr};
      volume->face().on_cache_wish([this] { this->work(); });
      session_.handle_device_opened(devices[i].device, volume->cache(), Admission::store);
    }
    this->work();
    link_.resume();
  });
}

void DestinationLink::answer_mark(const Mark& mark) {
  Bytes payload;
  encode_reply(Mark{1, mark.nonce}, hello_of(owner_.local_host()), payload);
  ++control_tx_;
  send_packet(kControlDevice, control_tx_, Event{EventType::custom, kCustomGodwit, payload});
}

void DestinationLink::handle_control_frame(ConstBytes payload) {
  const Result<DecodedControl> decoded = decode_control(payload);
  if (!decoded) return fail(decoded.error().within("control message").message());
  if (!decoded->message) return;
  const ControlMessage& message = *decoded->message;
  if (message.type == ControlType::hello) return handle_hello(message);
  if (!peer_) return fail(name_of(message.type) + " before HELLO");
  if (message.type == ControlType::state && message.device) return handle_state(message);
  if (message.type == ControlType::prepare)
    for (auto& [id, d] : devices_)
      if (d.volume && d.volume->id() == message.volume) d.volume->ownership().set_whole(session_.is_whole(id));
  owner_.handle_control(*this, message);
  if (link_.is_closed()) return;
  // What was decided counts for the very next frame, also while the record that says so is still being written.
  for (auto& [id, d] : devices_)
    if (d.volume) update_admission(id, d);
  work();
}

void DestinationLink::handle_hello(const ControlMessage& hello) {
  if (peer_) return;
  if (*hello.host == owner_.local_host().host) return fail("the peer has our own host id: a cloned data directory, or ourselves");
  peer_ = Sender{id_, *hello.host, *hello.boot, *hello.name, remote_.text()};  // we dialled it there
  owner_.handle_link_up(*this);
}

void DestinationLink::handle_state(const ControlMessage& state) {
  const auto known = std::find_if(announced_.begin(), announced_.end(), [&](const auto& e) { return e.device == *state.device; });
  if (known == announced_.end()) return fail("STATE of a device that was not announced");
  if (known->info.size != state.size || known->info.block_size != state.block_size)
    return fail("STATE and DeviceGroupInfo disagree about device " + std::to_string(state.device->value));
  const bool complete_before = states_.size() == announced_.size();
  states_.insert_or_assign(*state.device, state);
  owner_.handle_control(*this, state);
  if (!complete_before && states_.size() == announced_.size()) owner_.handle_states(*this, states_, announced_);
}

void DestinationLink::pull(DeviceId id, Volume& volume, std::uint64_t word) {
  devices_[id] = Device{&volume, false, std::nullopt, false, nullptr};
  const auto state = states_.find(id);
  volume.ownership().begin_pull(*peer_, word, state == states_.end() ? std::nullopt : state->second.base);
  volume.pump();
}

void DestinationLink::start_receiving(Volume& volume) {
  if (link_.is_closed()) return;
  for (auto& [id, d] : devices_) {
    if (d.volume != &volume) continue;
    d.receiving = true;
    volume.face().on_cache_wish([this] { work(); });
    session_.handle_device_opened(id, volume.cache(), admission_of(d));
    volume.cache()->ask_again();
  }
  work();
  link_.resume();
}

void DestinationLink::handle_refused(Volume&, RefuseCode code, const std::string& text) {
  refusal_ = {code, text};
}

Admission DestinationLink::admission_of(const Device& d) const {
  const Ownership& ownership = d.volume->ownership();
  const CopyState decided = ownership.record().state;
  if (decided == CopyState::owned) return Admission::owned;
  if (original_) return Admission::store;
  if (decided != CopyState::receiving) return Admission::not_accepted;
  if (ownership.session_link() != id_) return Admission::not_accepted;
  return d.receiving && ownership.durable_record().state == CopyState::receiving ? Admission::store : Admission::hold;
}

void DestinationLink::update_admission(DeviceId id, Device& d) {
  // The cache goes when the copy is owned, and another session has another one.
  session_.set_cache(id, original_ || d.volume->ownership().session_link() == id_ ? d.volume->cache() : nullptr);
  const Admission admission = admission_of(d);
  if (admission == session_.admission(id)) return;
  session_.set_admission(id, admission);
  context_.scheduler.post([this, alive = alive_] {
    if (!*alive || link_.is_closed()) return;
    work();
    link_.resume();
  });
}

void DestinationLink::handle_mode(Volume& volume) {
  if (carries(volume) && volume.ownership().is_failed())
    return fail("volume " + volume.name() + " waits for a start: its record could not be written");
  for (auto& [id, d] : devices_)
    if (d.volume == &volume && !link_.is_closed()) update_admission(id, d);
  check_owning();
}

// --- the session's work ---

void DestinationLink::work() {
  if (std::exchange(working_, true)) return;
  const std::shared_ptr<bool> alive = alive_;
  while (!link_.is_closed()) {
    std::optional<DestinationWork> next = session_.poll_work();
    if (!next) break;
    perform(*next);
    if (!*alive) return;
  }
  working_ = false;
}

void DestinationLink::perform(DestinationWork& next) {
  if (const auto* store = std::get_if<StoreData>(&next)) return store_data(*store);
  if (const auto* base = std::get_if<TakeBase>(&next)) return take_base(*base);
  if (const auto* answer = std::get_if<Respond>(&next)) {
    switch (answer->type) {
      case PacketType::write_at_response: return send_packet(answer->device, answer->tx, WriteAtResponse{answer->length});
      case PacketType::write_at_response_err: return send_packet(answer->device, answer->tx, WriteAtResponseErr{});
      case PacketType::dirty_list_response: return send_packet(answer->device, answer->tx, DirtyListResponse{});
      case PacketType::event_response: return send_packet(answer->device, answer->tx, EventResponse{});
      case PacketType::hashes_response: return send_packet(answer->device, answer->tx, HashesResponse{});
      case PacketType::read_at_response_err: return send_packet(answer->device, answer->tx, ReadAtResponseErr{});
      default: return send_packet(answer->device, answer->tx, ReadByHashResponseErr{"malformed request"});
    }
  }
  if (const auto* request = std::get_if<SendRequest>(&next)) return send_packet(request->device, request->tx, request->packet);
  if (const auto* release = std::get_if<ReleasePayload>(&next)) {
    payloads_.erase(release->payload);
    return;
  }
  if (auto* open = std::get_if<OpenDevices>(&next)) return open_devices(std::move(*open));
  if (const auto* fetch = std::get_if<FetchByHash>(&next)) return fetch_by_hash(*fetch);
  if (const auto* fetched = std::get_if<StoreFetched>(&next)) return store_fetched(*fetched);
  if (const auto* read = std::get_if<RespondRead>(&next)) return respond_read(*read);
  if (const auto* completed = std::get_if<ReachedCompleted>(&next)) return reached_completed(*completed);
  if (const auto* custom = std::get_if<ReachedCustom>(&next)) return reached_custom(*custom);
  if (const auto* hashes = std::get_if<CheckHashes>(&next)) return check_hashes(*hashes);
  if (const auto* removed = std::get_if<DeviceRemoved>(&next))
    return owner_.note(NoteLevel::info, "the source removed device " + std::to_string(removed->device.value) +
                                            "; local policy keeps what is here");
  if (const auto* note = std::get_if<Note>(&next)) return owner_.note(NoteLevel::warning, note->text);
  if (const auto* close = std::get_if<CloseSession>(&next)) return fail(close->reason);
}

}  // namespace godwit::volume
