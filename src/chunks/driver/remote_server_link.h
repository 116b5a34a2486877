// The server's side of a session over a stream: `pull` and `push` as a casync client starts them at the other end of an ssh.
// Binds RemoteServer to a link, chunk stores and one file. What it gives is verified before it leaves, what it takes before it is
// stored; an index or archive gets its name only when it is whole, durable, and every chunk it names is stored. Source:
// casync.md 2.4 – 2.7.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chunks/core/remote_server.h"
#include "chunks/driver/remote_link.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "net/worker_pool.h"
#include "store/blob_store.h"

namespace godwit::chunks {

// The operands of `pull` and `push`; paths as they are.
struct RemoteService {
  bool is_push = false;
  std::string index;    // "": none
  std::string archive;  // "": none
  // The first is written to (push); chunks are looked for in all, in order. Borrowed for the link's life.
  std::vector<store::BlobStore*> stores;
  // How fast it may talk; null: as fast as it goes.
  std::shared_ptr<RemoteRate> rate = nullptr;
};

class RemoteServerLink {
 public:
  // `done` is called once, when the session is over and the answers have left. Errors as RemoteServer::start() has them. The
  // scheduler, the workers and the stores outlive the link.
  static Result<std::unique_ptr<RemoteServerLink>> start(net::Scheduler& scheduler, net::Workers& workers,
                                                         std::unique_ptr<net::Stream> stream, RemoteService service,
                                                         net::Done<void> done, RemoteServer::Limits limits = {});
  ~RemoteServerLink();
  RemoteServerLink(const RemoteServerLink&) = delete;
  RemoteServerLink& operator=(const RemoteServerLink&) = delete;

 private:
  struct Impl;
  explicit RemoteServerLink(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
