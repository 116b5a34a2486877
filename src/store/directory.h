// One folder's names: the small durable files of a host (records, maps, state) and the data files beside them. The names are
// plain, without slashes. Every call that changes something is durable, the directory entry included, before its `done`. A real
// folder in production, a power-loss disk in simulation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "store/block_device.h"

namespace godwit::store {

class Directory {
 public:
  virtual ~Directory() = default;

  virtual void list(Done<std::vector<std::string>> done) = 0;
  // Whole content of a small file (at most 64 MiB, else ErrorKind::limit).
  virtual void read_file(const std::string& name, Done<Bytes> done) = 0;
  // Write to a temporary name, fsync, rename over NAME, fsync the directory: afterwards NAME is old or new, never between.
  virtual void replace_file(const std::string& name, Bytes content, Done<void> done) = 0;
  // pwrite at `offset` of an existing file, then fdatasync. May be torn by a crash: for formats with checksummed slots.
  virtual void write_slot(const std::string& name, std::uint64_t offset, Bytes content, Done<void> done) = 0;
  // Never replaces: ErrorKind::exists where `to` is taken.
  virtual void rename(const std::string& from, const std::string& to, Done<void> done) = 0;
  virtual void remove(const std::string& name, Done<void> done) = 0;

  // A new data file of `size` bytes, all holes, durable as a name. ErrorKind::exists where it is.
  virtual void create_device(const std::string& name, std::uint64_t size, Done<std::unique_ptr<BlockDevice>> done) = 0;
  virtual void open_device(const std::string& name, bool read_only, Done<std::unique_ptr<BlockDevice>> done) = 0;
};

}  // namespace godwit::store
