#include "export/nbd_server.h"

#include <bit>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "export/nbd_connection.h"

namespace godwit::exports {

// The tables: which exports there are, which connections, and who waits until which of them are gone.
class NbdServer::Impl final : public ConnectionHost {
 public:
  Impl(net::Scheduler& scheduler, net::BufferPool& buffers, NbdLimits limits, OptionHandler* options)
      : scheduler_(scheduler), buffers_(buffers), limits_(limits), options_(options) {}
  ~Impl() override;

  Result<void> add(ExportOptions options, store::BlockDevice& device);
  void remove(const std::string& name, net::Task done);
  void accept(std::unique_ptr<net::Stream> stream, std::optional<std::string> only, const std::string* agreed = nullptr);
  void set_relay(ConnectionId id, store::BlockDevice* device);
  void drain(ConnectionId id, net::Task done) { drain(std::vector{id}, std::move(done)); }
  void close_clients(const std::string& name);
  void shut_down(net::Task done);
  Counters& counters() override { return counters_; }
  std::vector<ConnectionId> connections_to(const std::string& name) const;

 private:
  // Somebody who waits until some connections are gone.
  struct Waiter {
    std::size_t missing = 0;
    net::Task done;
  };
  struct Entry {
    std::shared_ptr<NbdConnection> connection;
    bool asked = false;  // the option handler knows it
    std::vector<std::shared_ptr<Waiter>> waiters;
  };

  std::shared_ptr<const Export> find_export(const std::string& name) override;
  std::vector<std::pair<std::string, std::string>> list_exports() override;
  bool handles_option(std::uint32_t option) override { return options_ != nullptr && options_->handles(option); }
  void ask_option(ConnectionId id, std::uint32_t option, ConstBytes payload,
                  std::move_only_function<void(OptionReply)> answer) override;
  void connection_gone(ConnectionId id) override;
  void drain(const std::vector<ConnectionId>& ids, net::Task done);

  net::Scheduler& scheduler_;
  net::BufferPool& buffers_;
  const NbdLimits limits_;
  OptionHandler* options_;
  std::map<std::string, std::shared_ptr<const Export>> exports_;
  std::map<ConnectionId, Entry> connections_;
  ConnectionId next_id_{1};
  bool shut_down_ = false;
  Counters counters_;
};

NbdServer::Impl::~Impl() {
  for (auto& [id, entry] : connections_) entry.connection->abandon();
  for (auto& [id, entry] : std::exchange(connections_, {}))
    if (entry.asked) options_->handle_closed(id);
}

Result<void> NbdServer::Impl::add(ExportOptions options, store::BlockDevice& device) {
  const std::string shown = escaped(options.name);
  if (options.name.size() > nbd::kStringBytesMax) return fail(ErrorKind::invalid, "an export's name has at most 4096 bytes");
  if (exports_.contains(options.name)) return fail(ErrorKind::exists, fmt::format("export \"{}\"", shown));
  const std::uint32_t min = options.block_size_min;
  const std::uint32_t preferred = options.block_size_preferred;
  // The protocol's own rules for the three sizes.
  if (!std::has_single_bit(min) || min > nbd::kBlockSizeMinMax || !std::has_single_bit(preferred) || preferred < 512 ||
      preferred < min || options.block_size_max < preferred || options.block_size_max % min != 0)
    return fail(ErrorKind::invalid,
                fmt::format("export \"{}\": block sizes {}, {}, {}", shown, min, preferred, options.block_size_max));
  if (device.size() % min != 0)
    return fail(ErrorKind::invalid, fmt::format("export \"{}\": {} bytes are no multiple of {}", shown, device.size(), min));
  std::string name = options.name;
  exports_.emplace(std::move(name), std::make_shared<Export>(Export{std::move(options), &device}));
  return {};
}

void NbdServer::Impl::remove(const std::string& name, net::Task done) {
  std::vector<ConnectionId> ids = connections_to(name);
  exports_.erase(name);
  drain(ids, std::move(done));
}

void NbdServer::Impl::accept(std::unique_ptr<net::Stream> stream, std::optional<std::string> only, const std::string* agreed) {
  if (shut_down_ || connections_.size() >= limits_.connections_max) return stream->close();
  if (agreed != nullptr && !exports_.contains(*agreed)) return stream->close();
  ++counters_.connections;
  ConnectionId id{next_id_.value++};
  auto connection = std::make_shared<NbdConnection>(id, *this, scheduler_, buffers_, limits_, std::move(stream), std::move(only));
  connections_[id].connection = connection;
  if (agreed != nullptr)
    connection->start_agreed(*agreed);
  else
    connection->start();
}

void NbdServer::Impl::set_relay(ConnectionId id, store::BlockDevice* device) {
  if (auto found = connections_.find(id); found != connections_.end()) found->second.connection->set_relay(device);
}

void NbdServer::Impl::drain(const std::vector<ConnectionId>& ids, net::Task done) {
  auto waiter = std::make_shared<Waiter>();
  waiter->done = std::move(done);
  std::vector<std::shared_ptr<NbdConnection>> draining;
  for (ConnectionId id : ids) {
    auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    ++waiter->missing;
    found->second.waiters.push_back(waiter);
    draining.push_back(found->second.connection);
  }
  if (draining.empty()) return scheduler_.post(std::move(waiter->done));
  for (const auto& connection : draining) connection->drain();
}

void NbdServer::Impl::close_clients(const std::string& name) {
  for (ConnectionId id : connections_to(name)) {
    std::shared_ptr<NbdConnection> connection = connections_.at(id).connection;
    if (!connection->is_relay()) connection->close_now();
  }
}

void NbdServer::Impl::shut_down(net::Task done) {
  shut_down_ = true;
  std::vector<ConnectionId> ids;
  for (const auto& [id, entry] : connections_) ids.push_back(id);
  drain(ids, std::move(done));
}

std::vector<ConnectionId> NbdServer::Impl::connections_to(const std::string& name) const {
  std::vector<ConnectionId> ids;
  for (const auto& [id, entry] : connections_)
    if (const Export* opened = entry.connection->opened(); opened != nullptr && opened->options.name == name) ids.push_back(id);
  return ids;
}

std::shared_ptr<const Export> NbdServer::Impl::find_export(const std::string& name) {
  auto found = exports_.find(name);
  return found == exports_.end() ? nullptr : found->second;
}

std::vector<std::pair<std::string, std::string>> NbdServer::Impl::list_exports() {
  std::vector<std::pair<std::string, std::string>> listed;
  for (const auto& [name, exported] : exports_)
    listed.emplace_back(name, exported->options.description ? exported->options.description() : std::string());
  return listed;
}

void NbdServer::Impl::ask_option(ConnectionId id, std::uint32_t option, ConstBytes payload,
                                 std::move_only_function<void(OptionReply)> answer) {
  connections_.at(id).asked = true;
  options_->handle_option(id, option, payload, std::move(answer));
}

// Called from inside the connection, which must outlive that call; its users are told in a turn of their own.
void NbdServer::Impl::connection_gone(ConnectionId id) {
  auto node = connections_.extract(id);
  Entry& entry = node.mapped();
  for (const auto& waiter : entry.waiters)
    if (--waiter->missing == 0) scheduler_.post(std::move(waiter->done));
  if (entry.asked) options_->handle_closed(id);
  scheduler_.post([connection = std::move(entry.connection)] {});
}

NbdServer::NbdServer(net::Scheduler& scheduler, net::BufferPool& buffers, NbdLimits limits, OptionHandler* options)
    : impl_(std::make_unique<Impl>(scheduler, buffers, limits, options)) {}
NbdServer::~NbdServer() = default;

Result<void> NbdServer::add(ExportOptions options, store::BlockDevice& device) {
  return impl_->add(std::move(options), device);
}
void NbdServer::remove(const std::string& name, net::Task done) {
  impl_->remove(name, std::move(done));
}
void NbdServer::accept(std::unique_ptr<net::Stream> stream, std::optional<std::string> only) {
  impl_->accept(std::move(stream), std::move(only));
}
void NbdServer::accept_agreed(std::unique_ptr<net::Stream> stream, const std::string& name) {
  impl_->accept(std::move(stream), std::nullopt, &name);
}
void NbdServer::set_relay(ConnectionId connection, store::BlockDevice* device) {
  impl_->set_relay(connection, device);
}
void NbdServer::drain(ConnectionId connection, net::Task done) {
  impl_->drain(connection, std::move(done));
}
void NbdServer::close_clients(const std::string& name) {
  impl_->close_clients(name);
}
NbdServer::Counters NbdServer::counters() const {
  return impl_->counters();
}
std::size_t NbdServer::open_connections(const std::string& name) const {
  return impl_->connections_to(name).size();
}
void NbdServer::shut_down(net::Task done) {
  impl_->shut_down(std::move(done));
}

}  // namespace godwit::exports
