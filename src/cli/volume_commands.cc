#include "cli/volume_commands.h"

#include <memory>

#include "cli/program.h"
#include "cli/pull_command.h"
#include "cli/serve_command.h"
#include "cli/steering_commands.h"

namespace godwit::cli {

namespace {

void add_listen_options(Command app, ListenOptions& o) {
  app.add_option("--listen", o.listen,
                 "where other hosts reach this one: HOST:PORT, unix:/PATH or none (default 127.0.0.1:5170)");
  app.add_option("--nbd", o.nbd,
                 "where NBD clients reach the volumes: HOST:PORT, unix:/PATH or none; may be repeated (default: the socket `nbd` "
                 "in the data directory)");
  app.add_option("--metrics", o.metrics, "Prometheus metrics at this address, /metrics");
  app.add_flag("--insecure", o.insecure,
               "allow addresses that others than this machine can reach: nothing is encrypted or authenticated");
  app.add_option("--form", o.form, "the form of blocks to try beside raw: raw, rle, gzip or zeroes").show_default();
  app.add_option("--rounds", o.rounds, "dirty rounds before the switch, whatever remains").show_default();
  app.add_option("--dirty-threshold", o.dirty_threshold_blocks, "switch when so few blocks are dirty").show_default();
  app.add_option("--max-downtime", o.max_downtime_seconds, "seconds that clients may be held before a switch is put off")
      .show_default();
  app.add_option("--after-handover", o.after_handover, "what clients get here afterwards: relay or refuse").show_default();
  app.add_flag("--once", o.once, "end when the volumes have moved");
  app.add_option("--trust-host", o.trust_hosts,
                 "a host (name or address) that another may send this one on to, so that clients here follow a volume that goes "
                 "from host to host; may be repeated");
}

// Those of the options that were said and that only a process which starts can obey.
void note_given(const Command& app, ListenOptions& o) {
  for (const char* name :
       {"--listen", "--nbd", "--metrics", "--insecure", "--form", "--rounds", "--dirty-threshold", "--max-downtime",
        "--after-handover", "--hand-over", "--early-reads", "--blocks", "--once", "--trust-host"})
    if (app.was_given(name)) o.given.emplace_back(name);
}

void add_serve(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("serve", "offer volumes to hosts that pull, and to NBD clients");
  app.footer(
      "Example:\n  godwit volume serve disk.img --nbd 127.0.0.1:10809\n\n"
      "A file without an ownership record becomes a volume, and so does a block device (its record is in the data directory). "
      "Without files: all volumes of the data directory.");
  auto o = std::make_shared<ServeOptions>();
  app.add_option("FILE", o->files, "data files of volumes, block devices, or names of volumes in the data directory");
  app.add_option("--memory", o->memory, "a volume in memory, NAME=SIZE; may be repeated");
  app.add_option("--config", o->config, "a TOML file that names volumes and addresses");
  app.add_option("--base", o->base, "what the files lie on, as copy-on-write overlays; remembered: only new ones need it");
  app.add_option("--block-size", o->listen.block_size, "of new volumes: a power of two, 4KiB to 4MiB").show_default();
  app.add_option("--hand-over", o->listen.hand_over, "towards an original Silo: none, completed or custom").show_default();
  add_listen_options(app, o->listen);
  set_command(app, settings, command, o, [app](const Settings& all, ServeOptions& given) {
    note_given(app, given.listen);
    return run_serve(all, given);
  });
}

void add_pull(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("pull", "fetch volumes from another host, while they are written there");
  app.footer("Example:\n  godwit volume pull 192.0.2.7:5170 disk.img --into /srv/volumes --nbd unix:/run/disk.sock");
  auto o = std::make_shared<PullOptions>();
  app.add_option("HOST:PORT", o->from, "the host that serves them (port 5170 if none is given)").required();
  app.add_option("NAME", o->names, "which volumes (default: all)");
  app.add_option("--as", o->rename_to, "another name for the one volume");
  app.add_option("--into", o->into, "the folder for the data (default: `volumes` in the data directory)");
  app.add_flag("--memory", o->memory, "keep the data in memory; it dies with the process");
  app.add_option("--device", o->device, "the block device for the one volume's data; what is on it is overwritten");
  app.add_option("--base", o->base,
                 "an image here that the copies lie on as overlays: blocks that the source has from an equal one stay away");
  app.add_option("--take", o->take, "when an original's volume becomes ours: completed, custom or never").show_default();
  app.add_flag("--post-copy", o->post_copy, "with --take=custom, before all data are here: losing the source then loses data");
  app.add_option("--early-reads", o->listen.early_reads, "answer reads before the volume is owned: yes or no").show_default();
  app.add_option("--wait-seconds", o->wait_seconds, "how long to try before anything has come; 0: for ever").show_default();
  app.add_option("--blocks", o->listen.blocks, "a folder of blocks named by their SHA-256, asked before the source");
  add_listen_options(app, o->listen);
  set_command(app, settings, command, o, [app](const Settings& all, PullOptions& given) {
    note_given(app, given.listen);
    return run_pull(all, given);
  });
}

void add_create(Command group, const Settings& settings, std::function<int()>& command) {
  Command app = group.add_verb("create", "make a new volume, owned here: of zeros, or of what is on a block device");
  app.footer("Example:\n  godwit volume create disk --size 10GiB\n  godwit volume create db --device /dev/vg0/db");
  auto o = std::make_shared<CreateOptions>();
  app.add_option("NAME", o->name, "its name, and its data file's").required();
  app.add_option("--size", o->size, "like 10GiB (if none is given, an overlay has its base's, a device's volume all of it)");
  app.add_option("--from-file", o->from_file, "with the content of this file, which stays as it is");
  app.add_option("--kind", o->kind, "file (space reserved), sparse, memory, overlay or device (default: sparse)");
  app.add_option("--base", o->base, "what an overlay lies on; never written, and remembered");
  app.add_option("--device", o->device,
                 "the block device that becomes the volume, with what is on it; by a path that stays the same device's");
  app.add_option("--block-size", o->block_size, "a power of two, 4KiB to 4MiB").show_default();
  app.add_option("--folder", o->folder, "where its data go (default: `volumes` in the data directory)");
  set_command(app, settings, command, o, run_create);
}

// A verb that takes a name and a folder.
Command add_named(Command group, const Settings& settings, std::function<int()>& command, const char* verb, const char* text,
                  int (*run)(const Settings&, const NameOptions&), std::shared_ptr<NameOptions> o) {
  Command app = group.add_verb(verb, text);
  set_command(app, settings, command, o, run);
  return app;
}

void add_steering(Command group, const Settings& settings, std::function<int()>& command) {
  auto o = std::make_shared<NameOptions>();
  const char* const folder = "the volume's folder (default: `volumes` in the data directory)";
  Command list = add_named(group, settings, command, "list", "the volumes of this host", run_list, o);
  list.add_option("--folder", o->folder, folder);
  list.footer("Example:\n  godwit volume list --json");
  Command remove = add_named(group, settings, command, "remove", "remove a volume's data here; what is on a block device stays",
                             run_remove, o);
  remove.add_option("NAME", o->name, "which volume").required();
  remove.add_option("--folder", o->folder, folder);
  remove.add_flag("--yes", o->yes, "also where this host owns it, so that the data are lost");
  remove.footer("Example:\n  godwit volume remove disk --yes");
  Command status = add_named(group, settings, command, "status", "what the running process does", run_status, o);
  status.add_option("NAME", o->name, "one volume only");
  status.footer("Example:\n  godwit volume status --json");
  Command cancel = add_named(group, settings, command, "cancel", "give up the move of a volume, at either host", run_cancel, o);
  cancel.add_option("NAME", o->name, "which volume").required();
  cancel.add_option("--folder", o->folder, folder);
  cancel.footer("Example:\n  godwit volume cancel disk");
  auto e = std::make_shared<ExportOptions>();
  Command exports = group.add_verb("export", "add or drop an NBD address of one volume of the running process");
  exports.add_option("NAME", e->name, "which volume; the address offers no other").required();
  exports.add_option("--add", e->add, "offer it at HOST:PORT or unix:/PATH too");
  exports.add_option("--drop", e->drop, "no longer at this address; open connections stay");
  exports.footer("Example:\n  godwit volume export disk --add 127.0.0.1:10810");
  set_command(exports, settings, command, e, run_export);
}

}  // namespace

void add_volume_commands(Command app, const Settings& settings, std::function<int()>& command) {
  Command group = app.add_group("volume", "block devices that move to another host while they are written");
  group.footer(
      "Example:\n  godwit volume serve disk.img          # on one host\n  godwit volume pull HOST:5170          # on the other");
  add_serve(group, settings, command);
  add_pull(group, settings, command);
  add_create(group, settings, command);
  add_steering(group, settings, command);
}

}  // namespace godwit::cli
