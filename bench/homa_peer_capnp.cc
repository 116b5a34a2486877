// Echo over Cap'n Proto's RPC on TCP. `bench_homa_peer_capnp SIZE OUTSTANDING SECONDS`.
#include <capnp/ez-rpc.h>
#include <capnp/message.h>

#include <future>
#include <thread>

#include "homa_peer.h"
#include "homa_peer_capnp.capnp.h"

namespace {

using namespace godwit::bench;

class EchoServer final : public Echo::Server {
 protected:
  kj::Promise<void> echo(EchoContext context) override {
    context.getResults().setData(context.getParams().getData());
    return kj::READY_NOW;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::optional<EchoOptions> options = argc == 4 ? echo_options(argv + 1) : std::nullopt;
  if (!options) return std::fprintf(stderr, "usage: bench_homa_peer_capnp SIZE OUTSTANDING SECONDS\n"), 2;
  std::promise<unsigned> port;
  std::promise<const kj::Executor*> executor;
  kj::Own<kj::PromiseFulfiller<void>> stop;
  std::thread serving([&] {
    capnp::EzRpcServer server(kj::heap<EchoServer>(), "127.0.0.1", 0);
    auto& scope = server.getWaitScope();
    auto stopped = kj::newPromiseAndFulfiller<void>();
    stop = kj::mv(stopped.fulfiller);
    executor.set_value(&kj::getCurrentThreadExecutor());
    port.set_value(server.getPort().wait(scope));
    stopped.promise.wait(scope);
  });
  const kj::Executor* there = executor.get_future().get();
  {
    capnp::EzRpcClient client("127.0.0.1", port.get_future().get());
    auto& scope = client.getWaitScope();
    Echo::Client echo = client.getMain<Echo>();
    const std::vector<kj::byte> bytes(options->size);
    std::deque<capnp::RemotePromise<Echo::EchoResults>> waiting;
    run_echo(
        "capnp", *options,
        [&] {
          auto request = echo.echoRequest();
          request.setData(kj::arrayPtr(bytes.data(), bytes.size()));
          waiting.push_back(request.send());
        },
        [&] {
          auto response = waiting.front().wait(scope);
          waiting.pop_front();
          must(response.getData().size() == options->size, "capnp call");
        });
  }
  there->executeSync([&] { stop->fulfill(); });
  serving.join();
  return 0;
}
