#include "cli/image_extract_command.h"

#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/byte_source.h"
#include "chunks/driver/extract_blob.h"
#include "chunks/driver/seed_cache.h"
#include "cli/image_places.h"
#include "cli/image_seeds.h"
#include "cli/tree_run.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace {

Result<std::uint64_t> parse_offset(const std::string& text, const char* option) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  const Result<std::uint64_t> counted = host::parse_byte_count(text);
  if (!counted) return fail(std::move(counted.error()).within(option));
  return *counted;
}

// How much is digested before it is seen, and may be interrupted.
constexpr std::uint64_t kDigestStepBytes = 16 * 1024 * 1024;

bool is_regular_with_content(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0;
}

void show_extract_progress(ImageRun& run, const std::string& what, const std::string& title, const chunks::ExtractBlob& extract,
                           std::uint64_t size) {
  run.show_progress(what, [&run, &extract, title, size](Progress& progress) {
    progress.title = title;
    progress.bytes_total = size;
    progress.bytes_left = size - extract.bytes_done();
    const chunks::ExtractBlobResult& so_far = extract.so_far();
    const std::uint64_t cached = run.cached_of(so_far.bytes_fetched);
    progress.note = text_of_origins(so_far.bytes_fetched - cached, cached, so_far.bytes_reused + so_far.bytes_zero);
  });
}

}  // namespace

static int run_extract_of_tree(const Settings& settings, const ExtractOptions& options) {
  TreeOptions tree = options.tree;
  tree.punch_holes = options.punch_holes;
  tree.threads = options.threads;
  tree.seeds = options.seeds;
  tree.reflink = options.reflink;
  tree.sync = !options.no_sync;
  tree.target = options.output.empty() ? "." : options.output;
  tree.seed_target = options.seed_output;
  const std::optional<chunks::SeedCache> seed_cache = seed_cache_of(options.seed_cache);
  tree.seed_cache = seed_cache ? &*seed_cache : nullptr;
  return run_with_tree(settings, options.store, tree, options.index, options.subpath,
                       {"extract", [&](Console& console, TreeInput input) {
                          return run_tree_extract(console, tree, std::move(input), tree.target);
                        }});
}

int run_image_extract(const Settings& settings, const ExtractOptions& options) {
  const Result<TreeKind> kind = tree_kind(options.index, options.tree.what);
  if (kind && (*kind == TreeKind::archive || *kind == TreeKind::archive_index)) return run_extract_of_tree(settings, options);
  ImageRun run(settings, options.threads);
  if (!kind) return run.console().error(kind.error());
  if (*kind == TreeKind::directory || options.output.empty() || !options.subpath.empty())
    return run.console().error(Error(ErrorKind::usage, "extract takes an index of a blob and one output, or an archive"));
  const Result<OpenImage> image = open_image(options.index, options.store, run);
  if (!image) return run.console().error(image.error());
  const chunks::Index& index = image->index;
  const bool to_stdout = options.output == "-";
  Result<std::unique_ptr<chunks::BlobOutput>> output = chunks::make_stream_output(STDOUT_FILENO);
  std::vector<std::string> seeds = options.seeds;
  if (!to_stdout) {
    // The old content is only a seed while it stays as it is, beside the new file.
    if (options.seed_output && !options.in_place && is_regular_with_content(options.output)) seeds.push_back(options.output);
    output = chunks::make_file_output(
        options.output, index.blob_size(),
        {.in_place = options.in_place, .punch_holes = options.punch_holes, .reflink = options.reflink, .sync = !options.no_sync});
  }
  if (!output) return run.console().error(output.error());
  const std::optional<chunks::SeedCache> seed_cache = seed_cache_of(options.seed_cache);
  chunks::SeedMap seed_map(index, seed_cache ? &*seed_cache : nullptr);
  chunks::ExtractBlobOptions extract_options;
  extract_options.length = index.blob_size();
  chunks::ExtractBlob extract(index, *image->store, seeds.empty() ? nullptr : &seed_map, **output, extract_options,
                              run.workers());
  if (!to_stdout) show_extract_progress(run, "extract", options.output, extract, index.blob_size());
  run.loop().post([&] {
    add_seeds(seed_map, seeds, options.tree, false, run, [&](Result<void> added) {
      if (!added) return (void)run.end_with(added.error());
      extract.start(run.loop(), [&](Result<chunks::ExtractBlobResult> done) {
        if (!done) return (void)run.end_with(with_advice(Error(done.error()).within("extract " + options.index)));
        // Its chunks are known now: when it is replaced, it is a seed.
        if (!to_stdout && seed_cache && options.seed_output) remember_extracted(*seed_cache, options.output, index);
        if (!to_stdout)
          run.console().event({{"event", "extracted"},
                               {"index", options.index},
                               {"output", options.output},
                               {"size", index.blob_size()},
                               {"bytes_fetched", done->bytes_fetched - run.cached_of(done->bytes_fetched)},
                               {"bytes_cached", run.cached_of(done->bytes_fetched)},
                               {"bytes_reused", done->bytes_reused},
                               {"bytes_shared", done->bytes_shared},
                               {"bytes_zero", done->bytes_zero},
                               {"seed_bytes_read", seed_map.bytes_read()},
                               {"seed_bytes_known", seed_map.bytes_known()},
                               {"seconds", run.seconds()}});
        run.end(kDone);
      });
    });
  });
  return run.run();
}

int run_image_cat(const Settings& settings, const CatOptions& options) {
  ImageRun run(settings, 0);
  const Result<OpenImage> image = open_image(options.index, options.store, run);
  if (!image) return run.console().error(image.error());
  const chunks::Index& index = image->index;
  const Result<std::uint64_t> offset = parse_offset(options.offset.empty() ? "0" : options.offset, "--offset");
  if (!offset) return run.console().error(offset.error());
  const std::uint64_t size = index.blob_size();
  if (*offset > size)
    return run.console().error(
        Error(ErrorKind::usage, fmt::format("--offset: {} lies behind the end of the blob, {}", *offset, size)));
  Result<std::uint64_t> length = size - *offset;
  if (!options.length.empty()) length = parse_offset(options.length, "--length");
  if (!length) return run.console().error(length.error());
  const std::unique_ptr<chunks::BlobOutput> output = chunks::make_stream_output(STDOUT_FILENO);
  chunks::ExtractBlobOptions extract_options;
  extract_options.offset = *offset;
  extract_options.length = std::min(*length, size - *offset);
  chunks::ExtractBlob extract(index, *image->store, nullptr, *output, extract_options, run.workers());
  extract.start(run.loop(), [&](Result<chunks::ExtractBlobResult> done) {
    if (!done) return (void)run.end_with(with_advice(Error(done.error()).within("cat " + options.index)));
    run.end(kDone);
  });
  return run.run();
}

static int digest_of_file(ImageRun& run, const std::string& path, chunks::Digest digest) {
  Result<std::unique_ptr<chunks::ByteSource>> source = chunks::ByteSource::open(path);
  if (!source) return run.console().error(source.error());
  const auto watch = std::make_shared<chunks::StreamWatch>();
  watch->bytes_total = (*source)->size().value_or(0);
  show_tree_progress(run, "digest", path == "-" ? "standard input" : path, watch);
  const auto work = [&] {
    chunks::DigestStream stream(digest);
    Bytes block(1024 * 1024);
    while (!watch->is_stopped) {
      const Result<chunks::ByteSource::Piece> piece = (*source)->read(block);
      if (!piece) return run.console().error(piece.error());
      if (piece->length == 0) {
        const std::string hex = stream.finish().hex();
        run.console().line(hex);
        run.console().event({{"event", "digest"}, {"path", path}, {"digest", hex}});
        return kDone;
      }
      // Piece by piece, so that a large hole can be interrupted too.
      for (std::uint64_t left = piece->length; left > 0 && !watch->is_stopped;) {
        const std::uint64_t length = std::min<std::uint64_t>(left, kDigestStepBytes);
        if (piece->hole)
          stream.update_zeros(length);
        else
          stream.update(ConstBytes(block).subspan(piece->length - left, length));
        left -= length;
        watch->bytes_read += length;
      }
    }
    return kFailed;
  };
  return run.run_beside(work, [&] { watch->is_stopped = true; });
}

int run_image_digest(const Settings& settings, const DigestOptions& options) {
  const Result<TreeKind> kind = tree_kind(options.path, options.tree.what);
  // A whole archive's digest is that of its bytes, which need not be understood; only the archive itself says which it is.
  if (kind && *kind != TreeKind::none && (*kind != TreeKind::archive_index || !options.subpath.empty())) {
    TreeOptions tree = options.tree;
    if (!options.digest.empty()) tree.digest = options.digest;
    return run_with_tree(
        settings, options.store, tree, options.path, options.subpath,
        {"digest", [](Console& console, TreeInput input) { return run_tree_digest(console, std::move(input)); }});
  }
  ImageRun run(settings, 0);
  if (!kind) return run.console().error(kind.error());
  chunks::Digest digest = chunks::Digest::sha512_256;
  if (!options.digest.empty()) {
    const Result<chunks::Digest> named = chunks::digest_of_name(options.digest);
    if (!named) return run.console().error(named.error());
    digest = *named;
  }
  const std::string& what = options.tree.what;
  const bool is_index = what.empty() ? options.path.ends_with(".caibx") || options.path.ends_with(".caidx")
                                     : what == "blob-index" || what == "archive-index";
  if (!is_index) return digest_of_file(run, options.path, digest);
  const Result<OpenImage> image = open_image(options.path, options.store, run);
  if (!image) return run.console().error(image.error());
  const chunks::Index& index = image->index;
  if (options.digest.empty()) digest = index.header.digest();
  std::optional<chunks::ChunkId> result;
  const std::unique_ptr<chunks::BlobOutput> output = chunks::make_digest_output(digest, result);
  chunks::ExtractBlobOptions extract_options;
  extract_options.length = index.blob_size();
  chunks::ExtractBlob extract(index, *image->store, nullptr, *output, extract_options, run.workers());
  show_extract_progress(run, "digest", options.path, extract, index.blob_size());
  extract.start(run.loop(), [&](Result<chunks::ExtractBlobResult> done) {
    if (!done) return (void)run.end_with(with_advice(Error(done.error()).within("digest " + options.path)));
    run.console().line(result->hex());
    run.console().event({{"event", "digest"}, {"path", options.path}, {"digest", result->hex()}});
    run.end(kDone);
  });
  return run.run();
}

}  // namespace godwit::cli
