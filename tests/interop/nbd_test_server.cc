// Offers one device in memory or a file over NBD until it is told to end: what tests/interop/nbd_clients.sh points other
// programs' clients at. Prints "listening on ADDRESS" once it can be dialled.
//
//   nbd_test_server ADDRESS SIZE_BYTES [--file PATH] [--pooled] [--read-only] [--block-size-min N]
//
// --pooled hides that a memory device is memory, so that reads go through the buffer pool as those of a volume do.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "export/nbd_server.h"
#include "net/event_loop.h"
#include "net/worker_pool.h"
#include "store/file_device.h"
#include "store/memory_device.h"

namespace godwit {
namespace {

struct Arguments {
  std::string address;
  std::uint64_t size_bytes = 0;
  std::string file;
  bool pooled = false;
  bool read_only = false;
  std::uint32_t block_size_min = 1;
};

std::optional<Arguments> parse(int count, char** texts) {
  if (count < 3) return std::nullopt;
  Arguments arguments;
  arguments.address = texts[1];
  arguments.size_bytes = std::strtoull(texts[2], nullptr, 10);
  for (int i = 3; i < count; ++i) {
    std::string_view text = texts[i];
    if (text == "--pooled") {
      arguments.pooled = true;
    } else if (text == "--read-only") {
      arguments.read_only = true;
    } else if (text == "--file" && i + 1 < count) {
      arguments.file = texts[++i];
    } else if (text == "--block-size-min" && i + 1 < count) {
      arguments.block_size_min = static_cast<std::uint32_t>(std::strtoul(texts[++i], nullptr, 10));
    } else {
      return std::nullopt;
    }
  }
  return arguments;
}

// A device that keeps it to itself that it is memory.
class Opaque final : public store::BlockDevice {
 public:
  explicit Opaque(std::unique_ptr<store::BlockDevice> inner) : inner_(std::move(inner)) {}
  std::uint64_t size() const override { return inner_->size(); }
  bool read_only() const override { return inner_->read_only(); }
  void read(std::uint64_t offset, MutableBytes into, store::Done<void> done) override {
    inner_->read(offset, into, std::move(done));
  }
  void write(std::uint64_t offset, ConstBytes from, store::Durability durability, store::Done<void> done) override {
    inner_->write(offset, from, durability, std::move(done));
  }
  void flush(store::Done<void> done) override { inner_->flush(std::move(done)); }
  void zero(std::uint64_t offset, std::uint64_t length, store::ZeroMode mode, store::Durability durability,
            store::Done<void> done) override {
    inner_->zero(offset, length, mode, durability, std::move(done));
  }
  void discard(std::uint64_t offset, std::uint64_t length, store::Done<void> done) override {
    inner_->discard(offset, length, std::move(done));
  }
  void extents(std::uint64_t offset, std::uint64_t length, store::Done<std::vector<store::Extent>> done) override {
    inner_->extents(offset, length, std::move(done));
  }
  bool punches() const override { return inner_->punches(); }

 private:
  std::unique_ptr<store::BlockDevice> inner_;
};

Result<std::unique_ptr<store::BlockDevice>> open_device(const Arguments& arguments, net::EventLoop& loop, net::Workers& workers) {
  if (!arguments.file.empty()) return store::open_file_device(arguments.file, arguments.read_only, loop, workers);
  Result<std::unique_ptr<store::BlockDevice>> memory = store::make_memory_device(arguments.size_bytes, loop);
  if (memory && arguments.pooled) return std::make_unique<Opaque>(std::move(*memory));
  return memory;
}

Result<void> serve(const Arguments& arguments) {
  net::EventLoop loop;
  std::unique_ptr<net::Workers> workers = net::make_workers(loop, 4);
  Result<std::unique_ptr<store::BlockDevice>> device = open_device(arguments, loop, *workers);
  if (!device) return fail(device.error());
  net::BufferPool buffers(256 * 1024 * 1024);
  exports::NbdServer server(loop, buffers, {}, nullptr);
  for (const char* name : {"", "disk"}) {
    exports::ExportOptions options;
    options.name = name;
    options.description = [] { return std::string("a test device"); };
    options.read_only = arguments.read_only;
    options.block_size_min = arguments.block_size_min;
    if (Result<void> added = server.add(std::move(options), **device); !added) return added;
  }

  Result<net::Address> at = net::Address::parse(arguments.address, 10809);
  if (!at) return fail(at.error());
  auto listener = loop.listen(*at, [&](std::unique_ptr<net::Stream> stream) { server.accept(std::move(stream)); });
  if (!listener) return fail(listener.error());
  fmt::print("listening on {}\n", (*listener)->address().text());
  std::fflush(stdout);
  loop.on_termination([&](int) { server.shut_down([&] { loop.stop(); }); });
  loop.run();
  return {};
}

}  // namespace
}  // namespace godwit

int main(int count, char** texts) {
  std::optional<godwit::Arguments> arguments = godwit::parse(count, texts);
  if (!arguments) {
    fmt::print(stderr, "usage: nbd_test_server ADDRESS SIZE_BYTES [--file PATH] [--pooled] [--read-only] [--block-size-min N]\n");
    return 2;
  }
  if (godwit::Result<void> served = godwit::serve(*arguments); !served) {
    fmt::print(stderr, "nbd_test_server: {}\n", served.error().message());
    return 1;
  }
}
