#include "host/volume_metrics.h"

#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include "host/volume_process.h"
#include "net/metrics_endpoint.h"

namespace godwit::host {

namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

class Families {
 public:
  using Label = std::pair<const char*, std::string>;
  void add(MetricType type, const char* name, const char* help, double value, std::initializer_list<Label> labels = {}) {
    if (families_.empty() || families_.back().name != name) {
      MetricFamily family;
      family.name = name;
      family.help = help;
      family.type = type;
      families_.push_back(std::move(family));
    }
    prometheus::ClientMetric metric;
    for (const auto& [key, text] : labels) metric.label.push_back({key, text});
    if (type == MetricType::Counter) metric.counter.value = value;
    if (type == MetricType::Gauge) metric.gauge.value = value;
    families_.back().metric.push_back(std::move(metric));
  }
  void counter(const char* name, const char* help, std::uint64_t value) {
    add(MetricType::Counter, name, help, static_cast<double>(value));
  }
  void gauge(const char* name, const char* help, std::uint64_t value) {
    add(MetricType::Gauge, name, help, static_cast<double>(value));
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

class HostMetrics final : public prometheus::Collectable {
 public:
  explicit HostMetrics(VolumeProcess& process) : process_(process) {}

  std::vector<MetricFamily> Collect() const override {
    Families out;
    add_volumes(out);
    add_moves(out);
    const exports::NbdServer::Counters nbd = process_.nbd_server().counters();
    out.counter("godwit_nbd_connections_total", "NBD connections accepted", nbd.connections);
    out.counter("godwit_nbd_requests_total", "NBD requests", nbd.requests);
    out.counter("godwit_nbd_errors_total", "NBD requests answered with an error", nbd.errors);
    out.counter("godwit_nbd_read_bytes_total", "Bytes read by NBD clients", nbd.bytes_read);
    out.counter("godwit_nbd_written_bytes_total", "Bytes written by NBD clients", nbd.bytes_written);
    out.gauge("godwit_links", "Connections with other hosts", process_.host().links());
    out.gauge("godwit_buffer_leased_bytes", "Bytes of the buffer pool in use", process_.buffers().leased_bytes());
    out.gauge("godwit_buffer_budget_bytes", "Bytes the buffer pool may use", process_.buffers().budget_bytes());
    out.gauge("godwit_volume_forks", "Histories of other hosts' copies that fork from the one here, met since the start",
              process_.host().forks_seen());
    out.gauge("godwit_boot", "How often a process of this host has started", process_.me().boot.value);
    return out.take();
  }

 private:
  void add_volumes(Families& out) const {
    const std::vector<volume::Volume*> volumes = process_.host().volumes();
    std::uint64_t owned = 0;
    for (const volume::Volume* v : volumes) owned += v->ownership().is_owner();
    out.gauge("godwit_volumes", "Volumes of this host", volumes.size());
    out.gauge("godwit_volumes_owned", "Volumes that this host owns", owned);
    for (const volume::Volume* v : volumes)
      out.add(MetricType::Gauge, "godwit_volume_size_bytes", "A volume's size", static_cast<double>(v->geometry().size_bytes),
              {{"volume", v->name()}});
    for (const volume::Volume* v : volumes)
      out.add(MetricType::Gauge, "godwit_volume_state", "1, with the state of this host's copy as a label", 1,
              {{"volume", v->name()}, {"state", volume::name_of(v->ownership().durable_record().state)}});
  }

  void add_moves(Families& out) const {
    const std::vector<volume::MoveReport> moves = process_.host().moves();
    const auto add = [&](const char* name, const char* help, auto value) {
      for (const volume::MoveReport& move : moves)
        out.add(MetricType::Gauge, name, help, static_cast<double>(value(move)), {{"volume", move.volume}});
    };
    add("godwit_move_wire_bytes", "Bytes sent by the volume's newest move", [](const auto& m) { return m.bytes_on_wire; });
    add("godwit_move_left_bytes", "Bytes the volume's newest move has still to send", [](const auto& m) { return m.bytes_left; });
    add("godwit_move_rounds", "Dirty rounds of the volume's newest move", [](const auto& m) { return m.rounds; });
    add("godwit_move_downtime_seconds", "From the lock until the other host owned",
        [](const auto& m) { return m.downtime_seconds; });
  }

  VolumeProcess& process_;
};

}  // namespace

net::HttpHandler make_metrics(VolumeProcess& process) {
  return net::metrics_handler(std::make_shared<HostMetrics>(process));
}

}  // namespace godwit::host
