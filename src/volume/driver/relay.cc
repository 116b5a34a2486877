#include "volume/driver/relay.h"

#include <algorithm>
#include <utility>

namespace godwit::volume {

// --- A's end ---

// So many owners in a row are asked at once; a chain that goes in circles is asked in intervals.
static constexpr int kHopsAtOnceMax = 4;

RelayClient::RelayClient(DriverContext context, LinkOwner& owner, Volume& volume, std::uint64_t& next_opening, Random random,
                         ResolveHint resolve, std::function<void()> clients_lost)
    : context_(context),
      owner_(owner),
      volume_(volume),
      next_opening_(next_opening),
      random_(random),
      resolve_(std::move(resolve)),
      clients_lost_(std::move(clients_lost)) {
  volume_.face().on_relay_wish([this] { update(); });
  volume_.face().on_moved([this] { handle_moved(); });
}

RelayClient::~RelayClient() {
  *alive_ = false;
  context_.scheduler.cancel(timer_);
  volume_.face().on_relay_wish(nullptr);
  volume_.face().on_moved(nullptr);
  volume_.face().set_relay(nullptr);
}

void RelayClient::update() {
  if (volume_.face().mode() != FaceMode::relay) {
    ++generation_;
    context_.scheduler.cancel(timer_);
    dialling_ = false;
    followed_ = nullptr;
    next_hop_.reset();
    if (!client_) return;
    // What it has not answered yet comes back as "moved" and is executed here, or fails when the connection ends.
    volume_.face().set_relay(nullptr);
    client_->on_lost([](Error) {});
    return retire();
  }
  begin_at_record();
  if (!client_ && !dialling_ && !followed_ && volume_.face().held() > 0) dial();
}

// Moving back, the record's peer is whom we dial for the data, and its chain's end may be another's: where the volume was found
// last stays the right place until we own.
void RelayClient::begin_at_record() {
  const Record& record = volume_.ownership().durable_record();
  if (client_ || record.relaying || !record.peer || !record.chain.tip()) return;
  std::pair begin(record.chain.tip()->tag, record.peer->address);
  if (begun_at_ == begin) return;
  if (begun_at_ && begun_at_->first != begin.first) answerer_.reset();  // we owned meanwhile: everything is settled
  tip_ = begin.first;
  address_ = begin.second;
  begun_at_ = std::move(begin);
}

// A request came back unexecuted: whom we ask owns no longer. Once he has answered the rest too he is asked who does.
void RelayClient::handle_moved() {
  if (!client_) return;
  volume_.face().set_relay(nullptr);
  followed_ = client_.get();
  client_->on_lost([this, alive = alive_, client = client_.get()](Error error) {
    if (*alive && followed_ == client) lost(error);
  });
  retire();
}

void RelayClient::retire() {
  retiring_.push_back(std::move(client_));
  sweep(Duration{});
}

// Leaves former owners once everything is answered.
void RelayClient::sweep(Duration after) {
  context_.scheduler.schedule(context_.scheduler.now() + after, [this, alive = alive_] {
    if (!*alive) return;
    std::erase_if(retiring_, [&](const auto& client) {
      if (client->unanswered() > 0) return false;
      if (client.get() == followed_) followed_ = nullptr;
      return true;
    });
    if (!retiring_.empty()) sweep(Duration::milliseconds(10));
    if (volume_.face().mode() == FaceMode::relay) update();
  });
}

void RelayClient::dial() {
  if (volume_.ownership().durable_record().relaying && address_.empty()) return;  // after a restart: they wait until we own
  const Result<net::Address> address = net::Address::parse(address_, 10809);
  if (!address) return give_up("its owner's export has no address that may be dialled");
  dialling_ = true;
  const std::uint64_t generation = ++generation_;
  context_.network.connect(*address, [this, alive = alive_, generation](Result<std::unique_ptr<net::Stream>> stream) {
    if (!*alive || generation != generation_) return;
    if (!stream) return retry();
    open(std::move(*stream));
  });
}

// As under --after-handover=refuse: who waits is told that the volume is not served here.
void RelayClient::give_up(const std::string& why) {
  if (std::exchange(told_, why) != why)
    owner_.note(NoteLevel::warning, "volume " + volume_.name() + " can not be relayed: " + why);
  context_.scheduler.post([this, alive = alive_] {
    if (*alive && !client_ && volume_.face().mode() == FaceMode::relay)
      volume_.face().fail_all(Error(ErrorKind::shut_down, "the volume is not served here, and can not be relayed"));
  });
}

void RelayClient::open(std::unique_ptr<net::Stream> stream) {
  const LocalHost me = owner_.local_host();
  ControlMessage message;
  message.type = ControlType::relay_open;
  message.volume = volume_.id();
  message.host = me.host;
  message.boot = me.boot;
  message.n = ++next_opening_;
  message.tip = tip_;
  exports::NbdClientOptions options;
  exports::OpeningOption opening;
  opening.option = kRelayOption;
  encode_control(message, opening.payload);
  opening.answered = [this, alive = alive_](std::uint32_t type, ConstBytes payload) -> Result<std::string> {
    if (!*alive) return fail(ErrorKind::cancelled, "the relay is gone");
    return read_answer(type, payload);
  };
  options.opening = std::move(opening);
  const std::uint64_t generation = generation_;
  next_hop_.reset();
  exports::NbdClient::open(context_.scheduler, std::move(stream), std::move(options),
                           [this, alive = alive_, generation](Result<std::unique_ptr<exports::NbdClient>> client) {
                             if (!*alive || generation != generation_) return;
                             dialling_ = false;
                             if (!client) {
                               owner_.note(NoteLevel::debug, "volume " + volume_.name() + ": relay: " + client.error().message());
                               if (std::optional<NextHop> hop = std::exchange(next_hop_, std::nullopt)) return follow(*hop);
                               if (client.error().kind() == ErrorKind::unsupported) return give_up(client.error().message());
                               return retry();
                             }
                             back_off_ = Duration::milliseconds(100);
                             hops_ = 0;
                             told_.clear();
                             client_ = std::move(*client);
                             client_->on_lost([this, alive](Error error) {
                               if (*alive) lost(error);
                             });
                             volume_.face().set_relay(client_.get());
                           });
}

Result<std::string> RelayClient::read_answer(std::uint32_t type, ConstBytes payload) {
  if (type != kRelayReplyOk && type != kRelayReplyNo)
    return fail(ErrorKind::unsupported, "the export does not know how to relay");
  const Result<DecodedControl> decoded = decode_control(payload);
  if (!decoded) return fail(Error(decoded.error()).within("the answer to RELAY-OPEN"));
  if (!decoded->message) return fail(ErrorKind::unsupported, "the export does not know how to relay");
  const ControlMessage& m = *decoded->message;
  if (type == kRelayReplyOk && m.type == ControlType::relay_ok && m.volume == volume_.id()) {
    handle_answerer(*m.host, *m.boot);
    return *m.name;
  }
  if (type == kRelayReplyNo && m.type == ControlType::relay_no) {
    handle_answerer(*m.host, *m.boot);
    if (m.volume == volume_.id()) next_hop_ = NextHop{m.tip, m.peer};
    return fail(ErrorKind::refused, "the owner refuses to be relayed to: " + name_of(*m.code));
  }
  return fail(ErrorKind::invalid, "the answer to RELAY-OPEN is another message");
}

// Another process than before: writes it acknowledged and had not flushed may be gone, and our clients must learn of it.
void RelayClient::handle_answerer(const HostId& host, Boot boot) {
  if (answerer_ && *answerer_ != std::pair(host, boot)) clients_lost_();
  answerer_ = {host, boot};
}

// One hop: we go where the volume is, and ask nobody to pass anything on. A chain that leads to ourselves, or not further yet, is
// asked again from time to time.
void RelayClient::follow(const NextHop& hop) {
  bool is_news = hop.tip && *hop.tip != tip_;
  if (hop.tip) tip_ = *hop.tip;
  const Result<net::Address> from = net::Address::parse(address_, 10809);
  if (hop.peer && hop.peer->host != owner_.local_host().host && !hop.peer->address.empty() && from) {
    std::string next = resolve_(hop.peer->address, *from);
    if (next.empty())
      return give_up("it has gone on to " + escaped(hop.peer->name) + " at " + escaped(hop.peer->address) +
                     ", a host that is not trusted here (--trust-host)");
    if (next != address_) {
      address_ = std::move(next);
      answerer_.reset();  // he has answered everything: nothing is left for him to settle
      is_news = true;
    }
  }
  if (!is_news || ++hops_ > kHopsAtOnceMax) return retry();
  back_off_ = Duration::milliseconds(100);
  update();
}

void RelayClient::retry() {
  dialling_ = true;  // the timer dials
  const Duration wait =
      back_off_ + Duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(back_off_.nanoseconds / 2 + 1)))};
  back_off_ = std::min(Duration::seconds(5), back_off_ * 2);
  context_.scheduler.cancel(timer_);
  timer_ = context_.scheduler.schedule(context_.scheduler.now() + wait, [this, alive = alive_] {
    if (!*alive) return;
    dialling_ = false;
    update();
  });
}

void RelayClient::lost(const Error& error) {
  if (!client_ && !followed_) return;
  followed_ = nullptr;  // where it was that one, it goes with the retiring
  volume_.face().set_relay(nullptr);
  const bool in_good_order = client_ && volume_.ownership().record().relaying && client_->unanswered() == 0;
  if (client_) context_.scheduler.post([client = std::move(client_)] {});
  // Moving back, the owner has given the volume to us and left: nothing is lost, requests wait for what comes.
  if (in_good_order) return retry();
  owner_.note(NoteLevel::warning, "volume " + volume_.name() + ": the relay to its owner was cut (" + error.message() +
                                      "); its clients here are disconnected");
  answerer_.reset();
  clients_lost_();
  if (volume_.face().mode() == FaceMode::relay && !dialling_) retry();
}

// --- B's end ---

template <class T>
void RelayFace::pass(Done<T> done, std::move_only_function<void(Done<T>)> execute) {
  const Record& record = volume_.ownership().record();
  if (record.state != CopyState::owned || record.chain.tip()->tag != tip_)
    return done(fail(ErrorKind::moved, "the volume has gone on"));
  if (volume_.face().mode() != FaceMode::hold) return execute(std::move(done));
  // Locked: the lock's end decides.
  held_.push_back(
      [this, done = std::move(done), execute = std::move(execute)]() mutable { pass<T>(std::move(done), std::move(execute)); });
}

void RelayFace::update() {
  std::deque<net::Task> held = std::exchange(held_, {});
  for (net::Task& task : held) task();
}

void RelayFace::read(std::uint64_t offset, MutableBytes into, Done<void> done) {
  pass<void>(std::move(done), [this, offset, into](Done<void> d) { volume_.face().read(offset, into, std::move(d)); });
}
void RelayFace::write(std::uint64_t offset, ConstBytes from, store::Durability durability, Done<void> done) {
  pass<void>(std::move(done), [=, this](Done<void> d) { volume_.face().write(offset, from, durability, std::move(d)); });
}
void RelayFace::flush(Done<void> done) {
  pass<void>(std::move(done), [this](Done<void> d) { volume_.face().flush(std::move(d)); });
}
void RelayFace::zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
                     Done<void> done) {
  pass<void>(std::move(done), [=, this](Done<void> d) { volume_.face().zero(offset, length, mode, durability, std::move(d)); });
}
void RelayFace::discard(std::uint64_t offset, std::uint64_t length, Done<void> done) {
  pass<void>(std::move(done), [=, this](Done<void> d) { volume_.face().discard(offset, length, std::move(d)); });
}
void RelayFace::extents(std::uint64_t offset, std::uint64_t length, Done<std::vector<store::Extent>> done) {
  pass<std::vector<store::Extent>>(
      std::move(done), [=, this](Done<std::vector<store::Extent>> d) { volume_.face().extents(offset, length, std::move(d)); });
}

void RelayGate::refuse(Volume* volume, RefuseCode code, Answer answer) {
  ControlMessage message;
  message.type = ControlType::relay_no;
  const LocalHost me = owner_.local_host();
  message.code = code;
  message.host = me.host;
  message.boot = me.boot;
  if (volume) {
    message.volume = volume->id();
    const Record& record = volume->ownership().durable_record();
    if (const ChainEntry* tip = record.chain.tip()) message.tip = tip->tag;
    if (record.state == CopyState::relinquished && record.peer) {
      message.peer = record.peer;
      if (!record.heard) message.peer->address.clear();  // it is not where its clients reach it
    }
  }
  Bytes payload;
  encode_control(message, payload);
  answer({kRelayReplyNo, std::move(payload)});
}

void RelayGate::handle_option(exports::ConnectionId connection, std::uint32_t, ConstBytes payload, Answer answer) {
  const Result<DecodedControl> decoded = decode_control(payload);
  if (!decoded || !decoded->message || decoded->message->type != ControlType::relay_open)
    return refuse(nullptr, RefuseCode::policy, std::move(answer));
  const ControlMessage& m = *decoded->message;
  Volume* volume = find_(m.volume);
  if (!volume) return refuse(nullptr, RefuseCode::gone, std::move(answer));
  decide(*volume, Opening{*m.host, *m.boot, *m.n, *m.tip, connection, nullptr}, std::move(answer));
}

void RelayGate::decide(Volume& volume, Opening opening, Answer answer) {
  Desk& desk = desks_[volume.id()];
  const Ownership& ownership = volume.ownership();
  const Record& record = ownership.record();
  if (ownership.is_owner() && record.chain.tip()->tag == opening.tip) {
    const auto highest = desk.highest.find(opening.relayer);
    if (highest != desk.highest.end() && std::pair(opening.boot, opening.n) <= highest->second)
      return refuse(&volume, RefuseCode::not_higher, std::move(answer));
    desk.highest[opening.relayer] = {opening.boot, opening.n};
    return fence_and_accept(volume, std::move(opening), std::move(answer));
  }
  const bool about_to_own = (record.state == CopyState::ready && record.h == opening.tip) ||
                            (record.state == CopyState::owned && record.chain.tip()->tag == opening.tip);
  if (about_to_own) {
    desk.waiting.push_back({std::move(opening), std::move(answer)});
    return;
  }
  refuse(&volume, RefuseCode::not_owner, std::move(answer));
}

// Requests that a lower opening of this relayer left in a cut connection must not run after their repetition was acknowledged.
void RelayGate::fence_and_accept(Volume& volume, Opening opening, Answer answer) {
  Desk& desk = desks_[volume.id()];
  std::vector<exports::ConnectionId> older;
  for (const Opening& o : desk.openings)
    if (o.relayer == opening.relayer) older.push_back(o.connection);
  auto accept = std::make_shared<net::Task>([this, id = volume.id(), opening, answer = std::move(answer)]() mutable {
    Volume* v = find_(id);
    if (!v || !v->ownership().is_owner() || v->ownership().record().chain.tip()->tag != opening.tip)
      return refuse(v, RefuseCode::not_owner, std::move(answer));
    Desk& d = desks_[id];
    opening.face = std::make_shared<RelayFace>(*v, opening.tip);
    d.openings.push_back(opening);
    server_->set_relay(opening.connection, opening.face.get());
    const LocalHost me = owner_.local_host();
    ControlMessage message;
    message.type = ControlType::relay_ok;
    message.volume = id;
    message.host = me.host;
    message.boot = me.boot;
    message.name = v->name();
    Bytes payload;
    encode_control(message, payload);
    answer({kRelayReplyOk, std::move(payload)});
  });
  if (older.empty()) return (*accept)();
  auto left = std::make_shared<std::size_t>(older.size());
  for (exports::ConnectionId connection : older)
    server_->drain(connection, [left, accept] {
      if (--*left == 0) (*accept)();
    });
}

void RelayGate::handle_closed(exports::ConnectionId connection) {
  for (auto& [id, desk] : desks_) {
    std::erase_if(desk.openings, [&](const Opening& o) { return o.connection == connection; });
    std::erase_if(desk.waiting, [&](const Waiting& w) { return w.opening.connection == connection; });
  }
}

void RelayGate::update(Volume& volume) {
  const auto it = desks_.find(volume.id());
  if (it == desks_.end()) return;
  Desk& desk = it->second;
  for (const Opening& opening : std::vector(desk.openings)) opening.face->update();
  for (Waiting& waiting : std::exchange(desk.waiting, {})) decide(volume, std::move(waiting.opening), std::move(waiting.answer));
}

void RelayGate::forget(Volume& volume) {
  desks_.erase(volume.id());
}

}  // namespace godwit::volume
