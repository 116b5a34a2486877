#include "cli/homa_commands.h"

#include <memory>

#include "cli/homa_network_commands.h"
#include "cli/homa_plot_command.h"
#include "cli/homa_simulate_command.h"
#include "cli/program.h"

namespace godwit::cli {

namespace {

void add_simulate(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("simulate", "run the transport in a simulated network, as its publications measured it");
  app.footer(
      "Example:\n  godwit homa simulate --setup rack16 --workload w3 --load 0.8 --svg slowdown.svg\n\n"
      "Slowdown is a message's time over that of the same message alone in the network; 'tenth' is a tenth of the messages by\n"
      "length. 'Wasted' is the share of moments in which a link to a host was idle though more senders waited for its grants "
      "than it\n"
      "grants at once; 'granted and not used' are the bytes that a receiver had allowed, by grants or unscheduled, and that had "
      "not\n"
      "come, of messages whose first packet had. A seed repeats a run packet for packet.");
  auto o = std::make_shared<HomaSimulateOptions>();
  app.add_option("--setup", o->setup,
                 "sigcomm18 (144 hosts, two tiers, 10 Gb/s), sigcomm18-host (the same with production's sender queue), atc21 (40 "
                 "hosts on a switch, 25 Gb/s) or rack16 (one rack of sigcomm18)")
      .show_default();
  app.add_option("--workload", o->workload, "the message lengths: w1 (shortest) to w5").show_default();
  app.add_option("--load", o->load, "share of the links (default 0.8); for atc21 of its published rates (default 1)");
  app.add_option("--seed", o->seed, "of the generator").show_default();
  app.add_option("--transport", o->transport, "homa, or a baseline: fifo, window or oracle").show_default();
  app.add_option("--priorities", o->priorities, "how many levels the network has, 1 to 8").show_default();
  app.add_option("--overcommit", o->overcommit, "how many senders a receiver grants at once (default: as published)");
  app.add_flag("--no-srpt", o->no_srpt, "senders serve messages in order of creation");
  app.add_option("--fifo", o->fifo_permille, "share of grants and packets for the oldest message, in thousandths");
  app.add_option("--warmup-ms", o->warmup_ms, "simulated time before the measured one");
  app.add_option("--end-ms", o->end_ms, "simulated time at which the measured one ends");
  app.add_option("--csv", o->csv, "write all figures (lines of '#') and a table of slowdowns to this file");
  app.add_option("--svg", o->svg, "draw the slowdowns into this file; several runs: godwit homa plot");
  set_command(app, settings, command, o, run_homa_simulate);
}

void add_plot(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("plot", "draw the slowdowns of several simulated runs over each other");
  app.footer(
      "Example:\n"
      "  godwit homa simulate --setup rack16 --csv eight.csv\n"
      "  godwit homa simulate --setup rack16 --priorities 1 --csv one.csv\n"
      "  godwit homa plot priorities.svg eight.csv one.csv\n\n"
      "A curve for each run, p99 by tenth of the messages; the legend says in what they differ.");
  auto o = std::make_shared<HomaPlotOptions>();
  app.add_option("OUT.svg", o->svg, "the file to draw").required();
  app.add_option("RUN.csv", o->tables, "what `homa simulate --csv` wrote, at most 16").required();
  app.add_flag("--median", o->median, "p50 in place of p99");
  set_command(app, settings, command, o, run_homa_plot);
}

}  // namespace

void add_homa_commands(Command app, const Settings& settings, std::function<int()>& command) {
  Command group = app.add_group("homa", "a message transport in which short messages overtake long ones");
  group.footer("Example:\n  godwit homa bench");
  add_homa_network_commands(group, settings, command);
  add_simulate(group, settings, command);
  add_plot(group, settings, command);
}

}  // namespace godwit::cli
