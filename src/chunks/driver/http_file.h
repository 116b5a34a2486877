// A file behind a URL, read anywhere: a block device whose bytes are fetched by ranges when they are asked for, in pieces of one
// size. What was read stays for a while, within a budget; who reads on finds the next pieces there. A server that says that the
// file has become another one, or shorter, ends the reads with an error: bytes of two files are never mixed, as far as the server
// tells them apart (by size, ETag, Last-Modified).
//
// It is used on the scheduler's thread, as every device. Memory: cache_bytes_max, and one piece for each read beyond.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "chunks/driver/http_client.h"
#include "store/block_device.h"

namespace godwit::chunks {

struct HttpFileOptions {
  std::uint64_t piece_bytes = 256 * 1024;
  std::uint64_t cache_bytes_max = 64 * 1024 * 1024;
  std::uint64_t ahead_bytes_max = 8 * 1024 * 1024;  // no more than a quarter of the cache
};

class HttpFile final : public store::BlockDevice {
 public:
  // The scheduler outlives the file.
  HttpFile(const std::string& url, net::Scheduler& scheduler, const HttpClientOptions& client,
           const HttpFileOptions& options = {});
  // Reads that still wait then end without `done`.
  ~HttpFile() override;

  // Asks for the first piece; before anything else. Errors name the URL: ErrorKind::not_found; unsupported where the server gives
  // no ranges; invalid for an empty file; and those of HttpClient.
  void open(net::Done<void> done);
  std::uint64_t size() const override;
  bool read_only() const override { return true; }
  // A failure is not remembered: the next read asks the server again.
  void read(std::uint64_t offset, MutableBytes into, net::Done<void> done) override;
  // ErrorKind::read_only.
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, net::Done<void> done) override;
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            net::Done<void> done) override;
  void discard(std::uint64_t offset, std::uint64_t length, net::Done<void> done) override;
  void flush(net::Done<void> done) override;
  // All of it is data, as far as anybody knows.
  void extents(std::uint64_t offset, std::uint64_t length, net::Done<std::vector<store::Extent>> done) override;

  // Bytes that have come so far.
  std::uint64_t bytes_fetched() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace godwit::chunks
