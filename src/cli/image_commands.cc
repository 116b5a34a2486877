#include "cli/image_commands.h"

#include <memory>

#include "cli/image_attach_command.h"
#include "cli/image_export_command.h"
#include "cli/image_extract_command.h"
#include "cli/image_make_command.h"
#include "cli/image_mount_command.h"
#include "cli/image_remote_server.h"
#include "cli/image_serve_command.h"
#include "cli/image_upkeep_commands.h"
#include "cli/program.h"
#include "cli/tree_commands.h"

namespace godwit::cli {

namespace {

void add_store_option(Command app, StoreOptions& o) {
  app.add_option("--store", o.store, "the chunk store (default: CASYNC_STORE, or default.castr beside the index)");
}
void add_rate_option(Command app, StoreOptions& o) {
  app.add_option("--rate-limit-bps", o.rate_limit, "bytes per second to and from a remote, each, like 500000 or 1M");
}
void add_read_options(Command app, StoreOptions& o) {
  add_store_option(app, o);
  add_rate_option(app, o);
  app.add_option("--extra-store", o.extra_stores, "another store, asked for what the first has not; may be repeated");
  app.add_option(
      "--cache-store", o.cache_store,
      "a folder of this machine that keeps what is fetched and is asked first; what it gives does not count as fetched");
}
void add_threads_option(Command app, unsigned& threads) {
  app.add_option("--threads", threads, "how many processors to use (default: all)");
}
// casync's way to say it: --NAME=yes, --NAME=no.
void add_yes_no(Command app, const char* name, bool& value, const char* text) {
  app.add_option(name, value, text).type_name("yes|no");
}

void add_make(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("make", "store a file, a device, standard input or a folder as chunks, and write their index");
  app.footer(
      "Example:\n  godwit image make disk.caibx disk.img\n  godwit image make root.caidx /srv/root --with=unix\n\n"
      "Prints the digest of the whole input. NAME.catar is the archive of a folder itself, without chunks.");
  auto o = std::make_shared<MakeOptions>();
  app.add_option("INDEX", o->index,
                 "what to write: NAME.caibx, NAME.caidx, NAME.catar, here or at host:PATH; - for an index on standard output")
      .required();
  app.add_option("INPUT", o->input,
                 "what to store: a file, a block device, - for standard input; of a tree its folder (default: this one)");
  add_store_option(app, o->store);
  add_rate_option(app, o->store);
  app.add_option("--chunk-size", o->chunk_size, "AVG or MIN:AVG:MAX, like 64K (default 16K:64K:256K)");
  app.add_option("--fixed", o->fixed,
                 "chunks of this one size, named by SHA-256: as volumes with such blocks look for them (4KiB to 4MiB)");
  app.add_option("--digest", o->digest, "what names chunks: sha512-256 (the default) or sha256");
  app.add_option("--compression", o->store.compression, "of new chunks: zstd, xz, gzip or none").show_default();
  app.add_option("--compression-level", o->store.level, "of that method (default: zstd 3, xz 6, gzip 6)");
  app.add_option(
      "--cache", o->cache,
      "of a tree: keep in this folder what it was cut into, and do not read again what has not changed; prints no digest");
  app.add_flag("-c,--cache-auto", o->cache_auto,
               "the same in GODWIT_CACHE/encoder, else XDG_CACHE_HOME/godwit/encoder, else ~/.cache/godwit/encoder");
  app.add_flag("--no-digest", o->no_digest, "do not compute the digest of the whole input, which one processor alone must do");
  app.add_flag("--no-sync", o->no_sync, "do not wait for the disk: a crash of the machine may lose what was stored");
  add_threads_option(app, o->threads);
  add_archive_options(app, o->tree);
  set_command(app, settings, command, o, run_image_make);
}

void add_extract(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("extract", "rebuild a file, a device or a folder from an index and its chunks");
  app.footer(
      "Example:\n  godwit image extract disk.caibx disk.img --seed yesterday.img\n"
      "  godwit image extract root.caidx /srv/root\n  godwit image extract root.catar . etc/hosts");
  auto o = std::make_shared<ExtractOptions>();
  app.add_option("INDEX", o->index,
                 "NAME.caibx, NAME.caidx or NAME.catar, here, at host:PATH or a URL; - for standard input, a blob's index unless "
                 "--what says something else")
      .required();
  app.add_option("OUTPUT", o->output,
                 "a file (replaced when the new one is whole), a block device, - for standard output; of a tree its folder "
                 "(default: this one)");
  app.add_option("SUBPATH", o->subpath, "only this node of the tree, put into OUTPUT under its own name");
  add_read_options(app, o->store);
  app.add_option("--seed", o->seeds,
                 "a file, device or folder that may hold some of the chunks, of a tree also whole files; with its index, "
                 "X.caibx:FILE (or X.caibx, for the file X), it is not read first; may be repeated");
  add_yes_no(app, "--seed-output", o->seed_output, "use the file that is replaced as a seed, or the tree (default yes)");
  app.add_option("--seed-cache", o->seed_cache,
                 "the folder in which the chunks of seeds are kept from run to run, or no (default: GODWIT_CACHE/seeds, else "
                 "XDG_CACHE_HOME/godwit/seeds, else ~/.cache/godwit/seeds)");
  app.add_flag("--in-place", o->in_place, "write into OUTPUT itself what differs; after an interruption, go on where it stopped");
  add_yes_no(app, "--punch-holes", o->punch_holes, "leave out zeros (default yes)");
  add_yes_no(app, "--reflink", o->reflink, "share blocks with seeds where the file system can (default yes)");
  app.add_flag("--no-sync", o->no_sync, "do not wait for the disk: a crash of the machine may lose what was extracted");
  add_threads_option(app, o->threads);
  add_extract_options(app, o->tree);
  set_command(app, settings, command, o, run_image_extract);
}

void add_reading(Command group, const Settings& settings, std::function<int()>& command) {
  Command cat = group.add_verb("cat", "write a range of the blob to standard output");
  cat.footer("Example:\n  godwit image cat disk.caibx --offset 1MiB --length 512 | hexdump -C");
  auto c = std::make_shared<CatOptions>();
  cat.add_option("INDEX", c->index, "the index").required();
  cat.add_option("--offset", c->offset, "where to begin, in bytes (default 0)");
  cat.add_option("--length", c->length, "how many bytes (default: to the end)");
  add_read_options(cat, c->store);
  set_command(cat, settings, command, c, run_image_cat);

  Command digest =
      group.add_verb("digest", "the digest of a whole blob or tree: of a file, a device, a folder, or through an index");
  digest.footer("Example:\n  godwit image digest disk.caibx\n  godwit image digest /srv/root");
  auto d = std::make_shared<DigestOptions>();
  digest.add_option(
      "PATH", d->path,
      "NAME.caibx, NAME.caidx, NAME.catar, or what is to be read itself; - for standard input (default: this folder)");
  digest.add_option("SUBPATH", d->subpath, "only this node of the tree");
  digest.add_option("--digest", d->digest, "sha512-256 or sha256 (default: the index's, else sha512-256)");
  add_read_options(digest, d->store);
  add_archive_options(digest, d->tree);
  set_command(digest, settings, command, d, run_image_digest);

  Command info = group.add_verb("info", "what an index says");
  info.footer("Example:\n  godwit image info disk.caibx --json");
  auto i = std::make_shared<InfoOptions>();
  info.add_option("INDEX", i->index, "the index").required();
  set_command(info, settings, command, i, run_image_info);

  Command diff = group.add_verb("diff", "how much of one index is not in another");
  diff.footer("Example:\n  godwit image diff yesterday.caibx today.caibx");
  auto f = std::make_shared<DiffOptions>();
  diff.add_option("FROM", f->from, "the index of what is there").required();
  diff.add_option("TO", f->to, "the index of what is wanted").required();
  set_command(diff, settings, command, f, run_image_diff);
}

void add_upkeep(Command group, const Settings& settings, std::function<int()>& command) {
  Command verify = group.add_verb("verify", "read every chunk and say which are missing or damaged");
  verify.footer("Example:\n  godwit image verify disk.caibx\n  godwit image verify --store default.castr --repair");
  auto v = std::make_shared<VerifyCommandOptions>();
  verify.add_option("INDEX", v->indexes, "whose chunks (default: all of the store)");
  add_read_options(verify, v->store);
  verify.add_flag("--repair", v->repair, "remove damaged chunks, so that the next make stores them again");
  set_command(verify, settings, command, v, run_image_verify);

  Command gc = group.add_verb("gc", "remove from a store what none of these indexes names");
  gc.footer("Example:\n  godwit image gc --store default.castr *.caibx *.caidx\n\nRefused while a make adds to the store.");
  auto g = std::make_shared<GcOptions>();
  gc.add_option("INDEX", g->indexes, "every index whose chunks are to stay").required();
  add_store_option(gc, g->store);
  gc.add_flag("-n,--dry-run", g->dry_run, "only say what would go");
  gc.add_flag("-v,--verbose", g->verbose, "say how many chunks the indexes name");
  set_command(gc, settings, command, g, run_image_gc);
}

void add_view_options(Command app, ImageViewOptions& o) {
  add_read_options(app, o.store);
  app.add_option("--cache", o.cache, "bytes of chunks to keep in memory").show_default();
}

void add_viewing(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("export", "offer a blob to NBD clients, read-only; chunks are fetched when they are read");
  app.footer(
      "Example:\n  godwit image export disk.caibx --store https://images.example/default.castr\n"
      "  qemu-img convert nbd://127.0.0.1/disk disk.qcow2");
  auto o = std::make_shared<ExportCommandOptions>();
  app.add_option("INDEX", o->index, "the index: NAME.caibx, host:PATH or a URL").required();
  add_view_options(app, o->view);
  app.add_option("--nbd", o->nbd,
                 "where NBD clients reach it: HOST:PORT or unix:/PATH; may be repeated (default 127.0.0.1:10809)");
  app.add_option("--name", o->name, "what clients call it, beside the empty name (default: the index's, without its suffix)");
  app.add_flag("--insecure", o->insecure, "allow addresses that others than this machine can reach, without encryption");
  set_command(app, settings, command, o, run_image_export);

  Command mount = group.add_verb("mount", "show a tree, or a blob as one file, in a folder, read-only, by FUSE");
  mount.footer(
      "Example:\n  godwit image mount root.caidx /mnt --store https://images.example/default.castr\n"
      "  godwit image mount https://images.example/root.catar /mnt usr/share\n\n"
      "Runs until it is interrupted or `umount FOLDER` is said; prints `Mounted: FOLDER` when it is ready.");
  auto m = std::make_shared<MountOptions>();
  mount
      .add_option("IMAGE", m->image,
                  "NAME.caidx, NAME.catar, or NAME.caibx, which becomes the file FOLDER/NAME; here, at host:PATH or a URL")
      .required();
  mount.add_option("FOLDER", m->folder, "where to mount it").required();
  mount.add_option("SUBPATH", m->subpath, "only this folder of the tree, which is then seen as FOLDER");
  add_view_options(mount, m->view);
  add_yes_no(mount, "--mkdir", m->make_folder, "make FOLDER if it is not there (default yes)");
  mount.add_option("--uid-shift", m->tree.uid_shift, "yes (by FOLDER's owner), or what to add to each owner's number");
  mount.add_option("--uid-range", m->tree.uid_range, "owners' numbers modulo this");
  mount.add_option("--what", m->tree.what, "archive, archive-index or blob-index, whatever the name says");
  set_command(mount, settings, command, m, run_image_mount);
}

void add_attach(Command group, const Settings& settings, std::function<int()>& command) {
  Command app =
      group.add_verb("attach", "make a blob a block device of this machine, /dev/nbdN, read-only, by the kernel's NBD client");
  app.footer(
      "Example:\n  modprobe nbd\n  godwit image attach disk.caibx --store https://images.example/default.castr\n\n"
      "For root. Runs until it is interrupted or `nbd-client -d DEVICE` is said; prints `Attached: DEVICE` when it is ready.");
  auto o = std::make_shared<AttachOptions>();
  app.add_option("IMAGE", o->image, "NAME.caibx, host:PATH or a URL of one, or the file or device itself").required();
  app.add_option("DEVICE", o->device,
                 "the block device (default: the first /dev/nbdN that nobody uses); /dev/NAME: a name for that one, by udev");
  add_view_options(app, o->view);
  app.add_option("--what", o->what, "blob-index or blob, whatever the name says");
  set_command(app, settings, command, o, run_image_attach);
}

void add_serving(Command group, const Settings& settings, std::function<int()>& command) {
  Command serve = group.add_verb("serve", "give indexes, archives and chunk stores to others over HTTP or HTTPS, read-only");
  serve.footer("Example:\n  godwit image serve /srv/images\n  godwit image extract http://127.0.0.1:8080/disk.caibx disk.img");
  auto s = std::make_shared<ImageServeOptions>();
  serve.add_option("FOLDER", s->folder, "the folder that holds them").required();
  serve.add_option("--listen", s->listen, "HOST:PORT").show_default();
  serve.add_flag("--insecure", s->insecure, "allow other machines to connect, without encryption");
  serve.add_option("--certificate", s->certificate, "serve by HTTPS: the certificate with its chain, in PEM");
  serve.add_option("--key", s->key, "its key, in PEM");
  set_command(serve, settings, command, s, run_image_serve);

  for (const bool is_push : {false, true}) {
    Command end =
        group.add_verb(is_push ? "push" : "pull", is_push ? "take an image from a casync client over standard input and output"
                                                          : "give an image to a casync client over standard input and output");
    end.footer("A client starts this through ssh when CASYNC_REMOTE_PATH names a link `casync` to this program.");
    auto o = std::make_shared<RemoteServerOptions>();
    o->is_push = is_push;
    end.add_option("--rate-limit-bps", o->rate_limit, "bytes per second, each way, like 500000 or 1M");
    end.add_option("OPERANDS", o->operands, "BASE ARCHIVE INDEX STORE [STORE…], with - for what is not there").required();
    end.when_chosen([o, &command] { command = [o] { return run_remote_server(*o); }; });
  }
}

}  // namespace

void add_image_commands(Command app, const Settings& settings, std::function<int()>& command) {
  Command group = app.add_group("image", "content-addressed images: casync's files, made and read");
  group.footer("Example:\n  godwit image make disk.caibx disk.img\n  godwit image extract disk.caibx copy.img");
  add_make(group, settings, command);
  add_extract(group, settings, command);
  add_reading(group, settings, command);
  add_tree_commands(group, settings, command);
  add_upkeep(group, settings, command);
  add_viewing(group, settings, command);
  add_attach(group, settings, command);
  add_serving(group, settings, command);
}

}  // namespace godwit::cli
