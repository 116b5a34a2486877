// A client's session with a server and a user that do what the input says: it never trips an assertion, never asks for more than
// its limits, and once it is over it says the end, once, and nothing after it.
#include "chunks/core/remote_client.h"
#include "chunks/core/remote_play_fuzz.h"

using namespace godwit;
using namespace godwit::chunks;

namespace {

class ClientPlay : fuzz::Play<RemoteClient> {
 public:
  ClientPlay(fuzz::Choices& in, HelloFlags wants)
      : Play(in, *RemoteClient::start(wants, Instant{}, limits())), wants_chunks_((wants & hello::kPullChunks) != 0) {}

  void run() {
    while (in_.are_left()) {
      now_.nanoseconds += in_.below(3);
      step();
      work([&] { return session_.poll_work(now_); }, [](const RemoteWork&) {});
    }
  }

 private:
  static RemoteClient::Limits limits() {
    RemoteClient::Limits limits;
    limits.requests = 3;
    limits.silence = Duration{20};
    limits.answers = answer_limits();
    return limits;
  }

  void step() {
    switch (const std::uint32_t choice = in_.below(8)) {
      case 0:
      case 1:
      case 2: (void)session_.handle_frame(now_, in_.message()); break;  // errors end it, which work() sees
      case 3:
        if (!session_.is_push()) pull_step();
        break;
      case 4:
        if (session_.is_push() && !answer_load()) offer_file();
        break;
      case 5: (void)session_.handle_deadline(now_); break;
      default: befall(choice - 6);
    }
  }

  void pull_step() {
    const ChunkId id = in_.id();
    if (in_.below(8) == 0) {
      finishing_ = true;
      session_.finish();
    } else if (wants_chunks_ && !finishing_ && !session_.has_asked(id)) {
      session_.request(id, in_.below(2) == 1 ? wire::Priority::high : wire::Priority::low);
    }
  }

  const bool wants_chunks_;
  Instant now_;
  bool finishing_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Choices in(ConstBytes(reinterpret_cast<const std::byte*>(data), size));
  constexpr HelloFlags kWants[] = {0xc0, 0x40, 0x80, 0x100, 0xe00, 0x400, 0x1000};
  ClientPlay(in, kWants[in.below(std::size(kWants))]).run();
  return 0;
}
