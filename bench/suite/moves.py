"""Volumes that move: memory to memory beside nbdcopy and the original Silo, a sparse image beside qemu-img convert, and the
memory that both ends take."""

import json
import os
import signal
import subprocess

from process import run_timed, wait_for_socket
from world import GIB, MIB, free_port, median, verdict


def godwit_move(world, size, source):
    """One move of a volume in memory, filled over NBD; (seconds, CPU seconds of both ends)."""
    socket = os.path.join(world.disk, "a.sock")
    a, port = world.serve(world.fresh("a", "disk"), "--memory", f"bench={size}", nbd=f"unix:{socket}")
    run_timed("nbdcopy", source, f"nbd+unix:///bench?socket={socket}")
    before = a.cpu_seconds()
    b = world.begin_pull(world.fresh("b", "disk"), port, "--memory")
    when, event = b.wait_event(120, event="pulled")
    cpu = a.cpu_seconds() - before + b.cpu_seconds()
    world.stop(b, a)
    assert event["bytes_left"] == 0
    return when - b.started, cpu


def nbdcopy_move(world, size, source):
    """nbdcopy between two nbdkit memory servers over TCP; CPU of all three."""
    ports = [free_port(), free_port()]
    servers = [world.start("nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "memory", size) for port in ports]
    for port, server in zip(ports, servers):
        wait_for_socket(port, server)
    run_timed("nbdcopy", source, f"nbd://127.0.0.1:{ports[0]}")
    before = sum(server.cpu_seconds() for server in servers)
    seconds, cpu, _ = run_timed("nbdcopy", f"nbd://127.0.0.1:{ports[0]}", f"nbd://127.0.0.1:{ports[1]}")
    cpu += sum(server.cpu_seconds() for server in servers) - before
    world.stop(*servers)
    return seconds, cpu


def silo_move(world, size, source):
    """The original: a file on tmpfs to a file on tmpfs, 64 KiB blocks."""
    folders = [world.fresh("silo-a"), world.fresh("silo-b")]
    os.symlink(source, os.path.join(folders[0], "bench.img"))
    port = free_port()
    with open(os.path.join(folders[0], "silo.conf"), "w", encoding="ascii") as conf:
        conf.write(f'device "bench" {{\n  size = "{size}"\n  system = "file"\n  blocksize = "65536"\n  expose = false\n'
                   '  location = "./bench.img"\n}\n')
    a = world.start(world.silo, "serve", "-a", f"127.0.0.1:{port}", "-c", "silo.conf", cwd=folders[0])
    wait_for_socket(port, a)
    before = a.cpu_seconds()
    b = world.start(world.silo, "connect", "-a", f"127.0.0.1:{port}", cwd=folders[1])
    when, _ = b.wait_line(lambda text: "Migrations completed" in text, 300, "that the migration is completed")
    cpu = b.cpu_seconds()
    try:
        cpu += a.cpu_seconds() - before
    except (OSError, IndexError):
        pass  # it has ended already, and with it its figures: then they are missing on its side, not on ours
    for process in (b, a):
        process.stop(signal.SIGINT, 5)
        world.running.remove(process)
    same = subprocess.run(["cmp", source, os.path.join(folders[1], "bench.img")], check=False).returncode == 0
    for folder in folders:
        world.fresh(os.path.basename(folder))
    assert same, "the original's copy differs"
    return when - b.started, cpu


def bare_stream(world, size, _source):
    result = json.loads(run_timed(world.limits, "tcp", size // MIB)[2])
    return result["seconds"], result["cpu_seconds"]


def memory_to_memory(world):
    size = world.options.move_mib * MIB
    source = world.random_file("source", size)
    contenders = [("godwit", godwit_move), ("nbdcopy", nbdcopy_move), ("bare TCP", bare_stream)]
    if world.silo:
        contenders.append(("silo", silo_move))
    else:
        world.say("no original Silo ($SILO, or silo on the PATH): its line is left out")
    runs = {name: [] for name, _ in contenders}
    for index in range(world.rounds):
        for name, move in contenders:
            if name == "silo" and index >= world.options.silo_rounds:
                continue
            seconds, cpu = move(world, size, source)
            runs[name].append((seconds, cpu))
            world.say(f"  move {size // MIB} MiB, {name}: {seconds:.2f} s, {size / seconds / 1e9:.2f} GB/s, {cpu:.2f} CPU s")
    os.remove(source)
    speed = {name: size / 1e9 / median([r[0] for r in found]) for name, found in runs.items()}
    cpu = {name: median([r[1] for r in found]) for name, found in runs.items()}
    rows = [(name, f"{speed[name]:.2f} GB/s", f"{cpu[name]:.2f} s", " ".join(f"{size / 1e9 / r[0]:.2f}" for r in runs[name]))
            for name in runs]
    world.table(f"Move {size / GIB:g} GiB memory to memory over TCP loopback, random data, raw form",
                ("", "speed", "CPU, both ends", "each run, GB/s"), rows)
    bars = [("speed", speed["godwit"], min(1.3 * speed["nbdcopy"], 0.85 * speed["bare TCP"]),
             "the lesser of 1.3 x nbdcopy and 0.85 x bare TCP"),
            ("CPU", -cpu["godwit"], -0.6 * cpu["nbdcopy"], "at most 0.6 of nbdcopy's CPU seconds")]
    if world.silo:
        bars.append(("silo", speed["godwit"], 4 * speed["silo"], "4 x the original"))
    for name, reached, bar, text in bars:
        print(f"  {verdict(reached >= bar)}: {text}: {abs(reached):.2f}, bar {abs(bar):.2f}")
    world.row("move-memory", "move memory to memory", bytes=size, gb_per_s=speed, cpu_seconds=cpu,
              runs={n: [list(r) for r in found] for n, found in runs.items()},
              reached={name: reached >= bar for name, reached, bar, _ in bars})


# --- sparse, file to file ---

def make_sparse(world, path, size, data):
    """`data` bytes of random in 4 MiB runs, spread evenly over `size`."""
    run = 4 * MIB
    source = world.random_file("runs", data)
    with open(source, "rb") as runs, open(path, "wb") as file:
        file.truncate(size)
        count = data // run
        for index in range(count):
            file.seek(size // count * index)
            file.write(runs.read(run))
        os.fsync(file.fileno())
    os.remove(source)


def sync_seconds(path):
    """How long the file takes to be on stable storage: nothing, if the copy saw to it."""
    return run_timed("sync", path)[0]


def godwit_sparse(world, image, size):
    folder = world.fresh("to", "disk")
    a, port = world.serve(world.fresh("a", "disk"), image)
    before = a.cpu_seconds()
    b = world.begin_pull(world.fresh("b", "disk"), port, "--into", folder)
    when, event = b.wait_event(300, event="pulled")
    cpu = a.cpu_seconds() - before + b.cpu_seconds()
    world.stop(b, a)
    os.remove(image + ".own")
    if not os.path.exists(image):  # A's copy has another name once it is given away
        os.rename(next(entry.path for entry in os.scandir(os.path.dirname(image)) if entry.stat().st_size == size), image)
    return when - b.started + sync_seconds(os.path.join(folder, "image")), cpu, event["bytes_on_wire"]


def qemu_sparse(server):
    def move(world, image, size):
        folder = world.fresh("to", "disk")
        target = os.path.join(folder, "image")
        with open(target, "wb") as file:
            file.truncate(size)
        port = free_port()
        if server == "nbdkit":
            process = world.start("nbdkit", "-f", "-i", "127.0.0.1", "-p", port, "file", target)
        else:
            process = world.start("qemu-nbd", "-t", "-e", 8, "-f", "raw", "--discard=unmap", "-b", "127.0.0.1", "-p", port, target)
        wait_for_socket(port, process)
        seconds, cpu, _ = run_timed("qemu-img", "convert", "-n", "--target-is-zero", "-W", "-m", 8, "-t", "writeback", "-f", "raw",
                                    "-O", "raw", image, f"nbd://127.0.0.1:{port}")
        cpu += process.cpu_seconds()
        world.stop(process)
        return seconds + sync_seconds(target), cpu, None
    return move


def sparse_file_to_file(world):
    size, data = 64 * GIB, world.options.sparse_mib * MIB
    image = os.path.join(world.fresh("from", "disk"), "image")
    make_sparse(world, image, size, data)
    contenders = [("godwit", godwit_sparse), ("qemu-img to qemu-nbd", qemu_sparse("qemu-nbd")),
                  ("qemu-img to nbdkit file", qemu_sparse("nbdkit"))]
    runs = {name: [] for name, _ in contenders}
    for _ in range(world.rounds):
        for name, move in contenders:
            seconds, cpu, wire = move(world, image, size)
            runs[name].append((seconds, cpu, wire))
            world.say(f"  sparse, {name}: {seconds:.2f} s, {cpu:.2f} CPU s")
    seconds = {name: median([r[0] for r in found]) for name, found in runs.items()}
    cpu = {name: median([r[1] for r in found]) for name, found in runs.items()}
    wire = median([r[2] for r in runs["godwit"]]) / data
    world.table(f"Move a 64 GiB sparse image with {data // MIB} MiB of data, file to file; durable at the end, for all",
                ("", "seconds", "CPU, both ends", "each run"),
                [(n, f"{seconds[n]:.2f}", f"{cpu[n]:.2f} s", " ".join(f"{r[0]:.2f}" for r in runs[n])) for n in runs])
    fastest = min(seconds[n] for n in runs if n != "godwit")
    print(f"  {verdict(seconds['godwit'] < fastest)}: faster than the faster of both: {seconds['godwit'] / fastest:.2f} of its time")
    print(f"  {verdict(wire < 1.03)}: bytes on the wire: {wire:.4f} x data, bar 1.03")
    world.row("move-sparse", "move sparse file to file", seconds=seconds, cpu_seconds=cpu, wire_ratio=wire,
              reached={"faster": seconds["godwit"] < fastest, "wire": wire < 1.03})
    world.fresh("from", "disk")
    world.fresh("to", "disk")


# --- memory of both ends ---

def peak_memory(world):
    size = world.options.peak_mib * MIB
    image = world.random_file("image", size, world.fresh("from", "disk"))
    a, port = world.serve(world.fresh("a", "disk"), image)
    b = world.begin_pull(world.fresh("b", "disk"), port, "--into", world.fresh("to", "disk"))
    when, _ = b.wait_event(900, event="pulled")
    peaks = {"source": a.peak_bytes() / MIB, "destination": b.peak_bytes() / MIB}
    seconds = when - b.started
    world.stop(b, a)
    world.fresh("from", "disk")
    world.fresh("to", "disk")
    world.table(f"Peak resident memory moving {size / GIB:g} GiB file to file ({seconds:.1f} s)", ("", "MiB"),
                [(name, f"{peak:.1f}") for name, peak in peaks.items()])
    ok = max(peaks.values()) <= 160
    print(f"  {verdict(ok)}: at most 160 MiB at either end")
    world.row("peak-memory", "peak resident memory", mib=peaks, seconds=seconds, reached={"peak": ok})
