#include "volume/driver/source_link.h"

#include <algorithm>
#include <utility>

namespace godwit::volume {

std::string schema_for(const std::string& name, const Geometry& geometry) {
  std::string text = "device \"" + name + "\" {\n";
  text += "  size      = \"" + std::to_string(geometry.size_bytes) + "\"\n";
  text += "  system    = \"file\"\n";
  text += "  blocksize = \"" + std::to_string(geometry.block_size_bytes) + "\"\n";
  text += "  location  = \"./" + name + "\"\n}\n";  // where an original puts it, below its working directory
  return text;
}

std::vector<SourceLink::Device> SourceLink::make_devices(const std::vector<Volume*>& volumes) {
  std::vector<Device> devices;
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    Device device(*volumes[i], DeviceId{static_cast<std::uint32_t>(i + 1)}, BlockEncoder(options_.forms));
    device.schema = schema_for(volumes[i]->name(), volumes[i]->geometry());
    if (options_.of_volume) device.special = options_.of_volume(*volumes[i]);
    if (device.special.base_blocks) device.base_blocks = device.special.base_blocks();
    device.encoder.set_alternates(device.special.alternates);
    devices.push_back(std::move(device));
  }
  return devices;
}

std::vector<SourceDevice> SourceLink::session_devices() const {
  std::vector<SourceDevice> devices;
  for (const Device& d : devices_) {
    SourceDevice device;
    device.id = d.id;
    device.info = DevInfo{d.volume->geometry().size_bytes, d.volume->geometry().block_size_bytes, d.volume->name(), {}};
    device.tracker = &d.volume->tracker();
    device.heat = &d.volume->heat();
    device.base_blocks = d.base_blocks;
    device.has_alternates = !d.special.alternates.empty();
    device.skips_holes = !options_.forms.hash_only;
    device.mapped = d.special.addresses != nullptr;
    devices.push_back(std::move(device));
  }
  return devices;
}

SourceLink::SourceLink(DriverContext context, LinkOwner& owner, LinkId id, std::unique_ptr<net::Stream> stream,
                       std::vector<Volume*> volumes, SourceOptions options, Random random)
    : context_(context),
      owner_(owner),
      id_(id),
      options_(std::move(options)),
      devices_(make_devices(volumes)),
      session_(options_.config, session_devices()),
      link_(context.scheduler, context.buffers, std::move(stream), *this, FrameLink::Limits{}),
      remote_(link_.stream().peer()),
      started_(context.scheduler.now()) {
  if (options_.mark) {
    const Id128<struct NonceTag> nonce = Id128<struct NonceTag>::random(random);
    mark_ = Mark{1, Nonce{nonce.hex()}};
    for (Device& d : devices_) d.schema = with_mark(std::move(d.schema), *mark_);
  }
  link_.stream().limit_unsent(options_.unsent_bytes);
}

SourceLink::~SourceLink() {
  *alive_ = false;
  context_.scheduler.cancel(timer_);
}

void SourceLink::start() {
  session_.handle_start(context_.scheduler.now());
  link_.start();
  work();
}

SourceLink::Device* SourceLink::find(DeviceId id) {
  return id.value >= 1 && id.value <= devices_.size() ? &devices_[id.value - 1] : nullptr;
}
SourceLink::Device* SourceLink::find(const Volume& volume) {
  const auto it = std::find_if(devices_.begin(), devices_.end(), [&](const Device& d) { return d.volume == &volume; });
  return it == devices_.end() ? nullptr : &*it;
}
bool SourceLink::carries(const Volume& volume) const {
  return const_cast<SourceLink*>(this)->find(volume) != nullptr;
}
bool SourceLink::is_sending(const Volume& volume) const {
  const Device* device = const_cast<SourceLink*>(this)->find(volume);
  return device && device->wanted && !link_.is_closed();
}
std::optional<DeviceId> SourceLink::device_of(const Volume& volume) const {
  const Device* device = const_cast<SourceLink*>(this)->find(volume);
  return device ? std::optional(device->id) : std::nullopt;
}

// --- frames from the destination ---

void SourceLink::handle_frame(const FrameHeader& header, ConstBytes body, net::Lease buffer) {
  (void)buffer;  // nothing a destination sends is kept beyond the call
  const Result<Packet> packet = decode_packet(body);
  if (!packet) {
    switch (malformed_action(body)) {
      case MalformedAction::ignore: return;
      case MalformedAction::answer_read_error: return send_packet(header.device, header.tx, ReadAtResponseErr{});
      case MalformedAction::answer_hash_error:
        return send_packet(header.device, header.tx, ReadByHashResponseErr{"malformed request"});
      default:
        return fail("device " + std::to_string(header.device.value) + ", transaction " + std::to_string(header.tx.value) + ": " +
                    packet.error().message());
    }
  }
  if (session_.peer() == SourceSession::PeerKind::undecided && !decide_peer(header, *packet)) return;
  const auto* event = std::get_if<Event>(&*packet);
  if (event && header.device == kControlDevice) {
    if (peer_ && event->type == EventType::custom && event->custom_type == kCustomGodwit) handle_control_frame(event->payload);
    return;
  }
  // Before an accepted PULL a godwit draws no data.
  const bool draws = std::holds_alternative<ReadAt>(*packet) || std::holds_alternative<NeedAt>(*packet) ||
                     std::holds_alternative<ReadByHash>(*packet);
  if (peer_ && draws) {
    const Device* device = find(header.device);
    if (!device || !device->wanted) return fail("a request for data before its PULL was accepted");
  }
  session_.handle_packet(context_.scheduler.now(), header, *packet);
  work();
}

// The first frame that arrives tells who is there (silo.md 13). False: the connection is over, or the frame was the reply.
bool SourceLink::decide_peer(const FrameHeader& header, const Packet& packet) {
  const auto* event = std::get_if<Event>(&packet);
  if (mark_ && event && header.device == kControlDevice && event->type == EventType::custom &&
      event->custom_type == kCustomGodwit) {
    Result<std::optional<Reply>> reply = decode_reply(event->payload);
    const bool is_ours = as_text(event->payload).find(mark_->nonce.text) != std::string_view::npos;
    if (!reply && is_ours) {
      fail(reply.error().within("the reply to our mark").message());
      return false;
    }
    if (reply && *reply && (*reply)->mark.nonce == mark_->nonce) {
      begin_with_godwit(std::move(**reply));
      return false;
    }
  }
  return begin_with_original();
}

void SourceLink::begin_with_godwit(Reply reply) {
  const LocalHost me = owner_.local_host();
  const ControlMessage& hello = reply.hello;
  if (*hello.host == me.host) return fail("the peer has our own host id: a cloned data directory, or ourselves");
  peer_ = Sender{id_, *hello.host, *hello.boot, *hello.name, hello.address.value_or("")};
  session_.handle_peer(context_.scheduler.now(), SourceSession::PeerKind::godwit);
  owner_.handle_link_up(*this);
  work();
}

bool SourceLink::begin_with_original() {
  for (const Device& d : devices_) {
    const Ownership& ownership = d.volume->ownership();
    if (ownership.is_owner() && !ownership.record().reserved && !ownership.session() && !ownership.is_busy()) continue;
    fail("an original Silo can not be served: volume " + d.volume->name() + " is not owned here, or is being moved");
    return false;
  }
  for (Device& d : devices_) {
    d.volume->ownership().set_busy(true);
    d.volume->tracker().reset();
    if (d.base_blocks) track_base(d);
    d.wanted = true;
  }
  busy_held_ = true;
  owner_.note(NoteLevel::info, "the peer at " + remote_.text() + " is an original Silo");
  session_.handle_peer(context_.scheduler.now(), SourceSession::PeerKind::original);
  return true;
}

// Only from now on writes are noticed; what was written since the blocks were announced is asked for once more.
void SourceLink::track_base(Device& device) {
  Bitset& announced = *device.base_blocks;
  for (std::uint64_t b = announced.next_set(0); b < announced.size(); b = announced.next_set(b + 1))
    device.volume->tracker().track(b, b + 1);
  Bitset written = announced;
  written.subtract(device.special.base_blocks());
  session_.handle_base_written(device.id, written);
}

void SourceLink::release_busy() {
  if (!std::exchange(busy_held_, false)) return;
  for (Device& d : devices_) d.volume->ownership().set_busy(false);
}

void SourceLink::handle_control_frame(ConstBytes payload) {
  const Result<DecodedControl> decoded = decode_control(payload);
  if (!decoded) return fail(decoded.error().within("control message").message());
  if (!decoded->message) return;
  const ControlMessage& message = *decoded->message;
  if (message.type == ControlType::pull)
    for (Device& d : devices_)
      if (d.volume->id() == message.volume) session_.handle_wanted(d.id);
  owner_.handle_control(*this, message);
  work();
}

void SourceLink::send_control(const ControlMessage& message) {
  Bytes payload;
  encode_control(message, payload);
  ++control_tx_;
  send_packet(kControlDevice, control_tx_, Event{EventType::custom, kCustomGodwit, payload});
}

void SourceLink::send_packet(DeviceId device, TxId tx, const Packet& packet) {
  Bytes frame;
  encode_frame(device, tx, packet, frame);
  link_.send(Lane::urgent, std::move(frame));
}

void SourceLink::handle_closed(std::optional<Error> error) {
  release_busy();
  const bool done = is_done();
  if (!done) unlock_group("the connection ended");
  owner_.handle_link_closed(*this, done    ? std::nullopt
                                   : error ? std::move(error)
                                           : std::optional(Error(ErrorKind::connection_lost, "the destination hung up")));
}

void SourceLink::fail(std::string reason) {
  if (link_.is_closed()) return;
  link_.close();
  handle_closed(Error(ErrorKind::invalid, std::move(reason)));
}

void SourceLink::drop(const std::string& reason) {
  fail(reason);
}

void SourceLink::end_session(Volume&, net::Task ended) {
  // Its reads change nothing; a new connection of the same host means that this one is dead.
  if (!link_.is_closed()) {
    link_.close();
    handle_closed(Error(ErrorKind::cancelled, "the session was ended"));
  }
  context_.scheduler.post(std::move(ended));
}

// --- the session's work ---

void SourceLink::work() {
  if (std::exchange(working_, true)) return;
  const std::shared_ptr<bool> alive = alive_;
  while (!link_.is_closed()) {
    std::optional<SourceWork> next = session_.poll_work(context_.scheduler.now());
    if (!next) break;
    perform(*next);
    if (!*alive) return;
  }
  working_ = false;
  arm_timer();
}

void SourceLink::perform(SourceWork& next) {
  if (const auto* move = std::get_if<MoveBlock>(&next)) return move_block(*move);
  if (const auto* zeroes = std::get_if<MoveZeroes>(&next)) return send_zeroes(*zeroes);
  if (const auto* hashes = std::get_if<SendHashes>(&next)) return send_hashes(*hashes);
  if (const auto* info = std::get_if<SendGroupInfo>(&next)) return send_group_info(info->tx);
  if (const auto* info = std::get_if<SendDevInfo>(&next)) {
    Device& device = *find(info->device);
    const Geometry geometry = device.volume->geometry();
    return send_packet(info->device, info->tx,
                       DevInfo{geometry.size_bytes, geometry.block_size_bytes, device.volume->name(), device.schema});
  }
  if (const auto* have = std::get_if<SendAlreadyHave>(&next)) return send_already_have(*have);
  if (auto* shared = std::get_if<SendSharedBase>(&next))
    return send_packet(shared->device, shared->tx,
                       AlreadyHave{find(shared->device)->volume->geometry().block_size_bytes, std::move(shared->blocks)});
  if (const auto* sources = std::get_if<SendAlternateSources>(&next)) return send_alternates(*sources);
  if (const auto* extents = std::get_if<AskExtents>(&next)) return ask_extents(*find(extents->device), *extents);
  if (auto* list = std::get_if<SendDirtyList>(&next)) {
    Device& device = *find(list->device);
    device.encoder.forget_alternates();
    return send_packet(list->device, list->tx, DirtyList{device.volume->geometry().block_size_bytes, std::move(list->blocks)});
  }
  if (auto* removed = std::get_if<SendRemoveFromMap>(&next)) return send_removed_addresses(std::move(*removed));
  if (const auto* removed = std::get_if<SendRemoveDev>(&next)) return send_packet(removed->device, removed->tx, RemoveDev{});
  if (const auto* event = std::get_if<SendEvent>(&next))
    return send_packet(event->device, event->tx, Event{event->type, kCustomResume, {}});
  if (const auto* prepare = std::get_if<SendPrepare>(&next)) {
    const Ownership& ownership = find(prepare->device)->volume->ownership();
    if (!ownership.is_locked() || !ownership.session()) return fail("the hand-over was cancelled");
    return send_control(ownership.prepare());
  }
  if (std::holds_alternative<LockGroup>(next)) return lock_group();
  if (const auto* unlock = std::get_if<UnlockGroup>(&next)) return unlock_group(unlock->reason);
  if (std::holds_alternative<RelinquishGroup>(next)) return relinquish_group();
  if (const auto* read = std::get_if<AnswerRead>(&next)) return answer_read(*read);
  if (const auto* read = std::get_if<AnswerReadByHash>(&next)) return answer_read_by_hash(*read);
  if (const auto* round = std::get_if<RoundDone>(&next)) return report_round(*round);
  if (std::holds_alternative<CopyCompleted>(next)) return copy_completed();
  if (const auto* failed = std::get_if<SessionFailed>(&next)) return fail(failed->reason);
}

// --- the hand-over ---

void SourceLink::start_sending(Volume& volume, bool shares_base) {
  Device* device = find(volume);
  if (!device || link_.is_closed()) return;
  device->wanted = true;
  volume.tracker().reset();
  std::optional<Bitset> shared;
  if (shares_base && volume.overlay() != nullptr) shared = volume.track_base();
  session_.handle_accepted(context_.scheduler.now(), device->id, shared);
  work();
}

void SourceLink::handle_peer_ready(Volume& volume) {
  if (const Device* device = find(volume)) session_.handle_peer_ready(context_.scheduler.now(), device->id);
  work();
}

void SourceLink::lock_group() {
  for (const Device& d : devices_)
    if (d.wanted && !serves_original() && !d.volume->ownership().may_lock())
      return fail("volume " + d.volume->name() + " is not given away any more");
  const std::uint64_t number = ++lock_number_;
  locked_here_ = true;
  draining_ = 0;
  for (Device& d : devices_) draining_ += d.wanted;
  for (Device& d : devices_) {
    if (!d.wanted) continue;
    d.locked_at = context_.scheduler.now();
    d.volume->ownership().lock();
    d.volume->pump();
    d.volume->face().when_drained([this, alive = alive_, number] {
      if (!*alive || number != lock_number_ || link_.is_closed() || --draining_ > 0) return;
      context_.scheduler.post([this, alive, number] {
        if (!*alive || number != lock_number_ || link_.is_closed()) return;
        session_.handle_locked(context_.scheduler.now());
        work();
      });
    });
  }
}

void SourceLink::unlock_group(const std::string& reason) {
  ++lock_number_;
  if (!std::exchange(locked_here_, false)) return;
  for (Device& d : devices_) {
    if (!d.volume->ownership().is_locked()) continue;
    d.volume->ownership().unlock();
    d.volume->pump();
  }
  if (!reason.empty()) owner_.note(NoteLevel::info, "hand-over put off: " + reason);
}

void SourceLink::relinquish_group() {
  for (const Device& d : devices_)
    if (d.wanted && !serves_original() && !d.volume->ownership().may_relinquish())
      return fail("volume " + d.volume->name() + " is not given away any more");
  relinquishing_ = true;
  locked_here_ = false;
  for (Device& d : devices_) {
    if (!d.wanted) continue;
    if (serves_original()) {
      d.volume->ownership().relinquish_to_original();
    } else {
      d.volume->ownership().relinquish();
    }
    d.volume->pump();
  }
  check_relinquished();
}

void SourceLink::check_relinquished() {
  if (!relinquishing_) return;
  for (const Device& d : devices_)
    if (d.wanted && d.volume->ownership().durable_record().state != CopyState::relinquished) return;
  relinquishing_ = false;
  context_.scheduler.post([this, alive = alive_] {
    if (!*alive || link_.is_closed()) return;
    session_.handle_relinquished(context_.scheduler.now());
    work();
  });
}

void SourceLink::handle_mode(Volume& volume) {
  if (is_sending(volume) && volume.ownership().is_failed())
    return fail("volume " + volume.name() + " is not served until this host has started anew: its record could not be written");
  if (carries(volume)) check_relinquished();
}

void SourceLink::handle_owned_heard(Volume& volume) {
  Device* device = find(volume);
  if (!device || device->handed_over) return;
  device->handed_over = true;
  device->downtime_seconds = (context_.scheduler.now() - device->locked_at).as_seconds();
}

void SourceLink::report_round(const RoundDone& round) {
  const double seconds = (context_.scheduler.now() - started_).as_seconds();
  owner_.note(
      NoteLevel::info,
      (round.round == 0 ? "first pass" : "round " + std::to_string(round.round)) + ": " + std::to_string(round.blocks_sent) +
          " blocks sent, " + std::to_string(round.blocks_dirty) + " dirty by now, " +
          std::to_string(static_cast<std::uint64_t>(static_cast<double>(link_.bytes_sent()) / 1e6 / std::max(seconds, 1e-9))) +
          " MB/s since the start");
}

std::vector<MoveReport> SourceLink::reports() const {
  std::vector<MoveReport> reports;
  const SourceSession::Progress progress = session_.progress();
  for (const Device& d : devices_) {
    if (!d.wanted) continue;
    MoveReport r;
    r.volume = d.volume->name();
    r.bytes_total = d.volume->geometry().size_bytes;
    r.bytes_left = std::min(r.bytes_total, progress.blocks_left * d.volume->geometry().block_size_bytes);
    r.bytes_on_wire = link_.bytes_sent();
    r.rounds = progress.round;
    r.seconds = (context_.scheduler.now() - started_).as_seconds();
    r.downtime_seconds = d.downtime_seconds;
    r.handed_over = d.handed_over;
    r.copied = copied_;
    reports.push_back(std::move(r));
  }
  return reports;
}

void SourceLink::arm_timer() {
  const Instant deadline = session_.next_deadline();
  if (deadline == timer_at_) return;
  context_.scheduler.cancel(timer_);
  timer_at_ = deadline;
  if (deadline == Instant::never()) return;
  timer_ = context_.scheduler.schedule(deadline, [this, alive = alive_] {
    if (!*alive || link_.is_closed()) return;
    timer_at_ = Instant::never();
    session_.handle_timeout(context_.scheduler.now());
    work();
  });
}

}  // namespace godwit::volume
