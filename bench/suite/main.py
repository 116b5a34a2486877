"""The benchmarks: what godwit does, beside its peers in the same run. A table on stdout, JSON beside it."""

import argparse
import json
import os
import sys
import time

from absent import absent_reads
from chunks import images
from exports import exports
from homa import echoes
from homa_core import core
from homa_simulated import simulated
from moves import memory_to_memory, peak_memory, sparse_file_to_file
from world import World, cpu_name

LINES = {"move": memory_to_memory, "sparse": sparse_file_to_file, "export": exports, "absent": absent_reads, "peak": peak_memory,
         "homa": echoes, "homa-core": core, "homa-simulated": simulated, "chunks": images}
# Not unless named: they take an hour.
NOT_BY_DEFAULT = ("homa-simulated", "chunks")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument("lines", nargs="*", help="which: " + ", ".join(LINES) + " (default: all but " + ", ".join(NOT_BY_DEFAULT) + ")")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each, interleaved; medians count")
    parser.add_argument("--silo-rounds", type=int, default=2, help="of the original, which takes its time")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for a load below 1")
    parser.add_argument("--fio-seconds", type=float, default=2)
    parser.add_argument("--fill", default="64k", help="size of the writes that fill an exported volume before")
    parser.add_argument("--backing", default="memory,file", help="of exported volumes")
    parser.add_argument("--pattern", default="", help="only fio patterns with this in their name")
    parser.add_argument("--move-mib", type=int, default=2048)
    parser.add_argument("--sparse-mib", type=int, default=1024)
    parser.add_argument("--absent-mib", type=int, default=1024)
    parser.add_argument("--peak-mib", type=int, default=8192)
    parser.add_argument("--homa-seconds", type=float, default=1, help="of each measurement of an echo")
    parser.add_argument("--homa-seeds", type=int, default=3, help="of each simulated figure, but W5's")
    parser.add_argument("--homa-setup", default="sigcomm18", help="sigcomm18 is what the bars are for; rack16 is quick")
    parser.add_argument("--homa-scale", type=float, default=1, help="of the simulated times; below 1 only to try the script")
    parser.add_argument("--chunks-mib", type=int, default=1024, help="of /usr that goes into the blob, at most")
    parser.add_argument("--chunks-tree", default="/usr", help="the folder that is stored as a tree")
    parser.add_argument("--chunks-sparse-mib", type=int, default=8192, help="size of the sparse image")
    parser.add_argument("--chunks-only", default="", help="only jobs of images with this in their name")
    parser.add_argument("--chunks-not", default=None, help="not the jobs of images with this in their name (HTTP takes casync minutes)")
    parser.add_argument("--disk", default=os.environ.get("TMPDIR", "/var/tmp"), help="folder for files on a disk")
    parser.add_argument("--json", default=None, help="where the figures go (default: bench/results/latest.json)")
    options = parser.parse_args(arguments)
    for line in options.lines:
        if line not in LINES:
            parser.error(f"{line}: it must be one of {', '.join(LINES)}")
    return options


def main():
    options = parse(sys.argv[1:])
    world = World(options)
    try:
        load = world.await_quiet()
        world.say("measuring this machine's own limits")
        limits = world.measure_limits()
        print(f"{cpu_name()}, {os.cpu_count()} CPUs, Linux {os.uname().release}, load {load:.2f}, "
              + time.strftime("%Y-%m-%d", time.gmtime()))
        print("limits now, one core (TCP: one each), GB/s: " + ", ".join(f"{what} {rate:.2f}" for what, rate in limits.items()))
        for name in options.lines or [line for line in LINES if line not in NOT_BY_DEFAULT]:
            LINES[name](world)
        print(f"\nload at the end {os.getloadavg()[0]:.2f}")
        path = options.json or os.path.join(world.root, "bench", "results", "latest.json")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"cpu": cpu_name(), "cpus": os.cpu_count(), "kernel": os.uname().release, "load": load,
                       "limits_gb_per_s": limits, "lines": world.rows}, file, indent=2)
        print(f"figures: {os.path.relpath(path)}")
    finally:
        world.close()


if __name__ == "__main__":
    main()
