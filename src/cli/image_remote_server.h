// `godwit image pull` and `godwit image push`: this program as the remote end of a casync client, over standard input and output.
// A client starts them through ssh; invoked through a link named `casync`, the program takes casync's own words for the same.
#pragma once

#include <string>
#include <vector>

namespace godwit::cli {

struct RemoteServerOptions {
  bool is_push = false;
  // BASE ARCHIVE INDEX WSTORE RSTORE…, "-" for none, as casync has them.
  std::vector<std::string> operands;
  std::string rate_limit;  // bytes per second each way, like 1M; "": as fast as it goes
};

// Gives the exit code; complaints go to standard error, and to the client.
int run_remote_server(const RemoteServerOptions& options);

}  // namespace godwit::cli
