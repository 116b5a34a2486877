// One file to or from a remote: an archive pulled; an index with its chunks, an index, or an archive pushed. Source: casync.md
// 2.5 – 2.7. A pushed file is there at the remote when `done` comes without error, and not otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "chunks/driver/remote_store.h"
#include "net/worker_pool.h"

namespace godwit::chunks {

// What has gone to the remote so far, or come from it; of a push over several connections, over all of them.
struct RemoteCounts {
  std::uint64_t file_bytes = 0;    // of the index or archive
  std::uint64_t chunks_asked = 0;  // by the remote, which has the others
  std::uint64_t chunks_sent = 0;
  std::uint64_t chunk_bytes = 0;  // of those that were sent, as they travel
};

// Ends what it does when it goes.
class RemoteTransfer {
 public:
  virtual ~RemoteTransfer() = default;
  virtual RemoteCounts so_far() const = 0;
};

struct RemoteUpload {
  HelloFlags wants = 0;  // 0xe00, 0x400 or 0x1000
  std::string path;      // of the index or archive here
  // Where the chunks of the index are, looked for in order. Borrowed.
  std::vector<store::BlobStore*> stores;
};

// `sink` takes the file in pieces, borrowed for the call; an error of its ends the transfer.
Result<std::unique_ptr<RemoteTransfer>> pull_from_remote(net::Scheduler& scheduler, RemoteConnection connection, wire::File file,
                                                         std::function<Result<void>(ConstBytes)> sink, Done<void> done);
Result<std::unique_ptr<RemoteTransfer>> push_to_remote(net::Scheduler& scheduler, net::Workers& workers,
                                                       RemoteConnection connection, RemoteUpload upload, Done<void> done);
// The same, and when its connection breaks it goes on over another after `pause`: what the remote has stored it does not ask for
// again. A session in which nothing was asked for is not followed by another, and no more than kPushSessionsMax are made: a real
// casync that fails just leaves, and would do so again.
inline constexpr unsigned kPushSessionsMax = 10;
Result<std::unique_ptr<RemoteTransfer>> push_over_cuts(net::Scheduler& scheduler, net::Workers& workers,
                                                       RemoteConnector connector, RemoteUpload upload, Duration pause,
                                                       Done<void> done);

}  // namespace godwit::chunks
