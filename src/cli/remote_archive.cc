#include "cli/remote_archive.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/http_file.h"
#include "chunks/driver/remote_process.h"
#include "chunks/driver/remote_transfer.h"
#include "cli/image_places.h"
#include "host/quantity.h"
#include "store/file_device.h"

namespace godwit::cli {

namespace {

using chunks::RemoteLocator;

// A temporary file, written from its front.
class Spool {
 public:
  static Result<Spool> make() {
    const char* chosen = std::getenv("TMPDIR");
    Spool spool;
    spool.folder_ = chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
    std::string name = spool.folder_ + "/godwit_archive_XXXXXX";
    spool.file_.reset(::mkostemp(name.data(), O_CLOEXEC));
    if (!spool.file_.is_open()) return fail(Error::from_errno(errno, "make the temporary file " + name));
    (void)::unlink(name.c_str());  // it goes with its descriptor, however this process ends
    std::error_code error;
    // The rest is for others: nobody asked for a disk that is full to the brim.
    if (const std::filesystem::space_info space = std::filesystem::space(spool.folder_, error); !error)
      spool.bytes_max_ = space.available / 10 * 9;
    return spool;
  }

  Result<void> write(std::uint64_t offset, ConstBytes piece) const {
    if (piece.size() > bytes_max_ || offset > bytes_max_ - piece.size())
      return fail(
          ErrorKind::no_space,
          fmt::format("it is read here in a temporary file, and takes more than {}, nine tenths of what is free in {}: let "
                      "TMPDIR name a folder with more room",
                      host::text_of_bytes(bytes_max_), folder_));
    while (!piece.empty()) {
      const ssize_t count = ::pwrite(file_.get(), piece.data(), piece.size(), static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail(Error::from_errno(errno, "write to a temporary file in " + folder_));
      offset += static_cast<std::uint64_t>(count);
      piece = piece.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }
  net::Descriptor take() { return std::move(file_); }

 private:
  net::Descriptor file_;
  std::string folder_;
  std::uint64_t bytes_max_ = ~std::uint64_t{0};
};

Result<void> fetch_by_http(const std::string& url, std::uint64_t rate, const Spool& spool, std::atomic<std::uint64_t>& bytes,
                           ImageRun& run) {
  chunks::HttpClient client(run.loop(), http_options(rate));
  const auto sink = [&](std::uint64_t offset, ConstBytes piece) {
    Result<void> written = spool.write(offset, piece);
    bytes = offset + piece.size();
    return written;
  };
  return run.wait_for([&](net::Done<void> done) {
    client.get_into(url, ~std::uint64_t{0}, sink, [done = std::move(done)](Result<chunks::HttpAnswer> answer) mutable {
      if (!answer) return done(fail(std::move(answer).error()));
      if (answer->status != 200) return done(fail(chunks::error_of_answer(*answer)));
      done({});
    });
  });
}

Result<void> pull_by_command(const RemoteLocator& place, std::uint64_t rate, const Spool& spool,
                             std::atomic<std::uint64_t>& bytes, ImageRun& run) {
  const auto words = chunks::remote_command(chunks::hello::kPullArchive, {&place, nullptr, nullptr, {}},
                                            chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  Result<chunks::RemoteConnection> connection = connector(run.loop(), *words, rate)();
  if (!connection) return fail(std::move(connection).error());
  const auto sink = [&](ConstBytes piece) {
    Result<void> written = spool.write(bytes, piece);
    bytes += piece.size();
    return written;
  };
  std::unique_ptr<chunks::RemoteTransfer> transfer;
  return run.wait_for([&](net::Done<void> done) {
    auto end = std::make_shared<net::Done<void>>(std::move(done));
    auto started = chunks::pull_from_remote(run.loop(), std::move(*connection), chunks::wire::File::archive, sink,
                                            [end](Result<void> result) { (*end)(std::move(result)); });
    if (!started) return (*end)(fail(started.error()));
    transfer = std::move(*started);
  });
}

// On a worker, which looks now and then whether it is still wanted: whoever is to write may never do so.
Result<void> read_standard_input(const Spool& spool, std::atomic<std::uint64_t>& bytes, const std::atomic<bool>& stopped) {
  constexpr int kLookMilliseconds = 100;
  Bytes piece(std::size_t{256} * 1024);
  while (!stopped) {
    ::pollfd waited{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&waited, 1, kLookMilliseconds) == 0) continue;
    const ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (count == 0) return {};
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) return fail(Error::from_errno(errno, "read"));
    if (Result<void> written = spool.write(bytes, ConstBytes(piece).first(static_cast<std::size_t>(count))); !written)
      return written;
    bytes += static_cast<std::uint64_t>(count);
  }
  return fail(ErrorKind::cancelled, "interrupted");
}

Result<void> take_standard_input(const Spool& spool, std::atomic<std::uint64_t>& bytes, ImageRun& run) {
  std::atomic<bool> stopped = false;
  Result<void> taken = fail(ErrorKind::cancelled, "interrupted");
  std::thread reader;
  const Result<void> waited = run.wait_for([&](net::Done<void> done) {
    reader = std::thread([&, done = std::move(done)]() mutable {
      taken = read_standard_input(spool, bytes, stopped);
      run.loop().post([done = std::move(done)]() mutable { done({}); });
    });
  });
  stopped = true;
  reader.join();
  return waited ? taken : waited;
}

std::string title_of_place(const std::string& place) {
  if (place == "-") return "standard input";
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  return locator ? title_of(*locator) : place;
}

Result<void> take_all(const std::string& place, const StoreOptions& store, const Spool& spool, std::atomic<std::uint64_t>& bytes,
                      ImageRun& run) {
  if (place == "-") return take_standard_input(spool, bytes, run);
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  if (!locator) return fail(locator.error());
  const Result<std::uint64_t> rate = parse_rate_limit(store.rate_limit);
  if (!rate) return fail(rate.error());
  return is_http(*locator) ? fetch_by_http(locator->path, *rate, spool, bytes, run)
                           : pull_by_command(*locator, *rate, spool, bytes, run);
}

}  // namespace

bool is_archive_elsewhere(const std::string& place) {
  return place == "-" || is_remote_place(place);
}

RemoteArchive::~RemoteArchive() = default;

Result<void> RemoteArchive::spool(const std::string& place, const RemoteArchiveOptions& options, ImageRun& run) {
  const std::string title = title_of_place(place);
  Result<Spool> spool = Spool::make();
  if (!spool) return fail(spool.error());
  std::atomic<std::uint64_t> bytes = 0;
  if (options.shows_progress)
    run.show_progress("fetch", [&](Progress& progress) {
      progress.title = title;
      progress.is_total_known = false;
      progress.bytes_total = bytes;
    });
  Result<void> got = take_all(place, options.store, *spool, bytes, run);
  run.show_progress("", nullptr);
  if (!got) return fail(std::move(got).error().within("archive " + title));
  if (options.shows_progress)
    run.console().event({{"event", "fetched"}, {"from", title}, {"bytes", bytes.load()}, {"seconds", run.seconds()}});
  file_ = spool->take();
  Result<std::unique_ptr<store::BlockDevice>> device =
      store::open_file_device(fmt::format("/proc/self/fd/{}", file_.get()), true, run.loop(), run.workers());
  if (!device) return fail(std::move(device).error().within("archive " + title));
  device_ = std::move(*device);
  return {};
}

Result<std::unique_ptr<RemoteArchive>> RemoteArchive::open(const std::string& place, const RemoteArchiveOptions& options,
                                                           ImageRun& run) {
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  if (!locator) return fail(locator.error());
  const Result<std::uint64_t> rate = parse_rate_limit(options.store.rate_limit);
  if (!rate) return fail(rate.error());
  std::unique_ptr<RemoteArchive> archive(new RemoteArchive());
  if (place != "-" && is_http(*locator)) {
    auto file = std::make_unique<chunks::HttpFile>(locator->path, run.loop(), http_options(*rate),
                                                   chunks::HttpFileOptions{.cache_bytes_max = options.cache_bytes_max});
    Result<void> opened = run.wait_for([&](net::Done<void> done) { file->open(std::move(done)); });
    if (opened) {
      archive->device_ = std::move(file);
      archive->is_ranged_ = true;
      return archive;
    }
    if (opened.error().kind() != ErrorKind::unsupported)
      return fail(std::move(opened).error().within("archive " + title_of(*locator)));
  }
  if (Result<void> spooled = archive->spool(place, options, run); !spooled) return fail(std::move(spooled).error());
  return archive;
}

std::uint64_t RemoteArchive::bytes_fetched() const {
  return is_ranged_ ? static_cast<const chunks::HttpFile&>(*device_).bytes_fetched() : device_->size();
}

}  // namespace godwit::cli
