"""The NBD export beside nbdkit and qemu-nbd, by fio's nbd engine over Unix sockets, files and memory."""

import json
import os

from process import run_timed, wait_for_socket
from world import MIB, median, verdict

PATTERNS = (("read", "256k", 16), ("write", "256k", 16), ("randread", "4k", 16), ("randread", "4k", 64),
            ("randwrite", "4k", 16), ("randwrite", "4k", 64))


def fio(uri, rw, bs, depth, size, seconds):
    command = ["fio", "--name=run", "--ioengine=nbd", f"--uri={uri}", f"--rw={rw}", f"--bs={bs}", f"--iodepth={depth}",
               f"--size={size}", "--output-format=json"]
    if seconds:
        command += ["--time_based", f"--runtime={seconds}"]
    _, cpu, output = run_timed(*command, cwd="/tmp")
    job = json.loads("\n".join(line for line in output.splitlines() if not line.startswith("fio: ")))["jobs"][0]
    return job["read"] if job["read"]["io_bytes"] else job["write"], cpu


def start_servers(world, backing, size):
    """Every server on a volume of its own: name → (process, uri)."""
    servers = {}

    def add(name, path, uri, *command):
        process = world.start(*command)
        wait_for_socket(path, process)
        servers[name] = (process, uri)

    folder = world.fresh("export", "disk")
    paths = [os.path.join(folder, f"{i}.sock") for i in range(3)]
    images = [os.path.join(folder, f"{i}.img") for i in range(3)]
    if backing == "file":
        for image in images:
            with open(image, "wb") as file:
                file.truncate(size)
        what = (images[0],)
    else:
        what = ("--memory", f"0.img={size}")
        images[2] = os.path.join(world.fresh("export"), "2.img")
        with open(images[2], "wb") as file:
            file.truncate(size)
    process, _ = world.serve(world.fresh("a", "disk"), *what, nbd=f"unix:{paths[0]}")
    servers["godwit"] = (process, f"nbd+unix:///0.img?socket={paths[0]}")
    plugin = ("file", images[1]) if backing == "file" else ("memory", size)
    add("nbdkit", paths[1], f"nbd+unix:///?socket={paths[1]}", "nbdkit", "-f", "-U", paths[1], *plugin)
    # qemu-nbd has no memory of its own: a file on tmpfs.
    add("qemu-nbd", paths[2], f"nbd+unix:///?socket={paths[2]}", "qemu-nbd", "-t", "-e", 8, "-f", "raw", "-k", paths[2], images[2])
    return servers


def exports(world):
    size = 512 * MIB
    for backing in world.options.backing.split(","):
        servers = start_servers(world, backing, size)
        for _, uri in servers.values():
            fio(uri, "write", world.options.fill, 4, size, None)  # every page is touched before anything is measured
        table, reached, figures = [], {}, {}
        for rw, bs, depth in [p for p in PATTERNS if world.options.pattern in p[0]]:
            found = {name: [] for name in servers}
            for _ in range(world.rounds):
                for name, (process, uri) in servers.items():
                    before = process.cpu_seconds()
                    result, client = fio(uri, rw, bs, depth, size, world.options.fio_seconds)
                    server = process.cpu_seconds() - before
                    speed = result["iops"] / 1e3 if bs == "4k" else result["bw_bytes"] / 1e6
                    found[name].append((speed, server / result["total_ios"] * 1e6, client / result["total_ios"] * 1e6))
            speed = {n: median([r[0] for r in runs]) for n, runs in found.items()}
            cpu = {n: median([r[1] for r in runs]) for n, runs in found.items()}
            ratio = speed["godwit"] / max(speed["nbdkit"], speed["qemu-nbd"])
            name = f"{rw} {bs} depth {depth}"
            unit = "k/s" if bs == "4k" else "MB/s"
            table.append((name, *(f"{speed[n]:.1f} {unit} ({cpu[n]:.1f})" for n in servers), f"{ratio:.2f}", verdict(ratio >= 0.9)))
            world.say(f"  export of {backing}, {name}: " + ", ".join(f"{n} {s:.1f}" for n, s in speed.items()) + f": {ratio:.2f}")
            reached[name] = ratio >= 0.9
            figures[name] = {"speed": speed, "unit": unit, "server_cpu_us": cpu, "ratio": ratio}
        world.table(f"NBD export of a volume on {backing}, Unix socket, fio (server's CPU microseconds per request)",
                    ("", *servers, "of the best", "bar 0.90"), table)
        world.row(f"export-{backing}", f"NBD export, {backing}", figures=figures, reached=reached)
        world.stop(*(process for process, _ in servers.values()))
    world.fresh("export")
    world.fresh("export", "disk")
