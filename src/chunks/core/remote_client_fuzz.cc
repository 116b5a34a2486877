// A client's session with a server and a user that do what the input says: it never trips an assertion, never asks for more than
// its limits, and once it is over it says the end, once, and nothing after it.
#include <set>

#include "base/check.h"
#include "chunks/core/remote_choices_fuzz.h"
#include "chunks/core/remote_client.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

class Play {
 public:
  Play(fuzz::Choices& in, HelloFlags wants) : in_(in), client_(*RemoteClient::start(wants, Instant{}, limits())) {}

  void run() {
    while (in_.are_left()) {
      now_.nanoseconds += in_.below(3);
      step();
      work();
    }
  }

 private:
  static RemoteClient::Limits limits() {
    RemoteClient::Limits limits;
    limits.requests = 3;
    limits.silence = Duration{20};
    limits.answers = {.waiting = 4, .loads = 2, .loaded_bytes = 10, .remembered = 2};
    return limits;
  }

  void step() {
    switch (in_.below(8)) {
      case 0:
      case 1:
      case 2: (void)client_.handle_frame(now_, in_.message()); break;  // errors end it, which work() sees
      case 3: pull_step(); break;
      case 4: push_step(); break;
      case 5:
        if (in_.below(8) == 0) (void)client_.handle_end_of_stream();
        break;
      case 6: (void)client_.handle_deadline(now_); break;
      default:
        if (in_.below(16) == 0) client_.handle_failure(Error(ErrorKind::io, "fuzz"));
    }
  }

  void pull_step() {
    if ((client_.is_push())) return;
    const ChunkId id = in_.id();
    if (in_.below(8) == 0) {
      finishing_ = true;
      client_.finish();
    } else if (wants_chunks_ && !finishing_ && !client_.has_asked(id)) {
      client_.request(id, in_.below(2) == 1 ? wire::Priority::high : wire::Priority::low);
    }
  }

  void push_step() {
    if (!client_.is_push()) return;
    if (!loading_.empty() && in_.below(2) == 1) {
      const ChunkId id = *loading_.begin();
      loading_.erase(loading_.begin());
      in_.below(3) == 0 ? client_.handle_chunk_absent(id) : client_.handle_chunk_loaded(id, 6);
    } else if (!ended_ && in_.below(4) == 0) {
      ended_ = true;
      client_.handle_file_end();
    } else if (!ended_) {
      client_.handle_piece_ready();
    }
  }

  void work() {
    while (const std::optional<RemoteWork> work = client_.poll_work(now_)) {
      GODWIT_CHECK(!said_end_);
      if (const auto* load = std::get_if<remote_work::LoadChunk>(&*work)) {
        loading_.insert(load->id);
        GODWIT_CHECK(loading_.size() <= 2);
      }
      if (const auto* send = std::get_if<remote_work::Send>(&*work)) GODWIT_CHECK(wire::decode_message(send->frame).has_value());
      said_end_ = std::holds_alternative<remote_work::End>(*work);
    }
    GODWIT_CHECK(said_end_ == (client_.has_ended() || client_.has_failed()));
  }

  fuzz::Choices& in_;
  RemoteClient client_;
  Instant now_;
  std::set<ChunkId> loading_;
  bool finishing_ = false, ended_ = false, said_end_ = false;

 public:
  bool wants_chunks_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices in(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  constexpr HelloFlags kWants[] = {0xc0, 0x40, 0x80, 0x100, 0xe00, 0x400, 0x1000};
  const HelloFlags wants = kWants[in.below(std::size(kWants))];
  Play play(in, wants);
  play.wants_chunks_ = (wants & hello::kPullChunks) != 0;
  play.run();
  return 0;
}
