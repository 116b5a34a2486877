// One running host: a data directory, its volumes and connections, its exports and listeners, put together and taken apart in
// order. What a command wants of it is volume_verbs.h's; who may ask is control_socket.h's. Source: ownership.md 16.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "export/nbd_server.h"
#include "host/data_directory.h"
#include "host/volume_places.h"
#include "net/buffer_pool.h"
#include "net/event_loop.h"
#include "net/http_server.h"
#include "net/worker_pool.h"
#include "volume/driver/relay.h"
#include "volume/driver/volume_host.h"

namespace godwit::host {

inline constexpr std::uint16_t kHostPort = 5170;
inline constexpr std::uint16_t kNbdPort = 10809;

struct ProcessOptions {
  std::optional<net::Address> listen;     // for hosts; nothing: none
  bool listen_elsewhere_if_busy = false;  // then any free port, where `listen` is taken
  std::vector<net::Address> nbd;          // empty: the socket `nbd` in the data directory, which is its user's alone
  bool listen_for_nbd = true;
  std::optional<net::Address> metrics;
  bool insecure = false;  // listeners may be reached by others than this machine
  volume::HostOptions host;
  std::string blocks_folder;             // "": no block source
  std::size_t buffer_bytes = 64u << 20;  // the program's memory for data under way
  unsigned threads = 2;
  store::BlockDevices* devices = nullptr;  // null: this machine's; outlives the process
};

class VolumeProcess {
 public:
  // Binds what is to be bound; volumes are added by whoever started it. The loop outlives the process.
  static Result<std::unique_ptr<VolumeProcess>> start(net::EventLoop& loop, DataDirectory data, ProcessOptions options, Log log);
  ~VolumeProcess();
  VolumeProcess(const VolumeProcess&) = delete;
  VolumeProcess& operator=(const VolumeProcess&) = delete;

  net::EventLoop& loop() { return loop_; }
  const DataDirectory& data() const { return data_; }
  const Log& log() const { return log_; }
  const volume::LocalHost& me() const { return me_; }
  volume::VolumeHost& host() { return *host_; }
  VolumePlaces& places() { return places_; }
  const exports::NbdServer& nbd_server() const { return *server_; }
  const net::BufferPool& buffers() const { return buffers_; }
  Random random() { return random_.fork(); }

  // Where it can be reached, with the ports that were chosen.
  std::optional<net::Address> host_address() const;
  // Those that offer every volume, or, with a name, those that offer this volume alone.
  std::vector<net::Address> nbd_addresses(const std::string& volume = "") const;
  std::optional<net::Address> metrics_address() const;

  // Offers one volume, and no other, at one more NBD address, or no longer at one; open connections stay. An address of the
  // process, which offers all, is not dropped while it runs.
  Result<net::Address> add_nbd_address(const net::Address& at, const std::string& volume);
  Result<void> drop_nbd_address(const net::Address& at, const std::string& volume);
  // The volume leaves.
  void drop_nbd_addresses_of(const std::string& volume);

  // Ends in order: nobody new, clients answered, what they wrote flushed. Calls back once, also when asked twice or when a part
  // does not end in time.
  void shut_down(net::Task done);
  bool is_shutting_down() const { return shutting_down_; }

 private:
  class GateOwner;
  struct NbdAddress {
    std::unique_ptr<net::Listener> listener;
    std::string volume;  // the only one it offers; "": all
  };

  VolumeProcess(net::EventLoop& loop, DataDirectory data, ProcessOptions options, Log log);
  Result<void> open_block_source();
  Result<void> listen_for_hosts();
  Result<net::Address> listen_for_nbd(const net::Address& at, std::optional<std::string> volume);
  Result<void> check_reach(const net::Address& at) const;
  void tell_addresses();
  void note(volume::NoteLevel level, const std::string& text);

  net::EventLoop& loop_;
  DataDirectory data_;
  ProcessOptions options_;
  Log log_;
  Random random_;
  volume::LocalHost me_;
  std::unique_ptr<net::Workers> workers_;
  net::BufferPool buffers_;
  std::unique_ptr<store::BlockDevices> devices_;  // this machine's
  VolumePlaces places_;
  std::unique_ptr<store::Directory> blocks_directory_;
  std::unique_ptr<volume::BlockSource> blocks_;
  std::unique_ptr<GateOwner> gate_owner_;
  std::unique_ptr<volume::RelayGate> gate_;
  std::unique_ptr<exports::NbdServer> server_;
  std::unique_ptr<volume::VolumeHost> host_;
  std::unique_ptr<net::Listener> host_listener_;
  std::vector<NbdAddress> nbd_listeners_;
  std::unique_ptr<net::HttpServer> metrics_;
  bool shutting_down_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace godwit::host
