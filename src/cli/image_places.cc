#include "cli/image_places.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/http_blobs.h"
#include "chunks/driver/http_client.h"
#include "chunks/driver/index_file.h"
#include "chunks/driver/remote_process.h"
#include "chunks/driver/remote_transfer.h"
#include "store/directory_blobs.h"

namespace godwit::cli {

namespace {

using chunks::RemoteLocator;
using Kind = RemoteLocator::Kind;

// An index of a blob of 100 TB; more is nobody's index.
constexpr std::uint64_t kIndexBytesMax = std::uint64_t{64} << 30;

bool is_http(const RemoteLocator& locator) {
  return locator.scheme() == "http" || locator.scheme() == "https";
}

// Runs a loop of its own until `start`'s call has ended.
template <class Start>
Result<void> run_until_done(net::EventLoop& loop, Start start) {
  std::optional<Result<void>> result;
  start([&](Result<void> done) {
    result = std::move(done);
    loop.stop();
  });
  if (!result) loop.run();
  return result ? std::move(*result) : fail(ErrorKind::cancelled, "interrupted");
}

Result<Bytes> fetch_by_http(const std::string& url) {
  net::EventLoop loop;
  chunks::HttpClient client(loop);
  Bytes body;
  const Result<void> got = run_until_done(loop, [&](net::Done<void> done) {
    client.get(url, kIndexBytesMax, [&body, url, done = std::move(done)](Result<chunks::HttpAnswer> answer) mutable {
      if (!answer) return done(fail(std::move(answer).error()));
      if (answer->status == 404) return done(fail(ErrorKind::not_found, chunks::url_for_people(url) + " is not there"));
      if (answer->status != 200)
        return done(fail(ErrorKind::io,
                         fmt::format("{}: the server answered with status {}", chunks::url_for_people(url), answer->status)));
      body = std::move(answer->body);
      done({});
    });
  });
  if (!got) return fail(got.error());
  return body;
}

Result<Bytes> fetch_by_command(const RemoteLocator& index) {
  const auto words =
      chunks::remote_command(chunks::hello::kPullIndex, {nullptr, &index, nullptr, {}}, chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  net::EventLoop loop;
  Result<chunks::RemoteConnection> connection = chunks::connect_by_command(loop, *words)();
  if (!connection) return fail(std::move(connection).error());
  Bytes bytes;
  const auto sink = [&bytes](ConstBytes piece) -> Result<void> {
    if (bytes.size() + piece.size() > kIndexBytesMax) return fail(ErrorKind::limit, "the remote's index does not end");
    append(bytes, piece);
    return {};
  };
  std::unique_ptr<chunks::RemoteTransfer> transfer;
  std::optional<Error> refused;
  const Result<void> pulled = run_until_done(loop, [&](net::Done<void> done) {
    auto started = chunks::pull_from_remote(loop, std::move(*connection), chunks::wire::File::index, sink, std::move(done));
    if (started)
      transfer = std::move(*started);
    else
      refused = started.error();
  });
  if (refused) return fail(*refused);
  if (!pulled) return fail(pulled.error());
  return bytes;
}

std::string title_of(const RemoteLocator& locator) {
  return locator.kind == Kind::ssh ? locator.host + ":" + locator.path : chunks::url_for_people(locator.path);
}

}  // namespace

bool is_remote_place(const std::string& place) {
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  return locator && locator->kind != Kind::path;
}

Result<chunks::Index> read_index(const std::string& place) {
  if (place == "-") return chunks::read_index_file(place);
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  if (!locator) return fail(locator.error());
  if (locator->kind == Kind::path) return chunks::read_index_file(locator->path);
  Result<Bytes> file = is_http(*locator) ? fetch_by_http(locator->path) : fetch_by_command(*locator);
  if (!file) return fail(std::move(file).error().within("index " + title_of(*locator)));
  Result<chunks::Index> index = chunks::decode_index(*file);
  if (!index) return fail(std::move(index).error().within("index " + title_of(*locator)));
  return index;
}

Result<std::unique_ptr<chunks::ChunkStore>> open_remote_store(const std::string& place, ImageRun& run) {
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  if (!locator) return fail(locator.error());
  if (is_http(*locator)) return chunks::make_chunk_store(chunks::make_http_blobs(locator->path, run.loop()), {}, run.workers());
  const auto words = chunks::remote_command(chunks::hello::kPullChunks, {nullptr, nullptr, &*locator, {}},
                                            chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  return chunks::make_remote_store(title_of(*locator), chunks::connect_by_command(run.loop(), *words), run.loop(), run.workers());
}

namespace {

// A folder for what is made here before it is pushed; gone with the object.
class Workshop {
 public:
  static Result<Workshop> make() {
    const char* chosen = std::getenv("TMPDIR");
    std::string pattern = std::string(chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp") + "/godwit_push_XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) return fail(Error::from_errno(errno, "make the folder " + pattern));
    return Workshop(std::move(pattern));
  }
  Workshop(Workshop&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ~Workshop() {
    std::error_code ignored;  // what stays behind lies in the system's folder for such
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit Workshop(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

Result<void> push_index(const std::string& file, const std::string& chunks_at, const RemoteLocator& index,
                        const RemoteLocator* store) {
  using namespace chunks::hello;
  const chunks::HelloFlags wants = store != nullptr ? kPushIndex | kPushChunks | kPushIndexChunks : kPushIndex;
  const auto words = chunks::remote_command(wants, {nullptr, &index, store, {}}, chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  net::EventLoop loop;
  const std::unique_ptr<net::Workers> workers = net::make_workers(loop, 2);
  Result<chunks::RemoteConnection> connection = chunks::connect_by_command(loop, *words)();
  if (!connection) return fail(std::move(connection).error());
  std::unique_ptr<store::BlobStore> blobs;
  chunks::RemoteUpload upload{wants, file, {}};
  if (store != nullptr) {
    Result<std::unique_ptr<store::BlobStore>> opened = store::make_directory_blobs(chunks_at, true, *workers, loop);
    if (!opened) return fail(std::move(opened).error());
    blobs = std::move(*opened);
    upload.stores.push_back(blobs.get());
  }
  std::unique_ptr<chunks::RemoteTransfer> transfer;
  std::optional<Error> refused;
  Result<void> pushed = run_until_done(loop, [&](net::Done<void> done) {
    auto started = chunks::push_to_remote(loop, *workers, std::move(*connection), upload, std::move(done));
    if (started)
      transfer = std::move(*started);
    else
      refused = started.error();
  });
  if (refused) return fail(*refused);
  return pushed;
}

}  // namespace

int run_remote_make(const Settings& settings, const MakeOptions& options) {
  Console console(settings.json);
  const std::string store_place = store_path(options.store, options.index);
  const Result<RemoteLocator> index = chunks::parse_remote_locator(options.index);
  const Result<RemoteLocator> store = chunks::parse_remote_locator(store_place);
  if (!index) return console.error(index.error());
  if (!store) return console.error(store.error());
  if (index->kind == Kind::url || store->kind == Kind::url)
    return console.error(Error(ErrorKind::unsupported, "a URL is only read: make the image here and copy it, or push it by ssh"));
  if (index->kind == Kind::path)
    return console.error(
        Error(ErrorKind::unsupported,
              "chunks alone can not be pushed to a remote store: the casync protocol has no way to confirm them. "
              "Give the index a place on the same host, " +
                  store->host + ":PATH"));
  const bool both = store->kind == Kind::ssh;
  if (both && store->host != index->host)
    return console.error(Error(ErrorKind::unsupported, "the index and the store lie at two hosts"));
  const Result<Workshop> workshop = Workshop::make();
  if (!workshop) return console.error(workshop.error());
  MakeOptions here = options;
  here.index = *workshop / std::filesystem::path(index->path).filename().string();
  if (both) here.store.store = *workshop / "default.castr";
  if (!both) here.store.store = store->path;
  if (const int made = run_image_make(settings, here); made != kDone) return made;
  const Result<void> pushed = push_index(here.index, here.store.store, *index, both ? &*store : nullptr);
  if (!pushed) return console.error(pushed.error().within("push to " + title_of(*index)));
  return kDone;
}

}  // namespace godwit::cli
