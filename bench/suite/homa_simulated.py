"""Homa in the simulated networks of its publications: what is exact whatever the machine does, given the seed. Each figure's bar is
beside it. `--homa-seeds` seeds each; `--homa-scale` below 1 shortens every simulated time and is for trying this script only."""

import json
import os
import subprocess
import time

from world import median, verdict

# Warm-up and end of generation in simulated ms.
WINDOWS = {1: (2, 6), 2: (4, 12), 3: (40, 120), 4: (120, 400), 5: (300, 1000)}
SUSTAINED = {2: (20, 60), 3: (100, 300), 4: (300, 800)}
GIB = 1 << 30


def simulate(world, workload, seed, window, *options):
    begin, end = (t * world.options.homa_scale for t in window)
    setup = world.options.homa_setup
    if "--setup" not in options:
        options = ("--setup", setup, *options)
    command = [world.godwit, "--json", "homa", "simulate", "--workload", f"w{workload}", "--seed", str(seed),
               "--warmup-ms", str(begin), "--end-ms", str(end), *options]
    world.say(" ".join(command[2:]))
    started = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {child.returncode}")
    found = json.loads([line for line in output.splitlines() if line.startswith("{")][-1])
    found["peak_bytes"] = usage.ru_maxrss * 1024
    world.say(f"  {time.monotonic() - started:.0f} s")
    return found


def p99(found):
    return found["shortest_half"]["slowdown_p99"]


def seeds_of(world, workload):
    return range(1, (1 if workload == 5 else world.options.homa_seeds) + 1)


def slowdowns(world, title, workloads, limit, *options):
    rows, worst = [], 0
    for workload in workloads:
        runs = [simulate(world, workload, seed, WINDOWS[workload], *options) for seed in seeds_of(world, workload)]
        figures = [p99(run) for run in runs]
        worst = max(worst, *figures)
        peak = max(run["peak_bytes"] for run in runs)
        rows.append((f"W{workload}", " ".join(f"{f:.2f}" for f in figures), sum(run["shortest_half"]["messages"] for run in runs),
                     sum(run["resends"] for run in runs), sum(run["unfinished"] for run in runs), f"{peak / GIB:.2f}",
                     f"{median([run['packets_per_cpu_second'] for run in runs]) / 1e6:.2f}"))
        world.row("homa-simulated", title, workload=workload, p99=figures, peak_bytes=peak)
        if workload == 5:
            print(f"  W5 in at most 4 GB: {verdict(peak <= 4e9)}, {peak / 1e9:.2f} GB")
    world.table(title, ("", "p99, by seed from 1", "messages", "RESENDs", "unfinished", "peak GiB", "M packets/CPU s"), rows)
    print(f"  at most {limit}: {verdict(worst <= limit)}, {worst:.2f} at worst")


def sustained(world):
    rows, least = [], 1
    for workload, window in SUSTAINED.items():
        shares = [run["throughput"] / run["offered"]
                  for run in (simulate(world, workload, seed, window, "--load", "0.85") for seed in seeds_of(world, workload))]
        least = min(least, *shares)
        rows.append((f"W{workload}", " ".join(f"{share * 100:.1f} %" for share in shares)))
        world.row("homa-simulated", "sustained at 85 %", workload=workload, received_of_generated=shares)
    world.table("Load of 85 %: bytes received of those generated in the window", ("", "by seed from 1"), rows)
    print(f"  at least 96 %: {verdict(least >= 0.96)}, {least * 100:.1f} % at worst")


def ablations(world):
    rows = []

    def priorities_row(seed):
        window = (20, 50)
        eight = p99(simulate(world, 3, seed, window))
        found = {count: p99(simulate(world, 3, seed, window, "--priorities", str(count))) for count in (1, 2, 4)}
        rows.append((f"W3, 80 %, seed {seed}: p99 with 8, 4, 2, 1 priorities",
                     f"{eight:.2f} {found[4]:.2f} {found[2]:.2f} {found[1]:.2f}"))
        world.row("homa-simulated", "priorities", seed=seed, p99={8: eight, **found})
        return found[1] / eight

    def overcommitment_row(seed):
        window = (50, 150)
        found = {count: simulate(world, 4, seed, window, "--load", "1.1", "--overcommit", str(count))["throughput"]
                 for count in (7, 4, 2, 1)}
        rows.append((f"W4, 110 %, seed {seed}: received with overcommitment 7, 4, 2, 1",
                     " ".join(f"{found[count] * 100:.1f} %" for count in (7, 4, 2, 1))))
        world.row("homa-simulated", "overcommitment", seed=seed, throughput=found)
        return 1 - found[1] / found[7]

    ratios = [priorities_row(seed) for seed in seeds_of(world, 3)]
    losses = [overcommitment_row(seed) for seed in seeds_of(world, 4)]
    for name, options in (("SRPT off", ("--no-srpt",)), ("FIFO share 50 of 1000", ("--fifo", "50"))):
        run = simulate(world, 3, 1, (20, 50), *options)
        rows.append((f"W3, 80 %, seed 1, {name}: p99 of the shortest half, of the longest tenth",
                     f"{p99(run):.2f} {run['tenths'][-1]['slowdown_p99']:.1f}"))
        world.row("homa-simulated", name, p99=p99(run), p99_longest=run["tenths"][-1]["slowdown_p99"])
    world.table("Ablations", ("", ""), rows)
    print(f"  one priority at least 7 x worse than eight: {verdict(min(ratios) >= 7)}, {min(ratios):.1f} x at least")
    print(f"  an overcommitment of 1 loses at least 25 % against 7: {verdict(min(losses) >= 0.25)}, {min(losses) * 100:.0f} % at least")


def speed(world):
    """A short window: the figure is of packets, and CPU time. The same seed each time, so only the machine differs."""
    runs = [simulate(world, 4, 1, (1, 16)) for _ in range(3)]
    figures = [run["packets_per_cpu_second"] / 1e6 for run in runs]
    assert len({run["trace_hash"] for run in runs}) == 1, "one seed gave two traces"
    world.row("homa-simulated", "speed", million_packets_per_cpu_second=figures, packets=runs[0]["packets"])
    world.table(f"Speed: {world.options.homa_setup}, W4 at 80 %, 1 to 16 ms", ("", "packets", "M packets/CPU s, three runs"),
                [("one core", runs[0]["packets"], " ".join(f"{figure:.2f}" for figure in figures))])
    print(f"  at least 1 million: {verdict(median(figures) >= 1)}, {median(figures):.2f}")


def simulated(world):
    speed(world)
    slowdowns(world, f"{world.options.homa_setup} at 80 %: p99 slowdown of the shortest half", (1, 2, 3, 4, 5), 2.2)
    slowdowns(world, "sigcomm18-host at 80 %", (1, 2, 3, 4), 3.0, "--setup", "sigcomm18-host")
    sustained(world)
    ablations(world)
