#include "host/volume_process.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "host/volume_metrics.h"
#include "store/real_block_devices.h"
#include "store/real_directory.h"

namespace godwit::host {

namespace {

// How long an orderly end may take before the process ends anyway: a client that does not read its answers must not keep it.
constexpr Duration kPatience = Duration::seconds(10);

std::uint64_t random_seed() {
  std::uint64_t seed = 0;
  GODWIT_CHECK(::getrandom(&seed, sizeof seed, 0) == static_cast<ssize_t>(sizeof seed));  // never short, at this size
  return seed;
}

std::string machine_name() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "unnamed";
  return name;
}

}  // namespace

// The gate stands before the server, the server before the host: what the gate asks of the host goes through here.
class VolumeProcess::GateOwner final : public volume::LinkOwner {
 public:
  explicit GateOwner(VolumeProcess& process) : process_(process) {}
  volume::LocalHost local_host() const override { return process_.host_->local_host(); }
  void handle_link_up(volume::ControlLink& link) override { process_.host_->handle_link_up(link); }
  void handle_control(volume::ControlLink& link, const volume::ControlMessage& message) override {
    process_.host_->handle_control(link, message);
  }
  void handle_link_closed(volume::ControlLink& link, std::optional<Error> error) override {
    process_.host_->handle_link_closed(link, std::move(error));
  }
  void note(volume::NoteLevel level, std::string text) override { process_.note(level, text); }

 private:
  VolumeProcess& process_;
};

VolumeProcess::VolumeProcess(net::EventLoop& loop, DataDirectory data, ProcessOptions options, Log log)
    : loop_(loop),
      data_(std::move(data)),
      options_(std::move(options)),
      log_(std::move(log)),
      random_(random_seed()),
      workers_(net::make_workers(loop, options_.threads)),
      buffers_(options_.buffer_bytes),
      devices_(store::make_block_devices(loop, *workers_)),
      places_(loop, *workers_, options_.devices ? *options_.devices : *devices_, data_.volumes_folder()) {
  me_.host = data_.host().id;
  me_.boot = data_.host().boot;
  me_.name = machine_name();
}

Result<std::unique_ptr<VolumeProcess>> VolumeProcess::start(net::EventLoop& loop, DataDirectory data, ProcessOptions options,
                                                            Log log) {
  std::unique_ptr<VolumeProcess> process(new VolumeProcess(loop, std::move(data), std::move(options), std::move(log)));
  VolumeProcess& p = *process;
  if (Result<void> opened = p.open_block_source(); !opened) return fail(std::move(opened).error());
  p.gate_owner_ = std::make_unique<GateOwner>(p);
  p.gate_ = std::make_unique<volume::RelayGate>(*p.gate_owner_, [&p](const volume::VolumeId& id) { return p.host_->find(id); });
  p.server_ = std::make_unique<exports::NbdServer>(loop, p.buffers_, exports::NbdLimits{}, p.gate_.get());
  p.gate_->set_server(p.server_.get());
  p.host_ =
      std::make_unique<volume::VolumeHost>(volume::DriverContext{loop, loop, *p.workers_, p.buffers_}, p.me_, p.options_.host,
                                           p.places_, p.server_.get(), p.gate_.get(), p.blocks_.get(), p.random_.fork(),
                                           [&p](volume::NoteLevel level, const std::string& text) { p.note(level, text); });

  if (Result<void> listening = p.listen_for_hosts(); !listening) return fail(std::move(listening).error());
  if (p.options_.listen_for_nbd && p.options_.nbd.empty()) p.options_.nbd.push_back(net::Address{"", 0, p.data_.nbd_socket()});
  for (const net::Address& at : p.options_.nbd)
    if (Result<net::Address> added = p.listen_for_nbd(at, std::nullopt); !added) return fail(std::move(added).error());
  if (p.options_.metrics) {
    if (Result<void> near = p.check_reach(*p.options_.metrics); !near) return fail(std::move(near).error());
    Result<std::unique_ptr<net::HttpServer>> metrics = net::HttpServer::listen(loop, loop, *p.options_.metrics, make_metrics(p));
    if (!metrics) return fail(std::move(metrics).error().within("listen for metrics"));
    p.metrics_ = std::move(*metrics);
  }
  p.tell_addresses();
  return process;
}

// The server borrows the volumes: it goes before them.
VolumeProcess::~VolumeProcess() {
  *alive_ = false;
  metrics_.reset();
  nbd_listeners_.clear();
  host_listener_.reset();
  server_.reset();
  host_.reset();
}

Result<void> VolumeProcess::open_block_source() {
  if (options_.blocks_folder.empty()) return {};
  Result<std::unique_ptr<store::Directory>> directory = store::make_directory(options_.blocks_folder, *workers_, loop_);
  if (!directory) return fail(std::move(directory).error().within("the folder of blocks"));
  blocks_directory_ = std::move(*directory);
  blocks_ = std::make_unique<volume::DirectoryBlockSource>(*blocks_directory_);
  return {};
}

// --- addresses ---

Result<void> VolumeProcess::check_reach(const net::Address& at) const {
  if (options_.insecure || at.is_loopback()) return {};
  return fail(ErrorKind::usage,
              fmt::format("listening on {} would offer volumes to the network without encryption and to anybody: "
                          "choose a loopback address or a Unix socket, or say --insecure if that is meant",
                          at.text()));
}

Result<void> VolumeProcess::listen_for_hosts() {
  if (!options_.listen) return {};
  if (Result<void> near = check_reach(*options_.listen); !near) return near;
  const auto accept = [this](std::unique_ptr<net::Stream> stream) { host_->accept(std::move(stream)); };
  Result<std::unique_ptr<net::Listener>> listener = loop_.listen(*options_.listen, accept);
  if (!listener && options_.listen_elsewhere_if_busy) {
    log_.info("the usual port is taken: another one is chosen", {{"address", options_.listen->text()}});
    net::Address elsewhere = *options_.listen;
    elsewhere.port = 0;
    listener = loop_.listen(elsewhere, accept);
  }
  if (!listener)
    return fail(
        std::move(listener).error().within("listen for hosts on " + options_.listen->text() + " (choose another by --listen)"));
  host_listener_ = std::move(*listener);
  return {};
}

Result<net::Address> VolumeProcess::listen_for_nbd(const net::Address& at, std::optional<std::string> volume) {
  if (Result<void> near = check_reach(at); !near) return fail(std::move(near).error());
  Result<std::unique_ptr<net::Listener>> listener =
      loop_.listen(at, [this, volume](std::unique_ptr<net::Stream> stream) { server_->accept(std::move(stream), volume); });
  if (!listener) return fail(std::move(listener).error().within("listen for NBD clients on " + at.text()));
  nbd_listeners_.push_back({std::move(*listener), volume.value_or("")});
  tell_addresses();
  return nbd_listeners_.back().listener->address();
}

Result<net::Address> VolumeProcess::add_nbd_address(const net::Address& at, const std::string& volume) {
  return listen_for_nbd(at, volume);
}

Result<void> VolumeProcess::drop_nbd_address(const net::Address& at, const std::string& volume) {
  const auto found = std::ranges::find_if(nbd_listeners_, [&](const NbdAddress& a) { return a.listener->address() == at; });
  if (found == nbd_listeners_.end() || (!found->volume.empty() && found->volume != volume))
    return fail(ErrorKind::not_found, fmt::format("volume {} is not offered at {}", volume, at.text()));
  if (found->volume.empty())
    return fail(ErrorKind::refused, fmt::format("{} is an address of the process and offers all its volumes: it stays while the "
                                                "process runs; start it with another --nbd",
                                                at.text()));
  nbd_listeners_.erase(found);
  tell_addresses();
  return {};
}

void VolumeProcess::drop_nbd_addresses_of(const std::string& volume) {
  std::erase_if(nbd_listeners_, [&](const NbdAddress& a) { return a.volume == volume; });
  tell_addresses();
}

// Others are told one address of each sort, for a volume with addresses of its own perhaps one of those; one that reaches beyond
// this machine is the more useful.
void VolumeProcess::tell_addresses() {
  const auto most_useful = [&](const std::string& volume) {
    const auto usefulness = [](const net::Address& a) { return a.is_unix() ? 0 : a.is_loopback() ? 1 : 2; };
    std::string text;
    int best = -1;
    for (const NbdAddress& a : nbd_listeners_) {
      if (!a.volume.empty() && a.volume != volume) continue;
      const net::Address at = a.listener->address();
      if (usefulness(at) > best) best = usefulness(at), text = at.text();
    }
    return text;
  };
  me_.address = host_listener_ ? host_listener_->address().text() : "";
  me_.export_address = most_useful("");
  host_->set_addresses(me_.address, me_.export_address);
  for (volume::Volume* v : host_->volumes()) v->ownership().set_export_address(most_useful(v->name()));
}

std::optional<net::Address> VolumeProcess::host_address() const {
  return host_listener_ ? std::optional(host_listener_->address()) : std::nullopt;
}
std::vector<net::Address> VolumeProcess::nbd_addresses(const std::string& volume) const {
  std::vector<net::Address> all;
  for (const NbdAddress& a : nbd_listeners_)
    if (a.volume == volume) all.push_back(a.listener->address());
  return all;
}
std::optional<net::Address> VolumeProcess::metrics_address() const {
  return metrics_ ? std::optional(metrics_->address()) : std::nullopt;
}

// --- the end ---

void VolumeProcess::shut_down(net::Task done) {
  if (std::exchange(shutting_down_, true)) return;
  host_listener_.reset();
  nbd_listeners_.clear();
  metrics_.reset();
  struct Ending {
    net::Task done;
    std::size_t parts = 2;
    net::TimerId timer;
  };
  auto ending = std::make_shared<Ending>();
  ending->done = std::move(done);
  const auto finish = [this, ending] {
    if (!ending->done) return;
    loop_.cancel(ending->timer);
    std::exchange(ending->done, nullptr)();
  };
  ending->timer = loop_.schedule(loop_.now() + kPatience, [this, finish] {
    log_.warn("not everything has ended in time: ending anyway");
    finish();
  });
  const auto part_ended = [ending, finish] {
    if (--ending->parts == 0) finish();
  };
  // Requests that wait for blocks or for ownership would keep their clients, and those the server.
  for (volume::Volume* volume : host_->volumes()) volume->face().fail_all(Error(ErrorKind::shut_down, "this host shuts down"));
  server_->shut_down(part_ended);
  host_->shut_down(part_ended);
}

void VolumeProcess::note(volume::NoteLevel level, const std::string& text) {
  if (shutting_down_) return log_.debug(text);  // connections that end now end on purpose
  switch (level) {
    case volume::NoteLevel::warning: return log_.warn(text);
    case volume::NoteLevel::info: return log_.info(text);
    case volume::NoteLevel::debug: return log_.debug(text);
  }
}

}  // namespace godwit::host
