"""What all lines share: programs, folders, random data, the machine, the report."""

import json
import os
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time

from process import Process, run_timed

MIB = 1 << 20
GIB = 1 << 30


class World:
    def __init__(self, options):
        self.options = options
        self.rounds = options.rounds
        self.root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        programs = os.path.join(self.root, "build", "release", "bin")
        self.godwit = os.path.join(programs, "godwit")
        self.limits = os.path.join(programs, "bench_limits")
        self.relay = os.path.join(programs, "bench_relay")
        self.homa_peers = os.path.join(programs, "bench_homa_peers")
        self.silo = os.environ.get("SILO") or shutil.which("silo")
        if self.silo and not os.access(self.silo, os.X_OK):
            self.silo = None
        self.memory = tempfile.mkdtemp(prefix="godwit-bench.", dir="/dev/shm")
        self.disk = tempfile.mkdtemp(prefix="godwit-bench.", dir=options.disk)
        self.running = []
        self.rows = []

    def close(self):
        for process in reversed(self.running):
            process.stop()
        shutil.rmtree(self.memory, ignore_errors=True)
        shutil.rmtree(self.disk, ignore_errors=True)

    # --- programs ---

    def start(self, *command, cwd=None):
        process = Process(*command, cwd=cwd)
        self.running.append(process)
        return process

    def stop(self, *processes):
        for process in processes:
            process.stop()
            self.running.remove(process)

    def serve(self, folder, *what, nbd=None):
        """A godwit that serves volumes: (process, port for hosts). `nbd` is an address, or nothing."""
        process = self.start(self.godwit, "volume", "serve", *what, "--data", folder, "--listen", "127.0.0.1:0",
                             "--nbd", nbd or "none", "--json")
        _, ready = process.wait_event(20, event="ready")
        return process, int(ready["listen"].rsplit(":", 1)[1])

    def begin_pull(self, folder, port, *options, nbd=None):
        return self.start(self.godwit, "volume", "pull", f"127.0.0.1:{port}", *options, "--data", folder, "--listen", "none",
                          "--nbd", nbd or "none", "--json")

    # --- data ---

    def random_file(self, name, size, folder=None):
        path = os.path.join(folder or self.memory, name)
        source = random.Random(7)
        piece = source.randbytes(16 * MIB)
        with open(path, "wb") as file:
            for index in range(-(-size // len(piece))):
                # Each piece differs: nothing may find the same block twice.
                file.write(bytes(piece[index % 4096:] + piece[:index % 4096]))
            file.truncate(size)
        return path

    def fresh(self, name, on="memory"):
        folder = os.path.join(self.memory if on == "memory" else self.disk, name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        return folder

    # --- the machine ---

    def await_quiet(self):
        """Waits until the load is below 1, for a while; says what it is."""
        deadline = time.monotonic() + self.options.patience
        while os.getloadavg()[0] >= 1.0 and time.monotonic() < deadline:
            self.say(f"load {os.getloadavg()[0]:.2f}: waiting for a quieter machine")
            time.sleep(5)
        load = os.getloadavg()[0]
        if load >= 1.0:
            self.say(f"WARNING: load {load:.2f}: figures are low and scattered")
        return load

    def measure_limits(self):
        found = {}
        for what, mib in (("memcpy", 4096), ("tcp", 4096), ("sha256", 512), ("zstd", 128)):
            found[what] = statistics.median(
                json.loads(run_timed(self.limits, what, mib)[2])["gb_per_s"] for _ in range(3))
        return found

    # --- the report ---

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def row(self, line, what, **figures):
        self.rows.append({"line": line, "what": what, **figures})

    def table(self, title, header, rows):
        widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
        print(f"\n{title}")
        for row in [header, *rows]:
            print("  " + "  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                                   for i, (cell, width) in enumerate(zip(row, widths))), flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def median(values):
    return statistics.median(values)


def verdict(ok):
    return "reached" if ok else "MISSED"


def cpu_name():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"
