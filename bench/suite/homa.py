"""Homa's echo beside raw UDP (the limit for one packet), TCP with TCP_NODELAY, and ZeroMQ where it was there at build time."""

import json
import subprocess

from process import run_timed
from world import median, verdict

LINES = ((100, 1), (100, 32), (500_000, 1))
CONTENDERS = ("godwit", "udp", "tcp", "zmq")


def measure(world, contender, size, outstanding):
    seconds = str(world.options.homa_seconds)
    if contender == "godwit":
        command = (world.godwit, "homa", "bench", "--size", size, "--outstanding", outstanding, "--seconds", seconds, "--json")
    else:
        command = (world.homa_peers, contender, size, outstanding, seconds)
    return json.loads(run_timed(*command)[2].strip().splitlines()[-1])


def has_zmq(world):
    return subprocess.run([world.homa_peers, "zmq", "100", "1", "0.05"], capture_output=True, check=False).returncode == 0


def echoes(world):
    """Server and client are threads of one process; CPU is both sides'."""
    contenders = [c for c in CONTENDERS if c != "zmq" or has_zmq(world)]
    for size, outstanding in LINES:
        runs = {c: [] for c in contenders if c != "udp" or size <= 65_507}
        for _ in range(world.rounds):
            for contender, found in runs.items():
                found.append(measure(world, contender, size, outstanding))
        rows, medians = [], {}
        for contender, found in runs.items():
            m = {key: median([run[key] for run in found])
                 for key in ("calls_per_second", "p50_us", "p99_us", "cpu_us_per_call", "gbit_per_second")}
            medians[contender] = m
            rows.append((contender, f"{m['p50_us']:.1f}", f"{m['p99_us']:.1f}", f"{m['calls_per_second']:.0f}",
                         f"{m['gbit_per_second']:.2f}", f"{m['cpu_us_per_call']:.1f}"))
            world.row("homa", f"{size} B, {outstanding} under way", contender=contender, **m)
        world.table(f"Echo of {size} B, {outstanding} under way", ("", "p50 us", "p99 us", "calls/s", "Gb/s", "CPU us"), rows)
        ours = medians["godwit"]
        if size == 100 and outstanding == 1:
            ratio = ours["p50_us"] / medians["udp"]["p50_us"]
            print(f"  p50 at most 1.5 x raw UDP (a core each; 2 x on one core): {verdict(ratio <= 1.5)}, {ratio:.2f} x")
        elif size > 100:
            ratio = ours["gbit_per_second"] / medians["tcp"]["gbit_per_second"]
            print(f"  at least 0.5 x TCP: {verdict(ratio >= 0.5)}, {ratio:.2f} x")
    print("  not measured here: gRPC, Cap'n Proto RPC, nng, ENet" + ("" if "zmq" in contenders else ", ZeroMQ (not there)"))
