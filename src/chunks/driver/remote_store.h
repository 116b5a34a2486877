// The chunks of a remote casync, desync or godwit, as one more chunk store: read-only, many requests in flight, every chunk
// verified. Together with its chunks it can give the index or archive that the same peer serves. Source: casync.md 2.4, 8.6.
//
// A chunk that is asked for again is asked for in a fresh session, since a real casync never answers a repeat. When a session
// breaks that had been giving chunks, what was still to come is asked for in another; one that gave nothing is not tried again.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "chunks/driver/chunk_store.h"
#include "chunks/driver/remote_client_link.h"

namespace godwit::chunks {

// A stream to a peer that speaks the protocol, and how to leave it.
struct RemoteConnection {
  std::unique_ptr<net::Stream> stream;
  // What lives as long as the stream (a child process); letting it go ends it.
  std::shared_ptr<void> owner;
  // Called after the stream is gone: waits until the peer has ended, and says if it failed ("ssh: exit code 255"). May be null.
  std::function<void(Done<void>)> wait_for_end;
  // May be null: as fast as it goes.
  std::shared_ptr<RemoteRate> rate = nullptr;
};
using RemoteConnector = std::function<Result<RemoteConnection>()>;

class RemoteStore : public ChunkStore {
 public:
  // Before the first get(): pulls the index too. `sink` takes it in pieces, borrowed for the call; an error of its ends the
  // session. `done` comes when it is whole, while chunks can already be asked for before.
  virtual void fetch_index(std::function<Result<void>(ConstBytes)> sink, Done<void> done) = 0;
  // Nothing more will be asked for: says goodbye, and calls `done` when the peer has been left in order.
  virtual void close(Done<void> done) = 0;
};

struct RemoteStoreOptions {
  RemoteClient::Limits session;
  bool has_store = true;  // false: the peer serves an index only
};

// Connects at the first use. `title` is what messages call it. The scheduler and the workers outlive it.
std::unique_ptr<RemoteStore> make_remote_store(std::string title, RemoteConnector connector, net::Scheduler& scheduler,
                                               net::Workers& workers, RemoteStoreOptions options = {});

}  // namespace godwit::chunks
