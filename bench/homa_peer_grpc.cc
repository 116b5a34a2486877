// Echo over gRPC, its generic interface: unary calls of bytes, without a schema's encoding. `bench_homa_peer_grpc SIZE
// OUTSTANDING SECONDS`.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <thread>

#include "homa_peer.h"

namespace {

using namespace godwit::bench;

class Echo final : public grpc::ServerGenericBidiReactor {
 public:
  Echo() { StartRead(&bytes_); }
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    StartWriteAndFinish(&bytes_, grpc::WriteOptions(), grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  grpc::ByteBuffer bytes_;
};

class Service final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override { return new Echo; }
};

struct Call {
  grpc::ClientContext context;
  grpc::ByteBuffer response;
  grpc::Status status;
  std::unique_ptr<grpc::GenericClientAsyncResponseReader> reader;
};

class Client {
 public:
  Client(const std::string& address, std::size_t size) : stub_(channel(address)), size_(size) {
    const std::string bytes(size, 'x');
    const grpc::Slice slice(bytes);
    request_ = grpc::ByteBuffer(&slice, 1);
  }
  void send_one() {
    auto* call = new Call;
    call->reader = stub_.PrepareUnaryCall(&call->context, "/echo/Echo", request_, &queue_);
    call->reader->StartCall();
    call->reader->Finish(&call->response, &call->status, call);
  }
  void receive_one() {
    void* tag = nullptr;
    bool ok = false;
    must(queue_.Next(&tag, &ok), "grpc");
    const std::unique_ptr<Call> call(static_cast<Call*>(tag));
    must(ok && call->status.ok() && call->response.Length() == size_, "grpc call");
  }

 private:
  static std::shared_ptr<grpc::Channel> channel(const std::string& address) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }

  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  grpc::ByteBuffer request_;
  std::size_t size_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::optional<EchoOptions> options = argc == 4 ? echo_options(argv + 1) : std::nullopt;
  if (!options) return std::fprintf(stderr, "usage: bench_homa_peer_grpc SIZE OUTSTANDING SECONDS\n"), 2;
  Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(server_address() + ":0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&service);
  std::unique_ptr<grpc::Server> server;
  std::thread([&] {  // its sockets and threads are where this one is
    enter_server_network();
    server = builder.BuildAndStart();
  })
      .join();
  must(server != nullptr && port != 0, "grpc server");
  {
    Client client(server_address() + ":" + std::to_string(port), options->size);
    client.send_one();  // connects
    client.receive_one();
    run_echo("grpc", *options, [&] { client.send_one(); }, [&] { client.receive_one(); });
  }
  server->Shutdown();
  return 0;
}
