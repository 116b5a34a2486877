"""Images beside casync, and desync ($DESYNC), borg and restic where they are there and do the same job. One row a job and program:
seconds, CPU seconds, peak memory (of the largest process; what this program held at the fork, some 50 MiB, is the least that is
seen), and how many times faster than each."""

import json
import os
import shutil
import subprocess
import tarfile

from absent import RATE_BITS
from process import run_measured
from world import MIB, free_port, median, verdict

PEAK_MAX = 256 * MIB
ROUND_TRIP_US = 50_000


class Contender:
    """A program with what it needs: where it stores, and a home of its own."""

    def __init__(self, name, program, images):
        self.name, self.program, self.images = name, program, images
        self.env = dict(os.environ, HOME=images.home, BORG_PASSPHRASE="x", BORG_RELOCATED_REPO_ACCESS_IS_OK="yes",
                        BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes", RESTIC_PASSWORD="x", RESTIC_CACHE_DIR=images.home)
        self.env.pop("CASYNC_STORE", None)

    def run(self, *arguments, cwd=None):
        return run_measured(self.program, *arguments, cwd=cwd, env=self.env)

    def place(self, name):
        return os.path.join(self.images.folder, f"{self.name}.{name}")

    def clear(self, name):
        path = self.place(name)
        self.images.set_aside(path)
        return path

    def new_store(self, name):
        """An empty store, made before anything is timed."""
        path = self.clear(name)
        if self.name == "borg":
            self.run("init", "-e", "none", path)
        elif self.name == "restic":
            self.run("init", "-q", "-r", path)
        else:
            os.makedirs(path)
        return path

    def make(self, source, store, index, *options):
        if self.name == "godwit":
            return self.run("image", "make", index, source, f"--store={store}", "--no-sync", *options)
        if self.name == "casync":
            return self.run("make", f"--store={store}", index, source)
        if self.name == "desync":
            if os.path.isdir(source):
                return self.run("tar", "-i", "-s", store, index, source)
            return self.run("make", "-s", store, index, source)
        self.archives = getattr(self, "archives", 0) + 1
        if self.name == "borg":
            return self.run("create", "--noflags", "-C", "zstd,3", f"{store}::{self.archives}", source)
        return self.run("backup", "-q", "-r", store, source)

    def extract(self, store, index, target, *options, cwd=None):
        if self.name == "godwit":
            return self.run("image", "extract", index, target, f"--store={store}", "--no-sync", *options)
        if self.name == "casync":
            return self.run("extract", f"--store={store}", *options, index, target)
        if self.name == "desync":
            if index.endswith(".caidx"):
                os.makedirs(target, exist_ok=True)
                return self.run("untar", "-i", "--no-same-owner", "-s", store, index, target)
            return self.run("extract", "-s", store, *options, index, target)
        os.makedirs(target, exist_ok=True)
        if self.name == "borg":
            return self.run("extract", f"{store}::{self.archives}", cwd=target)
        return self.run("restore", "-q", "-r", store, "latest", "--target", target)


class Images:
    def __init__(self, world):
        self.world = world
        # On a disk, as images are; writes are not waited for (--no-sync), since casync does not either.
        self.folder = world.fresh("images", "disk")
        self.home = os.path.join(self.folder, "home")
        os.makedirs(self.home)
        programs = {"godwit": world.godwit, "casync": shutil.which("casync"),
                    "desync": os.environ.get("DESYNC") or shutil.which("desync"), "borg": shutil.which("borg"),
                    "restic": shutil.which("restic")}
        self.contenders = {name: Contender(name, path, self) for name, path in programs.items() if path}
        absent = [name for name, path in programs.items() if not path]
        if absent:
            print("  not here, so not measured: " + ", ".join(absent))
        self.medians = {}
        self.asides = 0

    def set_aside(self, path):
        """A folder goes out of the way and is deleted at the very end: for a minute or more ext4 passes over the inodes of what is
        gone, one by one, and whoever makes files next would pay for those of the one before."""
        if os.path.isdir(path) and not os.path.islink(path):
            self.asides += 1
            os.rename(path, os.path.join(self.folder, f"aside.{self.asides}"))
        elif os.path.lexists(path):
            os.remove(path)

    def wants(self, job):
        options = self.world.options
        return options.chunks_only in job and (options.chunks_not is None or options.chunks_not not in job)

    def measure(self, job, jobs):
        """`jobs`: name → (prepare, run). Interleaved rounds; a table; medians kept under the job's name."""
        runs = {name: [] for name in jobs}
        for _ in range(self.world.rounds):
            for name, (prepare, run) in jobs.items():
                prepare()
                runs[name].append(run()[:3])
        found = {name: tuple(median([r[i] for r in rounds]) for i in range(3)) for name, rounds in runs.items()}
        self.medians[job] = found
        ours = found.get("godwit")
        rows = []
        for name, (seconds, cpu, peak) in found.items():
            ratio = f"{seconds / ours[0]:.2f} x" if ours else ""
            rows.append((name, f"{seconds:.2f}", f"{cpu:.2f}", f"{peak / MIB:.0f}", ratio))
            self.world.row("chunks", job, contender=name, seconds=seconds, cpu_seconds=cpu, peak_bytes=peak)
        self.world.table(job, ("", "s", "CPU s", "peak MiB", "godwit is faster by"), rows)
        for name, (_, _, peak) in found.items():
            if name.startswith("godwit") and peak > PEAK_MAX:
                print(f"  peak memory at most 256 MiB: MISSED, {name}: {peak / MIB:.0f} MiB")
        return found

    def bar(self, job, other, times, ours="godwit"):
        found = self.medians.get(job, {})
        if ours in found and other in found:
            ratio = found[other][0] / found[ours][0]
            print(f"  {ours}: at least {times} x {other}: {verdict(ratio >= times)}, {ratio:.2f} x")


def size_of(folder):
    return sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(folder) for name in names)


def make_blob(world, images):
    """A tar of /usr, cut off where it has become large enough: real data, the same for all."""
    path, limit = os.path.join(images.folder, "blob"), world.options.chunks_mib * MIB
    with open(path, "wb") as file:
        try:
            with tarfile.open(fileobj=file, mode="w|") as tar:
                for folder, folders, names in os.walk("/usr"):
                    folders.sort()
                    for name in sorted(names):
                        source = os.path.join(folder, name)
                        if os.path.isfile(source) and not os.path.islink(source):
                            tar.add(source, recursive=False)
                    if file.tell() > limit:
                        break
        except OSError as error:
            world.say(f"the blob ends early: {error}")
    os.truncate(path, min(limit, os.path.getsize(path)))
    return path


def no_preparation():
    pass


def blob_jobs(world, images, blob):
    contenders = images.contenders
    ours = contenders["godwit"]

    def fresh(c, level=""):
        return lambda: (c.new_store("castr" + level), c.clear("caibx"))

    def making(c, *options, level=""):
        return lambda: c.make(blob, c.place("castr" + level), c.place(f"{level}.caibx"), *options)

    digest = {"godwit": (no_preparation, lambda: ours.run("image", "digest", blob))}
    if images.wants("digest alone"):
        images.measure("the printed digest alone, one core", digest)

    # The stores of this job are what later jobs read.
    jobs = {name: (fresh(c), making(c)) for name, c in contenders.items()}
    jobs["godwit, zstd 1"] = (fresh(ours, "1"), making(ours, "--compression-level=1", level="1"))
    jobs["godwit, no digest"] = (fresh(ours, "0"), making(ours, "--no-digest", level="0"))
    job = "make, empty store"
    images.measure(job, jobs)
    images.bar(job, "casync", 2)
    images.bar(job, "casync", 2.6, "godwit, zstd 1")
    images.bar(job, "desync", 1.3)
    stores = {name: c.place("castr") for name, c in contenders.items()} | {"godwit, zstd 1": ours.place("castr1")}
    print("  stores, MiB: " + ", ".join(f"{name} {size_of(path) / MIB:.0f}" for name, path in stores.items()))

    job = "make, all chunks known"
    if images.wants(job):
        jobs = {name: (no_preparation, making(c)) for name, c in contenders.items()}
        jobs["godwit, no digest"] = (no_preparation, making(ours, "--no-digest"))
        found = images.measure(job, jobs)
        alone = images.medians.get("the printed digest alone, one core")
        if alone:
            ratio = alone["godwit"][0] / found["godwit"][0]
            print(f"  at least 0.8 x the digest alone: {verdict(ratio >= 0.8)}, {ratio:.2f} x")
        images.bar(job, "casync", 6, "godwit, no digest")
        images.bar(job, "borg", 1, "godwit, no digest")

    job = "extract from a local store, no seed"
    if images.wants(job):
        def extracting(c, *options):
            index, target = c.place(".caibx"), c.place("out")
            return lambda: c.clear("out"), lambda: c.extract(c.place("castr"), index, target, *options)
        images.measure(job, {name: extracting(c) for name, c in contenders.items()})
        images.bar(job, "casync", 2)
        images.bar(job, "desync", 1.7)

    job = "extract with an identical seed, second run"
    if images.wants(job):
        def seeded(c):
            option = {"godwit": f"--seed={blob}", "casync": f"--seed={blob}", "desync": f"--seed={c.place('.caibx')}:{blob}"}[c.name]
            run = lambda: c.extract(c.place("castr"), c.place(".caibx"), c.place("out"), option)
            c.clear("out")
            run()  # the first: what is remembered of the seed is there for the next
            return lambda: c.clear("out"), run
        images.measure(job, {name: seeded(c) for name, c in contenders.items() if name in ("godwit", "casync", "desync")})
        images.bar(job, "casync", 12)
        images.bar(job, "desync", 4)

    job = "extract over HTTP, 50 ms round trip"
    if images.wants(job):
        over_http(world, images, job)


def over_http(world, images, job):
    """One server for all (godwit's), each with the store that it made itself; all behind the relay's delay."""
    port = free_port()
    server = world.start(world.godwit, "image", "serve", images.folder, "--listen", f"127.0.0.1:{port}")
    server.wait_line(lambda line: line.startswith("serving"), 10, "that it serves")
    relay = world.start(world.relay, 0, port, RATE_BITS, ROUND_TRIP_US)
    _, text = relay.wait_line(lambda line: line.isdigit(), 5, "its port")
    url = f"http://127.0.0.1:{text}"

    def fetching(c):
        return (lambda: c.clear("out"),
                lambda: c.extract(f"{url}/{c.name}.castr" + ("/" if c.name == "desync" else ""), c.place(".caibx"), c.place("out")))
    # One chunk at a time takes casync minutes for a large blob: a round is enough there.
    rounds, world.rounds = world.rounds, min(world.rounds, 1)
    try:
        images.measure(job, {name: fetching(c) for name, c in images.contenders.items() if name in ("godwit", "casync", "desync")})
    finally:
        world.rounds = rounds
        world.stop(relay, server)
    images.bar(job, "casync", 10)
    images.bar(job, "desync", 2)


def sparse_jobs(world, images):
    job = "make, sparse image with 256 MiB of data"
    if not images.wants(job):
        return
    path = world.random_file("sparse", min(256, world.options.chunks_sparse_mib // 4) * MIB, images.folder)
    os.truncate(path, world.options.chunks_sparse_mib * MIB)
    ours = images.contenders["godwit"]
    images.measure("digest alone of the sparse image", {"godwit": (no_preparation, lambda: ours.run("image", "digest", path))})

    def making(c, *options):
        return lambda: c.new_store("sparse.castr"), lambda: c.make(path, c.place("sparse.castr"), c.place("sparse.caibx"), *options)
    jobs = {name: making(c) for name, c in images.contenders.items() if name in ("godwit", "casync", "desync")}
    jobs["godwit, no digest"] = making(ours, "--no-digest")
    found = images.measure(job, jobs)
    ratio = images.medians["digest alone of the sparse image"]["godwit"][0] / found["godwit"][0]
    print(f"  at least 0.8 x the digest alone: {verdict(ratio >= 0.8)}, {ratio:.2f} x")
    images.bar(job, "casync", 25, "godwit, no digest")


def piped(script):
    """A pipeline as one job."""
    return run_measured("bash", "-c", "set -o pipefail; " + script)


def tree_jobs(world, images):
    if not images.wants("tree"):
        return
    tree, archive = world.options.chunks_tree, os.path.join(images.folder, "tree.tar.zst")
    contenders = images.contenders
    for c in contenders.values():
        c.new_store("tree.castr")
        c.make(tree, c.place("tree.castr"), c.place("tree.caidx"))
    parent, name = os.path.split(tree.rstrip("/"))

    def making(c):
        return no_preparation, lambda: c.make(tree, c.place("tree.castr"), c.place("tree.caidx"))
    jobs = {c.name: making(c) for c in contenders.values()}
    jobs["tar, zstd -3"] = (no_preparation,
                            lambda: piped(f"tar -C '{parent or '/'}' -cf - '{name}' 2>/dev/null | zstd -q -T0 -3 -o '{archive}' -f"))
    job = "tree: make, chunks known"
    images.measure(job, jobs)
    images.bar(job, "casync", 3)

    def extracting(c):
        return lambda: c.clear("tree"), lambda: c.extract(c.place("tree.castr"), c.place("tree.caidx"), c.place("tree"))
    jobs = {c.name: extracting(c) for c in contenders.values()}
    target = os.path.join(images.folder, "tar.tree")
    jobs["zstd -d, tar"] = (lambda: images.set_aside(target),
                            lambda: piped(f"mkdir '{target}' && zstd -qdc '{archive}' | tar -C '{target}' -xf -"))
    job = "tree: extract"
    images.measure(job, jobs)
    images.bar(job, "casync", 2)


def core_alone(world):
    """The chunker and the ids of chunks, one core each, in memory."""
    program = os.path.join(os.path.dirname(world.godwit), "bench_chunks_core")
    rates = json.loads(subprocess.run([program, "5"], capture_output=True, text=True, check=True).stdout)
    world.row("chunks", "core alone, GB/s", **rates)
    world.table("one core, random bytes in memory", ("", "GB/s"),
                [(name, f"{rate:.2f}") for name, rate in rates.items() if name != "chunks"])
    print(f"  chunker at least 1.5 GB/s: {verdict(rates['chunker'] >= 1.5)}")
    openssl, lanes = rates["sha512-256 openssl"], rates.get("sha512-256 avx512")
    if lanes is None:
        print("  no AVX-512 here: the bar of 3 x OpenSSL is not measured")
    else:
        print(f"  SHA-512/256 with AVX-512 at least 3 x OpenSSL: {verdict(lanes >= 3 * openssl)}, {lanes / openssl:.2f} x")


def images(world):
    if "core" in world.options.chunks_only or not world.options.chunks_only:
        core_alone(world)
    found = Images(world)
    if "godwit" not in found.contenders:
        raise RuntimeError("no godwit")
    for c in found.contenders.values():
        version = "version" if c.name in ("restic",) else "--version"
        if c.name != "desync":
            print("  " + subprocess.run([c.program, version], capture_output=True, text=True, check=False).stdout.split("\n")[0])
    blob_jobs(world, found, make_blob(world, found))
    sparse_jobs(world, found)
    tree_jobs(world, found)
    shutil.rmtree(found.folder, ignore_errors=True)
