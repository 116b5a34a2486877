"""What the core of the Homa transport costs without a network: CPU time of one thread, so that other work on the machine adds little."""

import json
import os

from process import run_timed
from world import median, verdict

PACKET_NS, CALL_NS = 350, 1500


def core(world):
    """Data and grants must be cheap for each packet. A lone short call makes two packets, on which all of its bookkeeping falls: its bar
    is for the call."""
    program = os.path.join(os.path.dirname(world.godwit), "bench_homa_core")
    runs = {}
    for _ in range(world.rounds):
        for line in run_timed(program, world.options.homa_seconds)[2].splitlines():
            run = json.loads(line)
            runs.setdefault(run["load"], []).append(run)
    rows, bars = [], []
    for load, found in runs.items():
        packet = median([run["ns_per_packet_and_side"] for run in found])
        call = median([run["ns_per_call_and_side"] for run in found])
        is_bulk = load.startswith("500 kB")
        rows.append((load, f"{packet:.0f}", "" if is_bulk else f"{call:.0f}"))
        bars.append((load, packet, PACKET_NS, "packet") if is_bulk else (load, call, CALL_NS, "call"))
        world.row("homa-core", load, ns_per_packet_and_side=packet, ns_per_call_and_side=call)
    world.table("The core alone, CPU ns on each side", ("", "per packet", "per call"), rows)
    for load, figure, limit, what in bars:
        print(f"  {load}: at most {limit} ns per {what} and side: {verdict(figure <= limit)}, {figure:.0f}")
