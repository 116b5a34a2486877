// Immutable bytes under names: a chunk store's files. A directory, another host's web server or an object service; memory in
// tests. A blob is there whole or not at all, and never changes; whoever stores a name gives it the same meaning every time, so
// storing it twice is no error. Everything is asynchronous: submit, and learn later. Calls may be under way together and end in
// any order. A store may be destroyed meanwhile: no `done` is called from then on, though jobs of its workers may still go on.
//
// A name is one or more plain path elements between slashes: "5304/53048e….cacnk". No element is empty, "." or "..", none holds a
// zero byte, and all together are at most 512 bytes; else ErrorKind::invalid and nothing is done.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "net/scheduler.h"

namespace godwit::store {

using net::Done;

struct BlobEntry {
  std::string name;
  std::uint64_t size = 0;
  std::int64_t modified_seconds = 0;  // since 1970
};

// The same blobs by a call that blocks, for whoever is on a worker already. Any thread.
class BlockingBlobs {
 public:
  virtual ~BlockingBlobs() = default;
  // The whole blob into the beginning of `into`, which is made longer where it is too short; gives the blob's size. Errors as of
  // BlobStore::get().
  virtual Result<std::size_t> read(const std::string& name, std::uint64_t size_max, Bytes& into) = 0;
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // What messages call it: a path, a URL.
  virtual const std::string& title() const = 0;

  // The whole blob. ErrorKind::not_found where there is none, ErrorKind::limit where it has more than `size_max` bytes.
  virtual void get(std::string name, std::uint64_t size_max, Done<Bytes> done) = 0;
  // For each name, in order, whether it is there.
  virtual void has(std::vector<std::string> names, Done<std::vector<bool>> done) = 0;
  // Afterwards the name is there with all of its bytes, though a crash of the machine may take it back before the next sync().
  // False: it was there already, and stays as it was. ErrorKind::no_space, ErrorKind::read_only and others leave nothing behind.
  virtual void put(std::string name, Bytes content, Done<bool> done) = 0;
  // Everything whose put ended before this call is durable when `done` comes without error.
  virtual void sync(Done<void> done) = 0;
  // ErrorKind::not_found where there is none.
  virtual void remove(std::string name, Done<void> done) = 0;
  // The blobs of one folder (the name without its last element), in no order; left-overs of crashed puts are not among them. A
  // folder that is not there has none.
  virtual void list(std::string folder, Done<std::vector<BlobEntry>> done) = 0;

  // Null where blobs do not lie on this machine. It may outlive the store.
  virtual std::shared_ptr<BlockingBlobs> blocking() { return nullptr; }
};

// ErrorKind::invalid, with what is wrong about it.
Result<void> check_blob_name(std::string_view name);

}  // namespace godwit::store
