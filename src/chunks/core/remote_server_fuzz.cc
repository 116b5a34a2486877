// A server's session with a client, files and a store that do what the input says: it never trips an assertion, installs nothing
// while a chunk is missing, and once it is over it says the end, once, and nothing after it.
#include "chunks/core/remote_play_fuzz.h"
#include "chunks/core/remote_server.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

class ServerPlay : fuzz::Play<RemoteServer> {
 public:
  ServerPlay(fuzz::Choices& in, RemoteServer::Offer offer) : Play(in, *RemoteServer::start(offer, limits())) {}

  void run() {
    while (in_.are_left()) {
      step();
      work([&] { return session_.poll_work(); }, [&](const RemoteWork& work) { note(work); });
      GODWIT_CHECK(looking_up_.size() <= limits().look_ups);
    }
  }

 private:
  static RemoteServer::Limits limits() {
    RemoteServer::Limits limits;
    limits.look_ups = 2;
    limits.outstanding = 3;
    limits.storing = 2;
    limits.answers = answer_limits();
    return limits;
  }

  void step() {
    switch (const std::uint32_t choice = in_.below(8)) {
      case 0:
      case 1:
      case 2: receive(); break;
      case 3:
      case 4:
      case 5: session_.is_push() ? push_step() : pull_step(); break;
      default: befall(choice - 6);
    }
  }

  void receive() {
    const wire::Message message = in_.message();
    const Result<PayloadUse> use = session_.handle_frame(message);
    if (!use || *use != PayloadUse::chunk) return;
    const ChunkId id = std::get<wire::Chunk>(message).id;
    GODWIT_CHECK(asked_.erase(id) == 1);
    storing_.push_back(id);
  }

  void pull_step() {
    if (!answer_load() && open_) offer_file();
  }

  void push_step() {
    if (!storing_.empty() && in_.below(2) == 1) {
      session_.handle_stored(storing_.back());
      storing_.pop_back();
    } else if (!looking_up_.empty()) {
      const ChunkId id = *looking_up_.begin();
      looking_up_.erase(looking_up_.begin());
      session_.handle_looked_up(id, in_.below(2) == 1);
    } else if (reading_ > 0) {
      std::vector<ChunkId> ids;
      for (; reading_ > 0; --reading_) ids.push_back(in_.id());
      session_.handle_ids(ids);
    } else if (installing_) {
      installing_ = false;
      session_.handle_installed();
    } else {
      session_.handle_ids_arrived(in_.below(4));
    }
  }

  void note(const RemoteWork& work) {
    if (const auto* look = std::get_if<remote_work::LookUp>(&work)) GODWIT_CHECK(looking_up_.insert(look->id).second);
    if (const auto* read = std::get_if<remote_work::ReadIds>(&work)) reading_ = read->count;
    if (std::holds_alternative<remote_work::OpenFile>(work)) open_ = true;
    if (std::holds_alternative<remote_work::Install>(work)) {
      GODWIT_CHECK(asked_.empty() && storing_.empty() && looking_up_.empty() && reading_ == 0);
      installing_ = true;
    }
    if (const auto* send = std::get_if<remote_work::Send>(&work)) note_sent(*send);
  }

  void note_sent(const remote_work::Send& send) {
    const Result<wire::Message> message = wire::decode_message(send.frame);
    if (const auto* request = message ? std::get_if<wire::Request>(&*message) : nullptr)
      for (const ChunkId& id : request->ids) GODWIT_CHECK(asked_.insert(id).second);
  }

  std::set<ChunkId> looking_up_, asked_;
  std::vector<ChunkId> storing_;
  std::size_t reading_ = 0;
  bool open_ = false, installing_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices in(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  constexpr RemoteServer::Offer kOffers[] = {{.store = true, .index = true},
                                             {.store = true},
                                             {.index = true},
                                             {.archive = true},
                                             {.is_push = true, .store = true, .index = true},
                                             {.is_push = true, .index = true},
                                             {.is_push = true, .archive = true}};
  ServerPlay(in, kOffers[in.below(std::size(kOffers))]).run();
  return 0;
}
