#include "cli/homa_doctor_command.h"

#include <thread>

#include <fmt/format.h>

#include "cli/console.h"
#include "homa/driver/link_facts.h"
#include "homa/driver/qdisc.h"
#include "homa/driver/udp_socket.h"

namespace godwit::cli {

namespace {

constexpr std::uint32_t kBufferWanted = 4 << 20;

class Report {
 public:
  explicit Report(Console& console) : console_(console) {}

  void fine(std::string_view what, const std::string& text) { tell("ok", what, text, ""); }
  void note(std::string_view what, const std::string& text) { tell("note", what, text, ""); }
  void wrong(std::string_view what, const std::string& text, const std::string& remedy) {
    ++findings_;
    tell("finding", what, text, remedy);
  }
  int findings() const { return findings_; }

 private:
  void tell(std::string_view verdict, std::string_view what, const std::string& text, const std::string& remedy) {
    console_.line(fmt::format("{:7} {}: {}", verdict, what, text));
    if (!remedy.empty()) console_.line(fmt::format("        remedy: {}", remedy));
    console_.event({{"event", "diagnosis"}, {"verdict", verdict}, {"what", what}, {"text", text}, {"remedy", remedy}});
  }

  Console& console_;
  int findings_ = 0;
};

void look_at_socket(Report& report) {
  homa::UdpOptions options;
  options.buffer_bytes = kBufferWanted;
  const Result<std::unique_ptr<homa::UdpSocket>> opened = homa::UdpSocket::open(options);
  if (!opened) return report.wrong("UDP", opened.error().message(), "let this user open UDP sockets");
  const homa::UdpSocket& socket = **opened;
  const auto buffer = [&](const char* what, const char* setting, std::uint32_t bytes) {
    if (bytes >= kBufferWanted) return report.fine(what, fmt::format("{} KiB", bytes / 1024));
    report.wrong(what,
                 fmt::format("{} KiB instead of {}: a burst of many senders overflows it, and what is lost costs 15 ms each",
                             bytes / 1024, kBufferWanted / 1024),
                 fmt::format("sudo sysctl -w {}={}", setting, kBufferWanted));
  };
  buffer("receive buffer", "net.core.rmem_max", socket.receive_buffer_bytes());
  buffer("send buffer", "net.core.wmem_max", socket.send_buffer_bytes());
  socket.has_gso() ? report.fine("GSO", "the kernel cuts long messages into packets")
                   : report.wrong("GSO", "this kernel can not cut UDP messages into packets: long messages cost more CPU",
                                  "Linux 4.18 or newer");
  socket.has_gro()
      ? report.fine("GRO", "the kernel hands packets of a message over together")
      : report.wrong("GRO", "this kernel can not put UDP packets together: long messages cost more CPU", "Linux 5.0 or newer");
}

void look_at_cpus(Report& report) {
  const unsigned cpus = std::thread::hardware_concurrency();
  if (cpus > 1)
    report.fine("CPUs", fmt::format("{}: packets are looked for 50 us before sleeping, where that pays", cpus));
  else
    report.note("CPUs", "1: looking for packets would keep the kernel from delivering them, so every wait sleeps");
}

void look_at_qdisc(Report& report, const homa::LinkFacts& facts) {
  if (facts.is_loopback) return report.note("qdisc", "loopback has no queue, so priorities make no difference");
  const Result<std::string> kind = homa::root_qdisc(facts.interface);
  const std::string remedy = fmt::format("godwit homa tc {} | sudo sh", facts.interface);
  if (!kind) return report.note("qdisc", kind.error().message());
  if (*kind == "noqueue") return report.note("qdisc", "noqueue: the interface passes packets on at once; the queue is behind it");
  if (*kind == "htb" || *kind == "prio")
    return report.fine("qdisc", *kind + ": can serve priorities, if its filters look at the TOS byte");
  if (*kind == "pfifo_fast" || *kind == "mq")
    return report.wrong("qdisc", *kind + ": knows three bands only, so Homa's eight priorities share them", remedy);
  report.wrong("qdisc", *kind + ": does not serve Homa's priorities; long messages of other hosts' traffic delay short ones",
               remedy);
}

void look_at_link(Report& report, const homa::LinkFacts& facts, const HomaLinkOptions& link) {
  report.note("interface",
              fmt::format("{}, MTU {}", facts.interface.empty() ? "none in particular" : facts.interface, facts.mtu));
  if (link.link_mbps) return report.note("link speed", fmt::format("{} Mb/s, as you say", *link.link_mbps));
  if (facts.speed_mbps)
    return report.fine("link speed", fmt::format("{} Mb/s, as the card says; senders are paced to it", *facts.speed_mbps));
  if (facts.is_loopback) return report.note("link speed", "loopback is not paced");
  report.wrong("link speed",
               "the card does not tell it; senders are paced by how fast long messages are received, not at all before the first",
               "say it: --link-mbps, TransportOptions::link_mbps");
}

void explain_rtt_bytes(Report& report, const homa::Pace& pace, std::uint32_t suits) {
  const std::string here = fmt::format("{} suits this way; ", suits);
  switch (pace.rtt_from) {
    case homa::Origin::said:
      return report.note("rtt_bytes", here + fmt::format("you say {}, without which it would be measured", pace.rtt_bytes));
    case homa::Origin::measured:
      return report.note("rtt_bytes",
                         here + fmt::format("this transport measured {} (round trip {:.1f} us, link {} Mb/s), and goes by it",
                                            pace.rtt_bytes, static_cast<double>(pace.round_trip->count()) / 1e3, pace.link_mbps));
    default:
      return report.note("rtt_bytes",
                         here + fmt::format("{} is assumed here: on loopback, and where the link's speed is not known, "
                                            "it is not measured",
                                            pace.rtt_bytes));
  }
}

int measure_way(Console& console, Report& report, const HomaDoctorOptions& options, const homa::Address& server) {
  Result<std::unique_ptr<homa::Transport>> transport = open_towards(options.link, server);
  if (!transport) return console.error(transport.error());
  const homa::LinkFacts facts = homa::link_facts({(*transport)->local_address().ip, 0});
  const std::uint32_t link = options.link.link_mbps.value_or(facts.speed_mbps.value_or(0));
  const homa::Outcome<homa::Way> way = homa::measure(**transport, server, options.link.homa_port, link);
  if (!way) {
    report.wrong("the way", way.error().text,
                 way.error().reason == homa::Reason::unreachable
                     ? "--mtu with what the way carries (ping -M do -s SIZE finds it), or a route"
                     : fmt::format("run `godwit homa echo --port {}` there, and let UDP through the firewalls", server.port));
    return kFailed;
  }
  const auto us = [](std::chrono::nanoseconds d) { return static_cast<double>(d.count()) / 1e3; };
  report.note("100 B calls", fmt::format("p50 {:.1f} us, p99 {:.1f} us", us(way->short_calls.p50), us(way->short_calls.p99)));
  report.note("calls of a full packet",
              fmt::format("p50 {:.1f} us, p99 {:.1f} us", us(way->packet_calls.p50), us(way->packet_calls.p99)));
  report.note("long messages", fmt::format("{:.0f} Mb/s each way", way->megabits_per_second));
  if (way->short_calls.p99 > 10 * way->short_calls.p50)
    report.wrong(
        "jitter", "some short calls take ten times as long as most",
        "keep other work off the CPUs of both sides, or let the transport's thread run with real-time priority (chrt -r 1)");
  if (way->retransmitted_packets > 0)
    report.wrong("loss", fmt::format("{} packets had to be sent again", way->retransmitted_packets),
                 "larger socket buffers on both sides (above), or a lower --link-mbps");
  explain_rtt_bytes(report, (*transport)->pace(), way->rtt_bytes);
  return kDone;
}

}  // namespace

int run_homa_doctor(const Settings& settings, const HomaDoctorOptions& options) {
  Console console(settings.json);
  Report report(console);
  homa::PeerAddress local;
  std::optional<homa::Address> server;
  if (!options.server.empty()) {
    const homa::Outcome<homa::Address> resolved = homa::Address::resolve(options.server);
    if (!resolved) return console.error(error_of(resolved.error()));
    server = *resolved;
    const Result<homa::PeerAddress> ours = homa::local_address_towards({server->ip, server->port});
    if (!ours) return console.error(ours.error());
    local = *ours;
  }
  const homa::LinkFacts facts = homa::link_facts(local);
  look_at_link(report, facts, options.link);
  look_at_socket(report);
  look_at_cpus(report);
  if (!facts.interface.empty()) look_at_qdisc(report, facts);
  const int code = server ? measure_way(console, report, options, *server) : kDone;
  console.line(report.findings() == 0 ? "nothing to be set" : fmt::format("{} findings", report.findings()));
  return code;
}

int run_homa_tc(const Settings& settings, const HomaTcOptions& options) {
  Console console(settings.json);
  const std::string& dev = options.interface;
  const bool is_name =
      !dev.empty() && dev.size() < 16 &&
      dev.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-@") == std::string::npos &&
      dev[0] != '-';
  if (!is_name) return console.error(Error(ErrorKind::usage, "\"" + escaped(dev) + "\" is no interface's name"));
  std::optional<std::uint32_t> mbps = options.mbps;
  if (!mbps) mbps = homa::facts_of_interface(dev).speed_mbps;
  if (!mbps) return console.error(Error(ErrorKind::usage, dev + " does not tell its speed: say it with --mbps"));
  std::vector<std::string> commands;
  commands.push_back(fmt::format("tc qdisc replace dev {} root handle 1: htb default 12", dev));
  // With htb's own burst, a packet's worth, the kernel sets a timer for every packet: more of the processor than sending it
  // takes.
  const std::uint64_t burst = std::max<std::uint64_t>(4 * 1514, std::uint64_t{*mbps} * 16);  // 128 us of the link
  const std::string bursts = fmt::format("burst {} cburst {}", burst, burst);
  commands.push_back(
      fmt::format("tc class replace dev {} parent 1: classid 1:1 htb rate {}mbit ceil {}mbit {}", dev, *mbps, *mbps, bursts));
  // What a class is sure of is little; what is left goes to the most urgent one (htb's prio 0) that has packets.
  const std::uint32_t sure_kbit = std::max(1U, *mbps * 1000 / 100);
  for (int p = 7; p >= 0; --p) {
    commands.push_back(
        fmt::format("tc class replace dev {} parent 1:1 classid 1:1{} htb rate {}kbit ceil {}mbit {} prio {} quantum 3000", dev,
                    p, sure_kbit, *mbps, bursts, 7 - p));
    commands.push_back(fmt::format(
        "tc filter add dev {} parent 1: protocol ip prio 1 u32 match ip protocol 17 0xff match u8 {:#04x} 0xe0 at 1 flowid 1:1{}",
        dev, p << 5, p));
    commands.push_back(
        fmt::format("tc filter add dev {} parent 1: protocol ipv6 prio 2 u32 match ip6 protocol 17 0xff match u16 {:#06x} 0x0e00 "
                    "at 0 flowid 1:1{}",
                    dev, p << 9, p));
  }
  console.line(fmt::format(
      "# {}: {} Mb/s, a class for each of Homa's priorities (the top bits of the TOS byte); what is not Homa's", dev, *mbps));
  console.line(fmt::format("# goes to 1:12. Undo: tc qdisc del dev {} root", dev));
  for (const std::string& command : commands) {
    console.line(command);
    console.event({{"event", "command"}, {"command", command}});
  }
  return kDone;
}

}  // namespace godwit::cli
