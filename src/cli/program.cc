#include "cli/program.h"

#include <optional>

#include "cli/console.h"

namespace godwit::cli {

int run_program(int argc, char** argv, std::span<const AddGroup> groups) {
  CommandLine line("Keeps state alive while the machines under it change.", "godwit");
  Command app = line.program();
  app.version("godwit " GODWIT_VERSION);
  app.footer("Example:\n  godwit volume serve disk.img\n\nExit codes: 0 done, 1 failed, 2 wrong usage.");
  app.require_verb();
  Settings settings;
  app.add_option("--data", settings.data,
                 "the data directory: what makes this process a host (default ~/.local/state/godwit, for root /var/lib/godwit)");
  app.add_flag("--json", settings.json, "one JSON object per line on stdout");
  app.add_option("--log-level", settings.log_level,
                 "error, warn, info, debug or trace, on stderr (default: GODWIT_LOG, or warn)");
  app.add_flag("--log-json", settings.log_json, "logs as JSON");
  std::function<int()> command;
  for (const AddGroup add_group : groups) add_group(app, settings, command);
  if (const std::optional<int> ended = line.parse(argc, argv, kUsage)) return *ended;
  return command();
}

}  // namespace godwit::cli
