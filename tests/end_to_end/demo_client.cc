// The demonstration's client (scripts/demo.sh), an ordinary NBD client that knows nothing of migrations:
//   demo_client write  NBD EXPORT BLOCKS JOURNAL RATE    4 KiB records into the listed blocks until SIGTERM or the list's end;
//                                                        every acknowledged record gets a line in the journal
//   demo_client read   NBD EXPORT BLOCKS REPORT          random 4 KiB reads of the listed blocks until SIGTERM; latencies as JSON
//   demo_client replay IMAGE JOURNAL                     prints the SHA-256 of IMAGE with the journal's records written into it
//   demo_client verify IMAGE BLOCKS JOURNAL              every journalled record stands in IMAGE once, at its place, unharmed
// NBD is an address of a server ("unix:/path" or host:port). BLOCKS is a file of 4 KiB block numbers, one a line. A record is its
// sequence number, its block, bytes that follow from both, and a CRC32C over all of it.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>

#include "base/cursor.h"
#include "base/hash.h"
#include "base/random.h"
#include "export/nbd_client.h"
#include "net/event_loop.h"

namespace godwit {
namespace {

constexpr std::size_t kRecordSize = 4096;
constexpr std::uint32_t kMagic = 0x77646F67;

Bytes make_record(std::uint64_t sequence, std::uint64_t block) {
  Bytes record;
  Writer writer(record);
  writer.u32_le(kMagic);
  writer.u64_le(sequence);
  writer.u64_le(block);
  Random random(sequence * 0x9E3779B97F4A7C15ULL + block);
  while (record.size() + 8 <= kRecordSize - 4) writer.u64_le(random.next());
  record.resize(kRecordSize - 4);
  writer.u32_le(crc32c(record));
  return record;
}

// The sequence number of a sound record, or nothing.
std::optional<std::pair<std::uint64_t, std::uint64_t>> read_record(ConstBytes bytes) {
  Cursor cursor(bytes);
  if (cursor.u32_le() != kMagic) return std::nullopt;
  const std::uint64_t sequence = cursor.u64_le();
  const std::uint64_t block = cursor.u64_le();
  const Bytes expected = make_record(sequence, block);
  if (!std::equal(expected.begin(), expected.end(), bytes.begin(), bytes.end())) return std::nullopt;
  return std::pair(sequence, block);
}

std::vector<std::uint64_t> read_blocks(const char* path) {
  std::ifstream file(path);
  std::vector<std::uint64_t> blocks;
  for (std::uint64_t block; file >> block;) blocks.push_back(block);
  return blocks;
}

struct JournalLine {
  std::uint64_t sequence = 0;
  std::uint64_t block = 0;
};
std::vector<JournalLine> read_journal(const char* path) {
  std::ifstream file(path);
  std::vector<JournalLine> lines;
  for (JournalLine line; file >> line.sequence >> line.block;) lines.push_back(line);
  return lines;
}

int fail_with(const std::string& what) {
  std::fprintf(stderr, "demo_client: %s\n", what.c_str());
  return 1;
}

// One request after another on a connection of its own, paced, until told to stop.
class Worker {
 public:
  Worker(net::EventLoop& loop, std::vector<std::uint64_t> blocks) : loop_(loop), blocks_(std::move(blocks)) {}
  virtual ~Worker() = default;

  int run(const char* address_text, const char* export_name) {
    const Result<net::Address> address = net::Address::parse(address_text, 10809);
    if (!address) return fail_with(address.error().message());
    loop_.on_termination([this](int) { stopping_ = true; });
    loop_.connect(*address, [this, export_name](Result<std::unique_ptr<net::Stream>> stream) {
      if (!stream) return end("connect: " + stream.error().message());
      exports::NbdClientOptions options;
      options.export_name = export_name;
      exports::NbdClient::open(loop_, std::move(*stream), std::move(options),
                               [this](Result<std::unique_ptr<exports::NbdClient>> client) {
                                 if (!client) return end("NBD: " + client.error().message());
                                 client_ = std::move(*client);
                                 client_->on_lost([this](Error error) { end("the connection was lost: " + error.message()); });
                                 next();
                               });
    });
    loop_.run();
    client_.reset();
    return error_.empty() ? 0 : fail_with(error_);
  }

 protected:
  virtual void next() = 0;
  void end(std::string error) {
    if (error_.empty()) error_ = std::move(error);
    loop_.stop();
  }
  net::EventLoop& loop_;
  std::vector<std::uint64_t> blocks_;
  std::unique_ptr<exports::NbdClient> client_;
  bool stopping_ = false;

 private:
  std::string error_;
};

class RecordWriter final : public Worker {
 public:
  RecordWriter(net::EventLoop& loop, std::vector<std::uint64_t> blocks, const char* journal, double rate)
      : Worker(loop, std::move(blocks)), journal_(std::fopen(journal, "w")), interval_(Duration::seconds(1 / rate)) {}
  ~RecordWriter() override { std::fclose(journal_); }

 private:
  void next() override {
    if (sequence_ == 0) due_ = loop_.now();
    if (stopping_ || sequence_ == blocks_.size()) return finish();
    due_ = due_ + interval_;
    const std::uint64_t block = blocks_[sequence_];
    record_ = make_record(sequence_, block);
    // Every hundredth record is flushed, as a database would.
    const auto durability = sequence_ % 100 == 99 ? store::Durability::durable : store::Durability::written;
    client_->write(block * kRecordSize, record_, durability, [this, block](Result<void> result) {
      if (!result) return end("write: " + result.error().message());
      std::fprintf(journal_, "%llu %llu\n", static_cast<unsigned long long>(sequence_), static_cast<unsigned long long>(block));
      ++sequence_;
      loop_.schedule(std::max(due_, loop_.now()), [this] { next(); });
    });
  }
  void finish() {
    client_->flush([this](Result<void> result) {
      if (!result) return end("flush: " + result.error().message());
      std::fflush(journal_);
      end("");
    });
  }
  std::FILE* journal_;
  Duration interval_;
  Instant due_;
  std::uint64_t sequence_ = 0;
  Bytes record_;
};

class LatencyReader final : public Worker {
 public:
  LatencyReader(net::EventLoop& loop, std::vector<std::uint64_t> blocks, const char* report)
      : Worker(loop, std::move(blocks)), report_(report), buffer_(kRecordSize) {}

 private:
  void next() override {
    if (stopping_) return finish();
    const Instant begin = loop_.now();
    client_->read(blocks_[random_.below(blocks_.size())] * kRecordSize, buffer_, [this, begin](Result<void> result) {
      if (!result) return end("read: " + result.error().message());
      latencies_.push_back((loop_.now() - begin).as_seconds() * 1e3);
      loop_.schedule(loop_.now() + Duration::milliseconds(2), [this] { next(); });
    });
  }
  void finish() {
    std::sort(latencies_.begin(), latencies_.end());
    const auto at = [&](double q) {
      return latencies_.empty() ? 0.0 : latencies_[static_cast<std::size_t>(q * static_cast<double>(latencies_.size() - 1))];
    };
    std::FILE* file = std::fopen(report_, "w");
    if (file == nullptr) return end(std::string("can not write ") + report_);
    std::fprintf(file, "{\"reads\": %zu, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", latencies_.size(), at(0.5), at(0.99));
    std::fclose(file);
    end("");
  }
  const char* report_;
  Random random_{1};
  Bytes buffer_;
  std::vector<double> latencies_;
};

class Image {
 public:
  explicit Image(const char* path) : descriptor_(open(path, O_RDONLY | O_CLOEXEC)) {}
  ~Image() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  bool is_open() const { return descriptor_ >= 0; }
  std::size_t read(std::uint64_t offset, MutableBytes into) const {
    std::size_t got = 0;
    while (got < into.size()) {
      const ssize_t n = pread(descriptor_, into.data() + got, into.size() - got, static_cast<off_t>(offset + got));
      if (n <= 0) break;
      got += static_cast<std::size_t>(n);
    }
    return got;
  }

 private:
  int descriptor_;
};

int replay(const char* image_path, const char* journal_path) {
  const Image image(image_path);
  if (!image.is_open()) return fail_with(std::string("can not open ") + image_path);
  std::map<std::uint64_t, std::uint64_t> newest;  // block -> sequence
  for (const JournalLine& line : read_journal(journal_path)) newest[line.block] = line.sequence;
  Sha256Stream digest;
  Bytes chunk(1 << 20);
  for (std::uint64_t offset = 0;; offset += chunk.size()) {
    const std::size_t got = image.read(offset, chunk);
    for (auto it = newest.lower_bound(offset / kRecordSize); it != newest.end() && it->first * kRecordSize < offset + got; ++it) {
      const Bytes record = make_record(it->second, it->first);
      std::copy(record.begin(), record.end(), chunk.begin() + static_cast<std::ptrdiff_t>(it->first * kRecordSize - offset));
    }
    digest.update(ConstBytes(chunk).first(got));
    if (got < chunk.size()) break;
  }
  const Sha256 hash = digest.finish();
  std::printf("%s\n", to_hex(hash).c_str());
  return 0;
}

int verify(const char* image_path, const char* blocks_path, const char* journal_path) {
  const Image image(image_path);
  if (!image.is_open()) return fail_with(std::string("can not open ") + image_path);
  const std::vector<JournalLine> journal = read_journal(journal_path);
  std::map<std::uint64_t, std::uint64_t> count;
  Bytes bytes(kRecordSize);
  for (std::uint64_t block : read_blocks(blocks_path)) {
    image.read(block * kRecordSize, bytes);
    const auto record = read_record(bytes);
    if (record && record->second == block) ++count[record->first];
  }
  for (const JournalLine& line : journal)
    if (count[line.sequence] != 1)
      return fail_with("record " + std::to_string(line.sequence) + " stands there " + std::to_string(count[line.sequence]) +
                       " times");
  if (count.size() != journal.size())
    return fail_with(std::to_string(count.size()) + " records found, " + std::to_string(journal.size()) + " were acknowledged");
  std::printf("%zu\n", journal.size());
  return 0;
}

int run(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == "replay" && argc == 4) return replay(argv[2], argv[3]);
  if (verb == "verify" && argc == 5) return verify(argv[2], argv[3], argv[4]);
  net::EventLoop loop;
  if (verb == "write" && argc == 7)
    return RecordWriter(loop, read_blocks(argv[4]), argv[5], std::atof(argv[6])).run(argv[2], argv[3]);
  if (verb == "read" && argc == 6) return LatencyReader(loop, read_blocks(argv[4]), argv[5]).run(argv[2], argv[3]);
  return fail_with(
             "usage: write NBD EXPORT BLOCKS JOURNAL RATE | read NBD EXPORT BLOCKS REPORT | replay IMAGE JOURNAL | verify IMAGE "
             "BLOCKS JOURNAL"),
         2;
}

}  // namespace
}  // namespace godwit

int main(int argc, char** argv) {
  return godwit::run(argc, argv);
}
