#include "cli/image_places.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/held_chunk.h"
#include "chunks/driver/http_blobs.h"
#include "chunks/driver/http_client.h"
#include "chunks/driver/index_file.h"
#include "chunks/driver/remote_process.h"
#include "chunks/driver/remote_transfer.h"
#include "chunks/driver/repeated_chunks.h"
#include "store/directory_blobs.h"

namespace godwit::cli {

namespace {

using chunks::RemoteLocator;
using Kind = RemoteLocator::Kind;

// An index of a blob of 100 TB; more is nobody's index.
constexpr std::uint64_t kIndexBytesMax = std::uint64_t{64} << 30;

Result<Bytes> fetch_by_http(const std::string& url, std::uint64_t rate) {
  net::EventLoop loop;
  chunks::HttpClient client(loop, http_options(rate));
  Bytes body;
  const Result<void> got = run_until_done(loop, [&](net::Done<void> done) {
    client.get(url, kIndexBytesMax, [&body, done = std::move(done)](Result<chunks::HttpAnswer> answer) mutable {
      if (!answer) return done(fail(std::move(answer).error()));
      if (answer->status != 200) return done(fail(chunks::error_of_answer(*answer)));
      body = std::move(answer->body);
      done({});
    });
  });
  if (!got) return fail(got.error());
  return body;
}

// Takes an index in pieces.
std::function<Result<void>(ConstBytes)> into(Bytes& bytes) {
  return [&bytes](ConstBytes piece) -> Result<void> {
    if (bytes.size() + piece.size() > kIndexBytesMax) return fail(ErrorKind::limit, "the remote's index does not end");
    append(bytes, piece);
    return {};
  };
}

Result<void> pull_index(const RemoteLocator& place, std::function<Result<void>(ConstBytes)> sink, std::uint64_t rate) {
  const auto words =
      chunks::remote_command(chunks::hello::kPullIndex, {nullptr, &place, nullptr, {}}, chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  net::EventLoop loop;
  Result<chunks::RemoteConnection> connection = connector(loop, *words, rate)();
  if (!connection) return fail(std::move(connection).error());
  std::unique_ptr<chunks::RemoteTransfer> transfer;
  return run_until_done(loop, [&](net::Done<void> done) {
    auto failed = std::make_shared<net::Done<void>>(std::move(done));
    auto started = chunks::pull_from_remote(loop, std::move(*connection), chunks::wire::File::index, std::move(sink),
                                            [failed](Result<void> result) { (*failed)(std::move(result)); });
    if (!started) return (*failed)(fail(started.error()));
    transfer = std::move(*started);
  });
}

}  // namespace

bool is_http(const RemoteLocator& locator) {
  return locator.scheme() == "http" || locator.scheme() == "https";
}

chunks::HttpClientOptions http_options(std::uint64_t rate) {
  chunks::HttpClientOptions options;
  options.bytes_per_second = rate;
  // As OpenSSL's programs and curl do it, for servers whose certificate the system does not know.
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr) options.authorities = file;
  if (const char* folder = std::getenv("SSL_CERT_DIR"); folder != nullptr) options.authorities_folder = folder;
  return options;
}

chunks::RemoteConnector connector(net::EventLoop& loop, std::vector<std::string> words, std::uint64_t rate) {
  (void)std::signal(SIGPIPE, SIG_IGN);  // a far end that is gone is an error of a write, not the end of the process
  return chunks::connect_by_command(loop, std::move(words),
                                    rate == 0 ? nullptr : std::make_shared<chunks::RemoteRate>(rate, loop.now()));
}

std::string title_of(const RemoteLocator& locator) {
  return locator.kind == Kind::ssh ? locator.host + ":" + locator.path : chunks::url_for_people(locator.path);
}

bool is_remote_place(const std::string& place) {
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  return locator && locator->kind != Kind::path;
}

Result<chunks::Index> read_index(const std::string& place, const StoreOptions& options) {
  if (place == "-") return chunks::read_index_file(place);
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  if (!locator) return fail(locator.error());
  if (locator->kind == Kind::path) return chunks::read_index_file(locator->path);
  const Result<std::uint64_t> rate = parse_rate_limit(options.rate_limit);
  if (!rate) return fail(rate.error());
  Result<Bytes> file = Bytes();
  if (is_http(*locator)) {
    file = fetch_by_http(locator->path, *rate);
  } else if (Result<void> got = pull_index(*locator, into(*file), *rate); !got) {
    file = fail(std::move(got).error());
  }
  if (!file) return fail(std::move(file).error().within("index " + title_of(*locator)));
  Result<chunks::Index> index = chunks::decode_index(*file);
  if (!index) return fail(std::move(index).error().within("index " + title_of(*locator)));
  return index;
}

Result<std::unique_ptr<chunks::ChunkStore>> open_remote_store(const std::string& place, const StoreOptions& options,
                                                              ImageRun& run) {
  const Result<RemoteLocator> locator = chunks::parse_remote_locator(place);
  if (!locator) return fail(locator.error());
  const Result<std::uint64_t> rate = parse_rate_limit(options.rate_limit);
  if (!rate) return fail(rate.error());
  if (is_http(*locator))
    return chunks::make_chunk_store(chunks::make_http_blobs(locator->path, run.loop(), http_options(*rate)), {}, run.workers());
  const auto words = chunks::remote_command(chunks::hello::kPullChunks, {nullptr, nullptr, &*locator, {}},
                                            chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  return chunks::make_remote_store(title_of(*locator), connector(run.loop(), *words, *rate), run.loop(), run.workers());
}

namespace {

// Whether one peer of the protocol serves both.
bool are_with_one_peer(const RemoteLocator& index, const RemoteLocator& store) {
  if (index.kind != store.kind || index.kind == Kind::path || is_http(index)) return false;
  return index.kind == Kind::ssh ? index.host == store.host : index.scheme() == store.scheme();
}

Result<OpenImage> open_with_one_peer(const RemoteLocator& index, const RemoteLocator& store, const StoreOptions& options,
                                     ImageRun& run) {
  const Result<std::uint64_t> rate = parse_rate_limit(options.rate_limit);
  if (!rate) return fail(rate.error());
  const auto words = chunks::remote_command(chunks::hello::kPullIndex | chunks::hello::kPullChunks, {nullptr, &index, &store, {}},
                                            chunks::remote_programs_of_environment());
  if (!words) return fail(words.error());
  std::unique_ptr<chunks::RemoteStore> remote =
      chunks::make_remote_store(title_of(store), connector(run.loop(), *words, *rate), run.loop(), run.workers());
  Bytes bytes;
  const Result<void> fetched =
      run_until_done(run.loop(), [&](net::Done<void> done) { remote->fetch_index(into(bytes), std::move(done)); });
  if (!fetched) return fail(fetched.error().within("index " + title_of(index)));
  Result<chunks::Index> decoded = chunks::decode_index(bytes);
  if (!decoded) return fail(std::move(decoded).error().within("index " + title_of(index)));
  std::vector<std::unique_ptr<chunks::ChunkStore>> stores;
  stores.push_back(std::move(remote));
  if (Result<void> opened = open_extra_stores(options, run, stores); !opened) return fail(std::move(opened).error());
  Result<std::unique_ptr<chunks::ChunkStore>> cached =
      put_behind_cache(chunks::make_store_chain(std::move(stores)), options, run);
  if (!cached) return fail(std::move(cached).error());
  return OpenImage{std::move(*decoded), std::move(*cached)};
}

Result<OpenImage> open_as_it_is(const std::string& index_place, const StoreOptions& options, ImageRun& run) {
  const std::string store_place = store_path(options, index_place);
  if (is_remote_place(index_place) && is_remote_place(store_place)) {
    const Result<RemoteLocator> index = chunks::parse_remote_locator(index_place);
    const Result<RemoteLocator> store = chunks::parse_remote_locator(store_place);
    if (index && store && are_with_one_peer(*index, *store)) return open_with_one_peer(*index, *store, options, run);
  }
  Result<chunks::Index> index = read_index(index_place, options);
  if (!index) return fail(std::move(index).error());
  Result<std::unique_ptr<chunks::ChunkStore>> store = open_stores_to_read(store_place, options, !index->entries.empty(), run);
  if (!store) return fail(std::move(store).error());
  return OpenImage{std::move(*index), std::move(*store)};
}

bool has_remote_store(const std::string& index_place, const StoreOptions& options) {
  return is_remote_place(store_path(options, index_place)) || std::ranges::any_of(options.extra_stores, is_remote_place);
}

// Looks at the first chunk. What else is wrong with it is told when it is wanted, which a seed may make needless.
Result<void> correct_digest(OpenImage& image, ImageRun& run) {
  const bool has_archive_flags = (image.index.header.flags & chunks::feature::kWithAll) != 0;
  if (image.index.entries.empty() || !has_archive_flags) return {};
  const chunks::ChunkId id = image.index.entries[0].id;
  Bytes data;
  const auto is_of = [&](chunks::Digest digest) {
    return run_until_done(run.loop(), [&](net::Done<void> done) {
      image.store->get(id, digest, image.index.header.sizes.max, [&data, done = std::move(done)](Result<Bytes> chunk) mutable {
        if (!chunk) return done(fail(std::move(chunk).error()));
        data = std::move(*chunk);
        done({});
      });
    });
  };
  chunks::Digest digest = image.index.header.digest();
  if (const Result<void> right = is_of(digest); !right) {
    if (right.error().kind() == ErrorKind::cancelled) return right;
    const chunks::Digest other = chunks::other_than(digest);
    if (right.error().kind() != ErrorKind::corrupt || !is_of(other)) return {};
    image.index.header.flags = chunks::with_digest(image.index.header.flags, other);
    run.console().warning(fmt::format("the index says that its chunks are named by {}, they are by {}", chunks::name_of(digest),
                                      chunks::name_of(other)));
    digest = other;
  }
  image.store = chunks::make_store_with_chunk(std::move(image.store), id, digest, std::move(data), run.loop());
  return {};
}

}  // namespace

Result<OpenImage> open_image(const std::string& index_place, const StoreOptions& options, ImageRun& run) {
  Result<OpenImage> image = open_as_it_is(index_place, options, run);
  if (!image) return image;
  if (has_remote_store(index_place, options))
    image->store = chunks::make_store_of_repeats(std::move(image->store), chunks::repeats_of(image->index), run.loop());
  if (Result<void> corrected = correct_digest(*image, run); !corrected) return fail(std::move(corrected).error());
  return image;
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

// After a cut, before the next connection: long enough for an ssh that is being restarted, short for a person.
constexpr Duration kPauseAfterCut = Duration::seconds(1);

struct Push {
  chunks::HelloFlags wants = 0;
  chunks::RemoteOperands operands;
  std::string title;  // of the place it goes to
  std::string file;
  std::string chunks_at;  // the store of its chunks, where these go too
  std::uint64_t rate = 0;

  bool has_chunks() const { return (wants & chunks::hello::kPushChunks) != 0; }
};

// How many chunks an index names, each once.
Result<std::uint64_t> count_different_chunks(const std::string& path) {
  const Result<chunks::Index> index = chunks::read_index_file(path);
  if (!index) return fail(index.error());
  std::unordered_set<chunks::ChunkId> ids;
  for (const chunks::IndexEntry& entry : index->entries) ids.insert(entry.id);
  return ids.size();
}

// What the remote still wants is known by number alone, so its bytes are guessed by those that it got.
void look_at_push(const chunks::RemoteCounts& counts, std::uint64_t file_size, bool has_chunks, Progress& progress) {
  const std::uint64_t chunks_left = counts.chunks_asked - std::min(counts.chunks_asked, counts.chunks_sent);
  const std::uint64_t chunk_size = counts.chunks_sent == 0 ? 0 : counts.chunk_bytes / counts.chunks_sent;
  progress.bytes_left = file_size - std::min(file_size, counts.file_bytes) + chunks_left * chunk_size;
  progress.bytes_total = counts.file_bytes + counts.chunk_bytes + progress.bytes_left;
  progress.is_total_known = !has_chunks || counts.chunks_sent > 0;
  if (has_chunks) progress.note = fmt::format("{} of {} chunks that it has not", counts.chunks_sent, counts.chunks_asked);
}

void tell_pushed(ImageRun& run, const Push& push, const chunks::RemoteCounts& counts, std::uint64_t chunk_count) {
  boost::json::object event = {{"event", "pushed"}, {"to", push.title}, {"bytes", counts.file_bytes + counts.chunk_bytes}};
  if (push.has_chunks()) {
    event["chunks"] = chunk_count;
    event["chunks_sent"] = counts.chunks_sent;
    // After a cut, some were sent twice.
    event["chunks_there"] = chunk_count - std::min(chunk_count, counts.chunks_sent);
  }
  event["seconds"] = run.seconds();
  run.console().event(event);
}

int run_push(const Settings& settings, const Push& push) {
  ImageRun run(settings, 1);
  const auto refuse = [&](const Error& error) { return run.console().error(Error(error).within("push to " + push.title)); };
  const auto words = chunks::remote_command(push.wants, push.operands, chunks::remote_programs_of_environment());
  if (!words) return refuse(words.error());
  std::unique_ptr<store::BlobStore> blobs;
  chunks::RemoteUpload upload{push.wants, push.file, {}};
  Result<std::uint64_t> chunk_count = 0;
  if (push.has_chunks()) {
    Result<std::unique_ptr<store::BlobStore>> opened =
        store::make_directory_blobs(push.chunks_at, true, run.workers(), run.loop());
    if (!opened) return refuse(opened.error());
    blobs = std::move(*opened);
    upload.stores.push_back(blobs.get());
    chunk_count = count_different_chunks(push.file);
    if (!chunk_count) return refuse(chunk_count.error());
  }
  std::error_code no_size;
  const std::uint64_t file_size = std::filesystem::file_size(push.file, no_size);
  if (no_size) return refuse(Error(ErrorKind::io, "look at " + push.file + ": " + no_size.message()));
  std::unique_ptr<chunks::RemoteTransfer> transfer;
  run.show_progress("push", [&](Progress& progress) {
    progress.title = push.title;
    look_at_push(transfer ? transfer->so_far() : chunks::RemoteCounts(), file_size, push.has_chunks(), progress);
  });
  run.loop().post([&] {
    auto started = chunks::push_over_cuts(run.loop(), run.workers(), connector(run.loop(), *words, push.rate), upload,
                                          kPauseAfterCut, [&](Result<void> pushed) {
                                            if (!pushed) return run.end(refuse(pushed.error()));
                                            tell_pushed(run, push, transfer->so_far(), *chunk_count);
                                            run.end(kDone);
                                          });
    if (!started) return run.end(refuse(started.error()));
    transfer = std::move(*started);
  });
  return run.run();
}

}  // namespace

static int push_archive(const Settings& settings, const MakeOptions& options, const RemoteLocator& archive, std::uint64_t rate) {
  Console console(settings.json);
  const Result<Workshop> workshop = Workshop::make();
  if (!workshop) return console.error(workshop.error());
  const std::string file = *workshop / std::filesystem::path(archive.path).filename().string();
  if (const int made = run_tree_make(settings, options.tree, file, options.input.empty() ? "." : options.input); made != kDone)
    return made;
  return run_push(settings, {chunks::hello::kPushArchive, {&archive, nullptr, nullptr, {}}, title_of(archive), file, "", rate});
}

int run_remote_make(const Settings& settings, const MakeOptions& options, TreeKind kind) {
  using namespace chunks::hello;
  Console console(settings.json);
  const std::string store_place = store_path(options.store, options.index);
  const Result<RemoteLocator> index = chunks::parse_remote_locator(options.index);
  const Result<RemoteLocator> store = chunks::parse_remote_locator(store_place);
  const Result<std::uint64_t> rate = parse_rate_limit(options.store.rate_limit);
  if (!index) return console.error(index.error());
  if (!store) return console.error(store.error());
  if (!rate) return console.error(rate.error());
  const bool is_archive = kind == TreeKind::archive;
  if (index->kind == Kind::url || (!is_archive && store->kind == Kind::url))
    return console.error(Error(ErrorKind::unsupported, "a URL is only read: make the image here and copy it, or push it by ssh"));
  if (is_archive) return push_archive(settings, options, *index, *rate);
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
  here.store.store = both ? *workshop / "default.castr" : store->path;
  here.no_sync = both || options.no_sync;  // the workshop is gone when it has been pushed
  if (const int made = run_image_make(settings, here); made != kDone) return made;
  const chunks::HelloFlags wants = both ? kPushIndex | kPushChunks | kPushIndexChunks : kPushIndex;
  return run_push(
      settings, {wants, {nullptr, &*index, both ? &*store : nullptr, {}}, title_of(*index), here.index, here.store.store, *rate});
}

}  // namespace godwit::cli
