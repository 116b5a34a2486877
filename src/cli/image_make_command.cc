#include "cli/image_make_command.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "chunks/driver/archive_chunks.h"
#include "chunks/driver/encoder_cache_folder.h"
#include "chunks/driver/make_blob.h"
#include "cli/image_places.h"
#include "cli/user_cache.h"
#include "host/quantity.h"

namespace godwit::cli {

namespace {

bool wants_cache(const MakeOptions& options) {
  return options.cache_auto || !options.cache.empty();
}

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
  // Of what is not read there is none.
  const bool digest_stream = !options.no_digest && !wants_cache(options);
  made.stream = {.rule = *rule, .digest = *digest, .digest_stream = digest_stream, .threads = threads};
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
                       {"known_bytes", made.stream.known_bytes},
                       {"digest", digest},
                       {"seconds", run.seconds()}});
  // An index on standard output has it for itself.
  if (!digest.empty() && options.index != "-") run.console().line(digest);
}

// A file that was changed so shortly before its bytes are read may change again and keep its times: these are as fine as the file
// system has them (two seconds at worst), and one who writes through a mapping sets them once until the kernel has written out,
// which it does within half a minute.
constexpr std::chrono::seconds kSettlesWithin{60};

// What is kept of a tree from make to make.
struct KeptTree {
  chunks::EncoderCacheFolder folder;
  std::string tree;
  chunks::FeatureFlags features = 0;
  chunks::EncoderCache cache;

  Result<void> save() const { return folder.save(tree, features, cache); }
};

Result<KeptTree> load_kept(const MakeOptions& options, const chunks::MakeBlobOptions& make) {
  const std::string folder = !options.cache.empty() ? options.cache : user_cache_folder("encoder");
  if (folder.empty()) return fail(ErrorKind::usage, "--cache-auto: there is no HOME to keep a cache in; say --cache FOLDER");
  KeptTree kept{chunks::EncoderCacheFolder(folder), options.input.empty() ? "." : options.input, make.flags, {}};
  kept.cache = kept.folder.load(kept.tree, kept.features, make.stream.rule.sizes(), make.stream.digest);
  return kept;
}

Result<std::unique_ptr<chunks::TreeWalker>> open_tree(const KeptTree& kept, const MakeOptions& options) {
  const Result<chunks::UidShift> shift = options.tree.shift(kept.tree);
  if (!shift) return fail(shift.error());
  const auto settled = std::chrono::system_clock::now() - kSettlesWithin;
  return chunks::TreeWalker::open(
      kept.tree, {.features = kept.features,
                  .shift = *shift,
                  .settled_before_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(settled.time_since_epoch()).count()});
}

// For an index of a tree, its archive as it is made.
Result<std::unique_ptr<chunks::ByteSource>> open_source(const MakeOptions& options, TreeKind kind) {
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

// What is to be read.
struct Input {
  std::unique_ptr<chunks::ByteSource> bytes;
  // In place of bytes: a tree of which something may be known.
  std::unique_ptr<chunks::TreeWalker> tree;
  std::optional<KeptTree> kept;

  static Result<Input> open(const MakeOptions& options, TreeKind kind, const chunks::MakeBlobOptions& make);
  // Once. Borrows this for its life.
  Result<std::unique_ptr<chunks::MakeBlob>> make_index(const std::string& index, chunks::ChunkStore& store,
                                                       const chunks::MakeBlobOptions& make, ImageRun& run);
};

Result<Input> Input::open(const MakeOptions& options, TreeKind kind, const chunks::MakeBlobOptions& make) {
  Input input;
  if (!wants_cache(options)) {
    Result<std::unique_ptr<chunks::ByteSource>> source = open_source(options, kind);
    if (!source) return fail(std::move(source).error());
    input.bytes = std::move(*source);
    return input;
  }
  Result<KeptTree> kept = load_kept(options, make);
  if (!kept) return fail(std::move(kept).error());
  Result<std::unique_ptr<chunks::TreeWalker>> tree = open_tree(*kept, options);
  if (!tree) return fail(std::move(tree).error());
  input.tree = std::move(*tree);
  input.kept = std::move(*kept);
  return input;
}

Result<std::unique_ptr<chunks::MakeBlob>> Input::make_index(const std::string& index, chunks::ChunkStore& store,
                                                            const chunks::MakeBlobOptions& make, ImageRun& run) {
  if (!kept) return chunks::MakeBlob::create(std::move(bytes), index, store, make, run.workers(), run.loop());
  auto chunks_of_tree =
      std::make_unique<chunks::ArchiveChunks>(std::move(tree), kept->cache, &store, make.stream, run.workers(), run.loop());
  return chunks::MakeBlob::create(std::move(chunks_of_tree), 0666, index, store, make, run.workers());
}

}  // namespace

int run_image_make(const Settings& settings, const MakeOptions& given) {
  MakeOptions options = given;
  const Result<std::string> digest = digest_of(given);
  const Result<TreeKind> kind = tree_kind(options.index, options.tree.what);
  if (!digest) return Console(settings.json).error(digest.error());
  if (wants_cache(options) && kind && *kind != TreeKind::archive_index)
    return Console(settings.json)
        .error(Error(ErrorKind::usage, "--cache is for the index of a tree (.caidx), which " + options.index + " is not"));
  if (!options.fixed.empty() && kind && *kind != TreeKind::none)
    return Console(settings.json).error(Error(ErrorKind::usage, "--fixed is for blobs: " + options.index + " is of a tree"));
  options.tree.digest = options.digest = *digest;
  const bool has_chunks = !kind || *kind != TreeKind::archive;
  if (kind && (is_remote_place(options.index) || (has_chunks && is_remote_place(store_path(options.store, options.index)))))
    return run_remote_make(settings, options, *kind);
  if (kind && *kind == TreeKind::archive)
    return run_tree_make(settings, options.tree, options.index, options.input.empty() ? "." : options.input);
  ImageRun run(settings, options.threads);
  if (!kind) return run.console().error(kind.error());
  Result<chunks::MakeBlobOptions> make = make_options(options, run.threads());
  if (!make) return run.console().error(make.error());
  const bool is_tree = *kind == TreeKind::archive_index;
  const Result<chunks::FeatureFlags> features = is_tree ? options.tree.archive_features() : options.tree.blob_features();
  if (!features) return run.console().error(features.error());
  make->flags = *features;
  Result<Input> input = Input::open(options, *kind, *make);
  if (!input) return run.console().error(input.error());
  const std::uint64_t size = input->bytes ? input->bytes->size().value_or(0) : 0;
  const std::string path = store_path(options.store, options.index);
  const Result<std::unique_ptr<chunks::ChunkStore>> store = open_store_to_write(path, options.store, run);
  if (!store) return run.console().error(store.error());
  const Result<chunks::StoreLock> lock = chunks::StoreLock::take(path, chunks::StoreLock::Kind::adding);
  if (!lock && lock.error().kind() == ErrorKind::busy) return run.console().error(lock.error());
  const auto making = input->make_index(options.index, **store, *make, run);
  if (!making) return run.console().error(making.error());
  chunks::MakeBlob& blob = **making;
  if (options.index != "-")
    run.show_progress("make", [&blob, size, &options](Progress& progress) {
      progress.title = options.input == "-" || options.input.empty() ? "standard input" : options.input;
      progress.is_total_known = size > 0;
      progress.bytes_total = std::max(size, blob.bytes_read());
      progress.bytes_left = progress.bytes_total - blob.bytes_read();
      progress.note = host::text_of_bytes(blob.new_bytes()) + " new";
    });
  blob.start([&](Result<chunks::MakeBlobResult> made) {
    if (!made) return (void)run.end_with(made.error().within("make " + options.index));
    // The index is there, whether or not there is room for the cache.
    if (input->kept)
      if (Result<void> saved = input->kept->save(); !saved)
        fmt::print(stderr, "nothing is kept for the next make: {}\n", saved.error().message());
    tell_end(run, *made, options);
    run.end(kDone);
  });
  return run.run();
}

}  // namespace godwit::cli
