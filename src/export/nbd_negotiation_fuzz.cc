// Arbitrary bytes at both sides of the handshake. However they are split, the outcome is the same.
#include <cstdint>

#include "base/check.h"
#include "base/random.h"
#include "export/nbd_client_negotiation.h"
#include "export/nbd_negotiation.h"

namespace godwit::exports {
namespace {

constexpr std::uint32_t kAnswered = 0x47445701;

class FuzzCatalogue final : public Catalogue {
 public:
  std::optional<OfferedExport> find(const std::string& name) override {
    if (name.size() > 3) return std::nullopt;
    return OfferedExport{{1 << 20, nbd::kHasFlags}, {name.empty() ? 1U : 512U, 4096, 1 << 25}, name};
  }
  std::vector<std::pair<std::string, std::string>> list() override { return {{"", "one"}, {"a", std::string(50'000, 'x')}}; }
  bool handles(std::uint32_t option) override { return option == kAnswered; }
};

struct Outcome {
  std::size_t taken = 0;
  Bytes output;
  int state = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome serve(ConstBytes bytes, Random random, bool split) {
  FuzzCatalogue catalogue;
  Negotiation machine(catalogue, {.option_bytes_max = 5000, .options_max = 50});
  Outcome outcome;
  while (true) {
    ConstBytes rest = bytes.subspan(outcome.taken);
    std::size_t count = split ? std::min<std::size_t>(rest.size(), random.below(20)) : rest.size();
    std::size_t taken = machine.handle_bytes(rest.first(count));
    GODWIT_CHECK(taken <= count);
    outcome.taken += taken;
    Bytes output = machine.poll_output();
    append(outcome.output, output);
    if (machine.state() == Negotiation::State::asking) {
      GODWIT_CHECK(machine.asked_option() == kAnswered);
      Bytes payload = to_bytes(machine.asked_payload());
      machine.handle_answer(kAnswered, payload);
    } else if (taken == 0 && output.empty() && (count == rest.size() || machine.state() != Negotiation::State::running)) {
      break;
    }
  }
  outcome.state = static_cast<int>(machine.state());
  return outcome;
}

Outcome dial(ConstBytes bytes, Random random, bool split) {
  NbdClientOptions options{"a", OpeningOption{kAnswered, {}, [](std::uint32_t type, ConstBytes payload) -> Result<std::string> {
                                                if (type != kAnswered) return fail(ErrorKind::refused, "no");
                                                return std::string(as_text(payload));
                                              }}};
  if (!bytes.empty() && bytes[0] == std::byte{0x4e}) options.opening.reset();
  ClientNegotiation machine(std::move(options));
  Outcome outcome;
  while (machine.state() == ClientNegotiation::State::running && outcome.taken < bytes.size()) {
    ConstBytes rest = bytes.subspan(outcome.taken);
    std::size_t count = split ? std::min<std::size_t>(rest.size(), 1 + random.below(20)) : rest.size();
    std::size_t taken = machine.handle_bytes(rest.first(count));
    GODWIT_CHECK(taken <= count);
    outcome.taken += taken;
    append(outcome.output, machine.poll_output());
  }
  outcome.state = static_cast<int>(machine.state());
  return outcome;
}

}  // namespace
}  // namespace godwit::exports

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace godwit;
  ConstBytes bytes(reinterpret_cast<const std::byte*>(data), size);
  Random random(size);
  GODWIT_CHECK(exports::serve(bytes, random, false) == exports::serve(bytes, random, true));
  GODWIT_CHECK(exports::dial(bytes, random, false) == exports::dial(bytes, random, true));
  return 0;
}
