#include "cli/homa_network_commands.h"

#include <memory>

#include "cli/homa_bench_command.h"
#include "cli/homa_doctor_command.h"
#include "cli/homa_dump_command.h"
#include "cli/homa_echo_command.h"
#include "cli/program.h"

namespace godwit::cli {

namespace {

void add_link_options(Command app, HomaLinkOptions& o) {
  app.add_option("--homa-port", o.homa_port, "the service's Homa port, 1 to 32767").show_default();
  app.add_option("--bind", o.bind, "our own address (default: the one towards the other side)");
  app.add_option("--mtu", o.mtu, "bytes that the whole way carries in one packet (default: the interface's)");
  app.add_option("--link-mbps", o.link_mbps, "the link's speed, 0: do not pace (default: as the card says, else measured)");
  app.add_option("--rtt-bytes", o.rtt_bytes, "what the link carries in a round trip (default: measured, 60000 at first)");
  app.add_option("--tick-ms", o.tick_ms, "the protocol's clock: after 65 silent ticks the other side is given up")
      .show_default()
      .between(1, 1000);
  app.add_option("--spin-us", o.spin_us, "look for packets so long before sleeping (default: 50 where it pays)");
}

void add_echo(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("echo", "answer every request with its own bytes, until interrupted");
  app.footer("Example:\n  godwit homa echo --port 9160\n\nNothing is encrypted or authenticated: see --insecure.");
  auto o = std::make_shared<HomaEchoOptions>();
  app.add_option("--port", o->udp_port, "the UDP port; 0: any").show_default();
  add_link_options(app, o->link);
  app.add_option("--metrics", o->metrics, "Prometheus metrics at this address, /metrics");
  app.add_flag("--insecure", o->insecure, "allow addresses that others than this machine can reach");
  app.add_flag("--allow-freeze", o->allow_freeze, "print the last packets' headers when a FREEZE comes, from whomever");
  set_command(app, settings, command, o, run_homa_echo);
}

void add_ping(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("ping", "time calls to an echo server, one after the other");
  app.footer("Example:\n  godwit homa ping 127.0.0.1:9160 --size 100 --count 1000");
  auto o = std::make_shared<HomaPingOptions>();
  app.add_option("HOST:PORT", o->server, "an echo server (port 9160 if none is given)").required();
  app.add_option("--size", o->size, "bytes, 1 to 1000000").show_default().between(1, 1'000'000);
  app.add_option("--count", o->count, "calls").show_default().positive();
  app.add_option("--interval-ms", o->interval_ms, "between the beginnings of two calls").show_default();
  app.add_option("--deadline-ms", o->deadline_ms, "for each call").show_default().positive();
  add_link_options(app, o->link);
  set_command(app, settings, command, o, run_homa_ping);
}

void add_bench(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("bench", "measure latency and throughput against an echo server, or against oneself");
  app.footer(
      "Example:\n  godwit homa bench --seconds 2\n\n"
      "Without HOST:PORT a thread of this process is the server. Without --size three measurements are made: 100 B one by one, "
      "100 B\n"
      "with 32 under way, and 500 kB with 4 under way.");
  auto o = std::make_shared<HomaBenchOptions>();
  app.add_option("HOST:PORT", o->server, "an echo server (port 9160 if none is given)");
  app.add_option("--size", o->size, "bytes, 1 to 1000000").between(1, 1'000'000);
  app.add_option("--outstanding", o->outstanding, "calls under way at once").show_default().positive();
  app.add_option("--seconds", o->seconds, "for each measurement").show_default().positive();
  add_link_options(app, o->link);
  set_command(app, settings, command, o, run_homa_bench);
}

void add_doctor(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("doctor", "look at this machine and the way to a host, and say what to set");
  app.footer(
      "Example:\n  godwit homa doctor 192.0.2.7:9160\n\n"
      "The host should run `godwit homa echo`; without it, or without HOST, only this machine is looked at.");
  auto o = std::make_shared<HomaDoctorOptions>();
  app.add_option("HOST:PORT", o->server, "an echo server (port 9160 if none is given)");
  add_link_options(app, o->link);
  set_command(app, settings, command, o, run_homa_doctor);
}

void add_tc(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("tc", "print the commands that let an interface serve Homa's priorities");
  app.footer("Example:\n  godwit homa tc eth0 --mbps 10000 | sudo sh\n\nNothing is changed by this command itself.");
  auto o = std::make_shared<HomaTcOptions>();
  app.add_option("INTERFACE", o->interface, "the network interface").required();
  app.add_option("--mbps", o->mbps, "what it carries (default: as the card says)").positive();
  set_command(app, settings, command, o, run_homa_tc);
}

void add_dump(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("dump", "tell the packets of a capture");
  app.footer(
      "Example:\n  tcpdump -i eth0 -w homa.pcap udp port 9160 & sleep 5; kill $!; godwit homa dump homa.pcap\n\n"
      "A hex dump has a datagram's UDP payload per paragraph: digits, or lines as xxd and tcpdump -x print them.");
  auto o = std::make_shared<HomaDumpOptions>();
  app.add_option("FILE", o->file, "a pcap file or a hex dump; - is the standard input").required();
  app.add_option("--udp-port", o->udp_port, "only packets from or to this UDP port");
  app.add_flag("--all", o->all, "also datagrams that are no packets of Homa");
  set_command(app, settings, command, o, run_homa_dump);
}

}  // namespace

void add_homa_network_commands(Command group, const Settings& settings, std::function<int()>& command) {
  add_echo(group, settings, command);
  add_ping(group, settings, command);
  add_bench(group, settings, command);
  add_doctor(group, settings, command);
  add_tc(group, settings, command);
  add_dump(group, settings, command);
}

}  // namespace godwit::cli
