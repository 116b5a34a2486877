"""Homa's echo beside raw UDP (the limit for one packet), TCP with TCP_NODELAY and the RPC systems that were found at build time;
incast beside TCP; short echoes beside a bulk stream on a link of its own. What was not found is named in its table."""

import json
import os
import subprocess

from process import run_timed
from world import median, verdict

LINES = ((100, 1), (100, 32), (500_000, 1))
# Raw UDP promises nothing.
PROMISING = ("godwit", "tcp", "zmq", "nng", "grpc", "capnp", "enet")
NAMES = {"godwit": "godwit", "udp": "raw UDP", "tcp": "TCP_NODELAY", "zmq": "ZeroMQ", "nng": "nng", "grpc": "gRPC",
         "capnp": "Cap'n Proto RPC", "enet": "ENet"}
FIGURES = ("p50_us", "p99_us", "calls_per_second", "gbit_per_second", "cpu_us_per_call")
INCAST = (40, 10_000)


def peer_program(world, name):
    return os.path.join(os.path.dirname(world.godwit), f"bench_homa_peer_{name}")


def command_of(world, contender, size, outstanding, seconds):
    if contender == "godwit":
        return (world.godwit, "homa", "bench", "--size", size, "--outstanding", outstanding, "--seconds", seconds, "--json")
    if contender in ("udp", "tcp", "zmq"):
        return (world.homa_peers, contender, size, outstanding, seconds)
    return (peer_program(world, contender), size, outstanding, seconds)


def last_json(output):
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def is_there(world, contender):
    if contender in ("godwit", "udp", "tcp"):
        return True
    command = [str(part) for part in command_of(world, contender, 100, 1, 0.05)]
    if not os.access(command[0], os.X_OK):
        return False
    return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0


def on_one_core(command):
    return ("taskset", "-c", "0", *command)


def measure_echoes(world, contenders, size, outstanding, one_core):
    runs = {c: [] for c in contenders}
    for _ in range(world.rounds):
        for contender, found in runs.items():
            command = command_of(world, contender, size, outstanding, world.options.homa_seconds)
            found.append(last_json(run_timed(*(on_one_core(command) if one_core else command))[2]))
    return {c: {key: median([run[key] for run in found]) for key in FIGURES} for c, found in runs.items()}


def print_echoes(world, title, medians, missing):
    rows = [(NAMES[c], f"{m['p50_us']:.1f}", f"{m['p99_us']:.1f}", f"{m['calls_per_second']:.0f}",
             f"{m['gbit_per_second']:.2f}", f"{m['cpu_us_per_call']:.1f}") for c, m in medians.items()]
    rows += [(NAMES[c], "not there", "", "", "", "") for c in missing]
    for contender, m in medians.items():
        world.row("homa", title, contender=contender, **m)
    world.table(title, ("", "p50 us", "p99 us", "calls/s", "Gb/s", "CPU us"), rows)


def bar(text, ratio, ok):
    print(f"  {text}: {verdict(ok)}, {ratio:.2f} x")


def judge_echoes(size, outstanding, one_core, m):
    ours = m["godwit"]
    if size > 100:
        bar("at least 0.5 x TCP", ours["gbit_per_second"] / m["tcp"]["gbit_per_second"],
            ours["gbit_per_second"] >= 0.5 * m["tcp"]["gbit_per_second"])
        if "grpc" in m:
            bar("above gRPC", ours["gbit_per_second"] / m["grpc"]["gbit_per_second"],
                ours["gbit_per_second"] > m["grpc"]["gbit_per_second"])
    elif outstanding == 1:
        limit = 2.0 if one_core else 1.5
        ratio = ours["p50_us"] / m["udp"]["p50_us"]
        bar(f"p50 at most {limit} x raw UDP", ratio, ratio <= limit)
        if "grpc" in m and not one_core:
            ratio = m["grpc"]["p50_us"] / ours["p50_us"]
            bar("gRPC takes at least 3 x as long", ratio, ratio >= 3)
    else:
        others = {c: f["calls_per_second"] for c, f in m.items() if c in PROMISING and c != "godwit"}
        best = max(others, key=others.get)
        ratio = ours["calls_per_second"] / others[best]
        bar(f"calls/s: best of all that promise delivery (the best other is {NAMES[best]})", ratio, ratio >= 1)
        if "grpc" in m:
            ratio = ours["calls_per_second"] / m["grpc"]["calls_per_second"]
            bar("at least 2 x gRPC", ratio, ratio >= 2)


def echoes(world):
    """Server and client are threads of one process; CPU is both sides'. Then both on one core."""
    there = [c for c in NAMES if is_there(world, c)]
    missing = [c for c in NAMES if c not in there]
    for size, outstanding in LINES:
        for one_core in (False, True) if outstanding == 1 and size == 100 else (False,):
            contenders = [c for c in there if c != "udp" or size <= 65_507]
            medians = measure_echoes(world, contenders, size, outstanding, one_core)
            where = ", both sides on one core" if one_core else ""
            print_echoes(world, f"Echo of {size} B, {outstanding} under way{where}", medians, missing)
            judge_echoes(size, outstanding, one_core, medians)
    incast(world, over_link=False)
    incast(world, over_link=True)
    beside_bulk(world, [c for c in ("godwit", "tcp", "grpc") if c in there])


def incast(world, over_link):
    """Many answer one at the same moment, each from a thread with a socket of its own: over loopback, where nothing is ever in
    excess and processors alone decide, or over a link of 1 Gb/s through a port that holds 150 kB, which is what incast is about."""
    senders, size = INCAST
    folder = os.path.dirname(world.godwit)
    if over_link:
        rounds = max(10, int(50 * world.options.homa_seconds))
        commands = {c: (link_script(world), "incast", folder, senders, size, rounds, c) for c in ("godwit", "tcp")}
    else:
        rounds = max(10, int(200 * world.options.homa_seconds))
        commands = {"godwit": (os.path.join(folder, "bench_homa_incast"), senders, size, rounds),
                    "tcp": (world.homa_peers, "incast-tcp", senders, size, rounds)}
    title = f"Incast: {senders} senders of {size} B to one, " + ("on 1 Gb/s" if over_link else "loopback")
    runs = {c: [] for c in commands}
    for _ in range(world.rounds):
        for contender, command in commands.items():
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
            if done.returncode == 77:
                print(f"\n{title}: not measured, {done.stderr.strip()}")
                return
            if done.returncode != 0:
                raise RuntimeError(f"{command}: {done.stderr[-500:]}")
            runs[contender].append(last_json(done.stdout))
    medians = {c: {key: median([run[key] for run in found]) for key in ("p50_us", "p99_us", "cpu_us_per_call")}
               for c, found in runs.items()}
    lost = sum(run["lost"] for run in runs["godwit"])
    for contender, m in medians.items():
        world.row("homa", title, contender=contender, lost=lost if contender == "godwit" else 0, **m)
    world.table(title, ("", "p50 us", "p99 us", "CPU us"),
                [(NAMES[c], f"{m['p50_us']:.0f}", f"{m['p99_us']:.0f}", f"{m['cpu_us_per_call']:.1f}") for c, m in medians.items()])
    ratio = medians["godwit"]["p99_us"] / medians["tcp"]["p99_us"]
    bar("p99 below TCP's", ratio, ratio < 1)
    print(f"  nothing lost: {verdict(lost == 0)}, {lost} of {sum(run['messages'] + run['lost'] for run in runs['godwit'])}")


def link_script(world):
    return os.path.join(world.root, "bench", "homa_link.sh")


def beside_bulk(world, contenders):
    """100 B echoes beside a stream that fills a link of 1 Gb/s between two network namespaces."""
    runs = {c: [] for c in contenders}
    for _ in range(world.rounds):
        done = subprocess.run([link_script(world), "bulk", os.path.dirname(world.godwit), str(max(1, world.options.homa_seconds)),
                               *contenders],
                              capture_output=True, text=True, check=False)
        if done.returncode == 77:
            print(f"\n100 B beside a bulk stream: not measured, {done.stderr.strip()}")
            return
        if done.returncode != 0:
            raise RuntimeError(f"homa_link.sh: {done.stderr[-500:]}")
        for line in done.stdout.splitlines():
            run = json.loads(line)
            runs[run["what"]].append(run)
    keys = ("p50_us", "p99_us", "bulk_gbit_per_second", "cpu_us_per_call")
    medians = {c: {key: median([run[key] for run in found]) for key in keys if all(run.get(key) is not None for run in found)}
               for c, found in runs.items()}
    title = "100 B beside a bulk stream on 1 Gb/s"
    for contender, m in medians.items():
        world.row("homa", title, contender=contender, **m)

    def cpu_text(contender, m):
        if "cpu_us_per_call" not in m:
            return ""
        both = all(run["cpu_of_both_sides"] for run in runs[contender])
        return f"{m['cpu_us_per_call']:.1f} {'both sides' if both else 'client'}"

    world.table(title, ("", "p50 us", "p99 us", "bulk Gb/s, each way", "CPU us per short call"),
                [(NAMES[c], f"{m['p50_us']:.0f}", f"{m['p99_us']:.0f}", f"{m['bulk_gbit_per_second']:.2f}", cpu_text(c, m))
                 for c, m in medians.items()])
    for contender in contenders[1:]:
        ratio = medians[contender]["p99_us"] / medians["godwit"]["p99_us"]
        bar(f"p99 at least 10 x better than {NAMES[contender]}'s", ratio, ratio >= 10)
