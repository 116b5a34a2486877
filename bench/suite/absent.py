"""How long a reader at the destination waits for a block that is not there yet, while bulk fills the line: 1 Gbit/s, 10 ms."""

import os
import random
import socket
import struct
import threading
import time

from world import MIB, median, verdict

BLOCK = 65536
RATE_BITS = 1_000_000_000
ROUND_TRIP_US = 10_000


class NbdReader:
    """As much of an NBD client as reads one range at a time."""

    def __init__(self, path, name):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        assert self.take(16) == b"NBDMAGICIHAVEOPT"
        flags, = struct.unpack(">H", self.take(2))
        self.socket.sendall(struct.pack(">I", flags & 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(name)) + name.encode())
        self.size, _ = struct.unpack(">QH", self.take(10))
        if not flags & 2:
            self.take(124)

    def take(self, count):
        parts = []
        while count > 0:
            part = self.socket.recv(count)
            if not part:
                raise RuntimeError("the NBD server hung up")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read(self, offset, length):
        self.socket.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, offset, length))
        magic, error, _ = struct.unpack(">IIQ", self.take(16))
        assert magic == 0x67446698 and error == 0, (magic, error)
        return self.take(length)


def start_relay(world, port):
    relay = world.start(world.relay, 0, port, RATE_BITS, ROUND_TRIP_US)
    _, text = relay.wait_line(lambda line: line.isdigit(), 5, "its port")
    return relay, int(text)


def bare_round_trips(world, count=100):
    """A request of 26 bytes, an answer of one block, nothing else on the line: milliseconds."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        peer, _ = listener.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with peer:
            while len(peer.recv(26, socket.MSG_WAITALL)) == 26:
                peer.sendall(bytes(BLOCK))

    threading.Thread(target=answer, daemon=True).start()
    relay, port = start_relay(world, listener.getsockname()[1])
    times = []
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = time.monotonic()
            client.sendall(bytes(26))
            assert len(client.recv(BLOCK, socket.MSG_WAITALL)) == BLOCK
            times.append((time.monotonic() - started) * 1000)
    world.stop(relay)
    listener.close()
    return sorted(times)


def reads_while_moving(world, size, source):
    """Reads 4 KiB of blocks of the volume's second half, each once, while the first half's bulk goes: milliseconds."""
    path = os.path.join(world.disk, "b.sock")
    image = os.path.join(world.fresh("from"), "bench")  # never written by a client: its blocks travel in ascending order
    os.link(source, image)
    a, a_port = world.serve(world.fresh("a", "disk"), image)
    relay, port = start_relay(world, a_port)
    b = world.begin_pull(world.fresh("b", "disk"), port, "--memory", nbd=f"unix:{path}")
    b.wait_event(20, event="pull", state="copying")
    reader = NbdReader(path, "bench")
    # At the line's rate the bulk reaches the second half only after this time; until then every block there is absent.
    until = time.monotonic() + 0.45 * size * 8 / RATE_BITS
    blocks = random.Random(11).sample(range(size // 2 // BLOCK, size // BLOCK), size // 2 // BLOCK)
    times = []
    with open(source, "rb") as expected:
        for block in blocks:
            started = time.monotonic()
            if started >= until:
                break
            offset = block * BLOCK + 4096 * (block % 16)
            data = reader.read(offset, 4096)
            times.append((time.monotonic() - started) * 1000)
            expected.seek(offset)
            assert data == expected.read(4096), "an early read gave other bytes"
    _, event = b.wait_event(120, event="pulled")
    world.stop(b, relay, a)
    world.fresh("from")
    return times, event["bytes_on_wire"] * 8 / event["seconds"]


def absent_reads(world):
    size = world.options.absent_mib * MIB
    source = world.random_file("source", size)
    bare, p50, p99, rates, count = [], [], [], [], 0
    for _ in range(world.rounds):
        bare.append(median(bare_round_trips(world)))
        times, rate = reads_while_moving(world, size, source)
        times.sort()
        count += len(times)
        p50.append(median(times))
        p99.append(times[min(len(times) - 1, len(times) * 99 // 100)])
        rates.append(rate / 1e6)
        world.say(f"  absent reads: bare {bare[-1]:.2f} ms; {len(times)} reads, p50 {p50[-1]:.2f}, p99 {p99[-1]:.2f} ms; bulk {rates[-1]:.0f} Mbit/s")
    os.remove(source)
    ratio = median(p99) / median(bare)
    world.table("Read of an absent block at B while bulk moves, 1 Gbit/s, 10 ms round trip",
                ("bare trip with one block", "p50", "p99", "p99 / bare", "bulk", "reads"),
                [(f"{median(bare):.2f} ms", f"{median(p50):.2f} ms", f"{median(p99):.2f} ms", f"{ratio:.2f}",
                  f"{median(rates):.0f} Mbit/s", count)])
    print(f"  {verdict(ratio <= 2)}: p99 at most 2 x the bare round trip with one block")
    world.row("absent-read", "read of an absent block", bare_ms=bare, p50_ms=p50, p99_ms=p99, bulk_mbit=rates,
              reached={"p99": ratio <= 2})
