// Peers of the remote protocol that are programs: a child that runs ssh, or a protocol helper, or anything else that speaks it
// over its standard input and output. Source: casync.md 2.1.
#pragma once

#include <string>
#include <vector>

#include "chunks/core/remote_locator.h"
#include "chunks/driver/remote_store.h"
#include "net/event_loop.h"

namespace godwit::chunks {

// From CASYNC_SSH_PATH, CASYNC_REMOTE_PATH and CASYNC_PROTOCOL_PATH of the process's environment.
RemotePrograms remote_programs_of_environment();

// Starts a child with these words for each connection. The loop outlives them. `rate` may be null.
RemoteConnector connect_by_command(net::EventLoop& loop, std::vector<std::string> words,
                                   std::shared_ptr<RemoteRate> rate = nullptr);

}  // namespace godwit::chunks
