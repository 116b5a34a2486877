// A server's session with a client, files and a store that do what the input says: it never trips an assertion, installs nothing
// while a chunk is missing, and once it is over it says the end, once, and nothing after it.
#include <set>

#include "base/check.h"
#include "chunks/core/remote_choices_fuzz.h"
#include "chunks/core/remote_server.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

class Play {
 public:
  Play(fuzz::Choices& in, RemoteServer::Offer offer) : in_(in), server_(*RemoteServer::start(offer, limits())) {}

  void run() {
    while (in_.are_left()) {
      step();
      work();
    }
  }

 private:
  static RemoteServer::Limits limits() {
    RemoteServer::Limits limits;
    limits.look_ups = 2;
    limits.outstanding = 3;
    limits.storing = 2;
    limits.answers = {.waiting = 4, .loads = 2, .loaded_bytes = 10, .remembered = 2};
    return limits;
  }

  void step() {
    switch (in_.below(8)) {
      case 0:
      case 1:
      case 2: receive(); break;
      case 3:
      case 4: server_.is_push() ? push_step() : pull_step(); break;
      case 5: push_step(); break;
      case 6:
        if (in_.below(8) == 0) (void)server_.handle_end_of_stream();
        break;
      default:
        if (in_.below(16) == 0) server_.handle_failure(Error(ErrorKind::io, "fuzz"));
    }
  }

  void receive() {
    const wire::Message message = in_.message();
    const Result<PayloadUse> use = server_.handle_frame(message);
    if (!use || *use != PayloadUse::chunk) return;
    const ChunkId id = std::get<wire::Chunk>(message).id;
    GODWIT_CHECK(asked_.erase(id) == 1);
    storing_.push_back(id);
  }

  void pull_step() {
    if (!loading_.empty() && in_.below(2) == 1) {
      const ChunkId id = *loading_.begin();
      loading_.erase(loading_.begin());
      in_.below(3) == 0 ? server_.handle_chunk_absent(id) : server_.handle_chunk_loaded(id, 6);
    } else if (open_ && !ended_) {
      in_.below(4) == 0 ? (ended_ = true, server_.handle_file_end()) : server_.handle_piece_ready();
    }
  }

  void push_step() {
    if (!server_.is_push()) return;
    if (!storing_.empty() && in_.below(2) == 1) {
      server_.handle_stored(storing_.back());
      storing_.pop_back();
    } else if (!looking_up_.empty()) {
      const ChunkId id = *looking_up_.begin();
      looking_up_.erase(looking_up_.begin());
      server_.handle_looked_up(id, in_.below(2) == 1);
    } else if (reading_ > 0) {
      std::vector<ChunkId> ids;
      for (; reading_ > 0; --reading_) ids.push_back(in_.id());
      server_.handle_ids(ids);
    } else if (installing_) {
      installing_ = false;
      server_.handle_installed();
    } else {
      server_.handle_ids_arrived(in_.below(4));
    }
  }

  void work() {
    while (const std::optional<RemoteWork> work = server_.poll_work()) {
      GODWIT_CHECK(!said_end_);
      if (const auto* load = std::get_if<remote_work::LoadChunk>(&*work)) loading_.insert(load->id);
      if (const auto* look = std::get_if<remote_work::LookUp>(&*work)) GODWIT_CHECK(looking_up_.insert(look->id).second);
      if (const auto* read = std::get_if<remote_work::ReadIds>(&*work)) reading_ = read->count;
      if (std::holds_alternative<remote_work::OpenFile>(*work)) open_ = true;
      if (std::holds_alternative<remote_work::Install>(*work)) {
        GODWIT_CHECK(asked_.empty() && storing_.empty() && looking_up_.empty() && reading_ == 0);
        installing_ = true;
      }
      if (const auto* send = std::get_if<remote_work::Send>(&*work)) note_sent(*send);
      said_end_ = std::holds_alternative<remote_work::End>(*work);
    }
    GODWIT_CHECK(looking_up_.size() <= 2 && loading_.size() <= 2);
    GODWIT_CHECK(said_end_ == (server_.has_ended() || server_.has_failed()));
  }

  void note_sent(const remote_work::Send& send) {
    const Result<wire::Message> message = wire::decode_message(send.frame);
    GODWIT_CHECK(message.has_value());
    if (const auto* request = std::get_if<wire::Request>(&*message))
      for (const ChunkId& id : request->ids) GODWIT_CHECK(asked_.insert(id).second);
  }

  fuzz::Choices& in_;
  RemoteServer server_;
  std::set<ChunkId> loading_, looking_up_, asked_;
  std::vector<ChunkId> storing_;
  std::size_t reading_ = 0;
  bool open_ = false, ended_ = false, installing_ = false, said_end_ = false;
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
  Play play(in, kOffers[in.below(std::size(kOffers))]);
  play.run();
  return 0;
}
