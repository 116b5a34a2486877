// Echo over ENet's reliable packets on UDP. `bench_homa_peer_enet SIZE OUTSTANDING SECONDS`.
#include <enet/enet.h>

#include <atomic>
#include <thread>

#include "homa_peer.h"

namespace {

using namespace godwit::bench;

void serve(ENetHost* host, const std::atomic<bool>& stopping) {
  ENetEvent event;
  while (!stopping) {
    if (enet_host_service(host, &event, 100) <= 0 || event.type != ENET_EVENT_TYPE_RECEIVE) continue;
    // The packet itself goes back.
    event.packet->flags = ENET_PACKET_FLAG_RELIABLE;
    must(enet_peer_send(event.peer, 0, event.packet) == 0, "enet_peer_send");
    enet_host_flush(host);
  }
}

void wait_for(ENetHost* host, ENetEventType type, std::size_t size) {
  ENetEvent event;
  while (true) {
    must(enet_host_service(host, &event, 10'000) > 0, "enet_host_service");
    if (event.type == ENET_EVENT_TYPE_RECEIVE) {
      must(event.packet->dataLength == size, "size");
      enet_packet_destroy(event.packet);
    }
    if (event.type == type) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<EchoOptions> options = argc == 4 ? echo_options(argv + 1) : std::nullopt;
  if (!options) return std::fprintf(stderr, "usage: bench_homa_peer_enet SIZE OUTSTANDING SECONDS\n"), 2;
  must(enet_initialize() == 0, "enet_initialize");
  ENetAddress address{};
  must(enet_address_set_host_ip(&address, "127.0.0.1") == 0, "address");
  ENetHost* server = enet_host_create(&address, 1, 1, 0, 0);
  ENetHost* client = enet_host_create(nullptr, 1, 1, 0, 0);
  must(server != nullptr && client != nullptr, "enet_host_create");
  must(enet_socket_get_address(server->socket, &address) == 0, "enet_socket_get_address");
  must(enet_address_set_host_ip(&address, "127.0.0.1") == 0, "address");
  std::atomic<bool> stopping = false;
  std::thread serving([&] { serve(server, stopping); });
  ENetPeer* peer = enet_host_connect(client, &address, 1, 0);
  must(peer != nullptr, "enet_host_connect");
  wait_for(client, ENET_EVENT_TYPE_CONNECT, 0);
  const std::vector<char> bytes(options->size);
  run_echo(
      "enet", *options,
      [&] {
        ENetPacket* packet = enet_packet_create(bytes.data(), bytes.size(), ENET_PACKET_FLAG_RELIABLE);
        must(packet != nullptr && enet_peer_send(peer, 0, packet) == 0, "enet_peer_send");
        enet_host_flush(client);
      },
      [&] { wait_for(client, ENET_EVENT_TYPE_RECEIVE, options->size); });
  stopping = true;
  serving.join();
  enet_host_destroy(client);
  enet_host_destroy(server);
  enet_deinitialize();
  return 0;
}
