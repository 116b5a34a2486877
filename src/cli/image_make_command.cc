#include "cli/image_make_command.h"

#include <utility>

#include <fmt/format.h>

#include "chunks/driver/make_blob.h"
#include "cli/image_places.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace {

Result<chunks::MakeBlobOptions> make_options(const MakeOptions& options, unsigned threads) {
  chunks::MakeBlobOptions made;
  chunks::ChunkSizes sizes;
  if (!options.chunk_size.empty()) {
    const Result<chunks::ChunkSizes> parsed = chunks::parse_chunk_sizes(options.chunk_size);
    if (!parsed) return fail(std::move(parsed.error()).within("--chunk-size"));
    sizes = *parsed;
  }
  if (!options.fixed.empty()) {
    if (!options.chunk_size.empty()) return fail(ErrorKind::usage, "--fixed says what size chunks have: leave out --chunk-size");
    const Result<std::uint32_t> block = host::parse_block_size(options.fixed);
    if (!block) return fail(ErrorKind::usage, block.error().within("--fixed").message());
    sizes = {*block, *block, *block};
  }
  const Result<chunks::CutRule> rule = chunks::CutRule::of(sizes);
  if (!rule) return fail(ErrorKind::usage, "--chunk-size: " + rule.error().message());
  const Result<chunks::Digest> digest = chunks::digest_of_name(options.digest);
  if (!digest) return fail(digest.error());
  made.stream = {.rule = *rule, .digest = *digest, .digest_stream = !options.no_digest, .threads = threads};
  made.sync = !options.no_sync;
  return made;
}

// Blocks of a volume go by SHA-256, whatever else is usual.
Result<std::string> digest_of(const MakeOptions& options) {
  if (options.fixed.empty()) return options.digest.empty() ? std::string("sha512-256") : options.digest;
  if (!options.digest.empty() && options.digest != "sha256")
    return fail(ErrorKind::usage, "--fixed: blocks of volumes are named by SHA-256: leave out --digest");
  return "sha256";
}

void tell_end(ImageRun& run, const chunks::MakeBlobResult& made, const MakeOptions& options) {
  const std::string digest = made.stream.digest ? made.stream.digest->hex() : "";
  run.console().event({{"event", "made"},
                       {"index", options.index},
                       {"size", made.stream.size},
                       {"chunks", made.stream.chunk_count},
                       {"new_chunks", made.new_chunks},
                       {"new_bytes", made.new_bytes},
                       {"digest", digest},
                       {"seconds", run.seconds()}});
  // An index on standard output has it for itself.
  if (!digest.empty() && options.index != "-") run.console().line(digest);
}

}  // namespace

// What is to be read: for an index of a tree, its archive as it is made.
static Result<std::unique_ptr<chunks::ByteSource>> open_source(const MakeOptions& options, TreeKind kind) {
  if (kind != TreeKind::archive_index) return chunks::ByteSource::open(options.input.empty() ? "-" : options.input);
  const std::string folder = options.input.empty() ? "." : options.input;
  const Result<chunks::FeatureFlags> features = options.tree.archive_features();
  if (!features) return fail(features.error());
  const Result<chunks::UidShift> shift = options.tree.shift(folder);
  if (!shift) return fail(shift.error());
  Result<std::unique_ptr<chunks::TreeSource>> tree = chunks::TreeSource::open(folder, {*features, *shift});
  if (!tree) return fail(std::move(tree).error());
  return chunks::ByteSource::made_by([tree = std::move(*tree)](MutableBytes into) { return tree->read(into); }, folder, 0666);
}

int run_image_make(const Settings& settings, const MakeOptions& given) {
  MakeOptions options = given;
  const Result<std::string> digest = digest_of(given);
  const Result<TreeKind> kind = tree_kind(options.index, options.tree.what);
  if (!digest) return Console(settings.json).error(digest.error());
  if (!options.fixed.empty() && kind && *kind != TreeKind::none)
    return Console(settings.json).error(Error(ErrorKind::usage, "--fixed is for blobs: " + options.index + " is of a tree"));
  options.tree.digest = options.digest = *digest;
  const bool has_chunks = !kind || *kind != TreeKind::archive;
  if (kind && (is_remote_place(options.index) || (has_chunks && is_remote_place(store_path(options.store, options.index)))))
    return run_remote_make(settings, options, *kind);
  if (kind && *kind == TreeKind::archive) {
    Console console(settings.json);
    return run_tree_make(console, options.tree, options.index, options.input.empty() ? "." : options.input);
  }
  ImageRun run(settings, options.threads);
  if (!kind) return run.console().error(kind.error());
  Result<chunks::MakeBlobOptions> make = make_options(options, run.threads());
  if (!make) return run.console().error(make.error());
  const bool is_tree = *kind == TreeKind::archive_index;
  const Result<chunks::FeatureFlags> features = is_tree ? options.tree.archive_features() : options.tree.blob_features();
  if (!features) return run.console().error(features.error());
  make->flags = *features;
  Result<std::unique_ptr<chunks::ByteSource>> source = open_source(options, *kind);
  if (!source) return run.console().error(source.error());
  const std::uint64_t size = (*source)->size().value_or(0);
  const std::string path = store_path(options.store, options.index);
  const Result<std::unique_ptr<chunks::ChunkStore>> store = open_store_to_write(path, options.store, run);
  if (!store) return run.console().error(store.error());
  const Result<chunks::StoreLock> lock = chunks::StoreLock::take(path, chunks::StoreLock::Kind::adding);
  if (!lock && lock.error().kind() == ErrorKind::busy) return run.console().error(lock.error());
  const auto making = chunks::MakeBlob::create(std::move(*source), options.index, **store, *make, run.workers(), run.loop());
  if (!making) return run.console().error(making.error());
  chunks::MakeBlob& blob = **making;
  if (options.index != "-")
    run.show_progress("make", [&blob, size, &options](Progress& progress) {
      progress.title = options.input == "-" || options.input.empty() ? "standard input" : options.input;
      progress.bytes_total = std::max(size, blob.bytes_read());
      progress.bytes_left = progress.bytes_total - blob.bytes_read();
      progress.note = host::text_of_bytes(blob.new_bytes()) + " new";
    });
  blob.start([&](Result<chunks::MakeBlobResult> made) {
    if (!made) return (void)run.end_with(made.error().within("make " + options.index));
    tell_end(run, *made, options);
    run.end(kDone);
  });
  return run.run();
}

}  // namespace godwit::cli
