// Echo over nng: a pair of sockets over TCP, which delivers messages in order. `bench_homa_peer_nng SIZE OUTSTANDING SECONDS`.
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

#include <thread>

#include "homa_peer.h"

namespace {

using namespace godwit::bench;

void serve(nng_socket socket) {
  nng_msg* message = nullptr;
  while (nng_recvmsg(socket, &message, 0) == 0) {
    if (nng_sendmsg(socket, message, 0) == 0) continue;
    nng_msg_free(message);
    return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<EchoOptions> options = argc == 4 ? echo_options(argv + 1) : std::nullopt;
  if (!options) return std::fprintf(stderr, "usage: bench_homa_peer_nng SIZE OUTSTANDING SECONDS\n"), 2;
  nng_socket server, client;
  must(nng_pair0_open(&server) == 0 && nng_pair0_open(&client) == 0, "nng_pair0_open");
  for (const nng_socket socket : {server, client}) {
    must(nng_socket_set_int(socket, NNG_OPT_SENDBUF, 64) == 0 && nng_socket_set_int(socket, NNG_OPT_RECVBUF, 64) == 0, "buffers");
    must(nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, 0) == 0, "NNG_OPT_RECVMAXSZ");
  }
  nng_listener listener;
  must(nng_listener_create(&listener, server, "tcp://127.0.0.1:0") == 0, "nng_listener_create");
  must(nng_listener_set_bool(listener, NNG_OPT_TCP_NODELAY, true) == 0 && nng_listener_start(listener, 0) == 0, "nng_listen");
  nng_sockaddr address;
  must(nng_listener_get_addr(listener, NNG_OPT_LOCADDR, &address) == 0, "NNG_OPT_LOCADDR");
  const unsigned port = static_cast<unsigned>(address.s_in.sa_port >> 8 | (address.s_in.sa_port & 0xff) << 8);
  nng_dialer dialer;
  must(nng_dialer_create(&dialer, client, ("tcp://127.0.0.1:" + std::to_string(port)).c_str()) == 0, "nng_dialer_create");
  must(nng_dialer_set_bool(dialer, NNG_OPT_TCP_NODELAY, true) == 0 && nng_dialer_start(dialer, 0) == 0, "nng_dial");
  std::thread serving([server] { serve(server); });
  run_echo(
      "nng", *options,
      [&] {
        nng_msg* message = nullptr;
        must(nng_msg_alloc(&message, options->size) == 0 && nng_sendmsg(client, message, 0) == 0, "nng_sendmsg");
      },
      [&] {
        nng_msg* message = nullptr;
        must(nng_recvmsg(client, &message, 0) == 0 && nng_msg_len(message) == options->size, "nng_recvmsg");
        nng_msg_free(message);
      });
  nng_close(client);
  nng_close(server);
  serving.join();
  return 0;
}
