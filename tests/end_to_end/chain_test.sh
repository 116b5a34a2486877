#!/usr/bin/env bash
# Three hosts, and clients that stay connected to the first one: the volume goes from A to B, on to C, and home to A, and every
# write of theirs is where they read it. The first time the move is slowed down, so that B can be seen before it owns: reads work,
# a write waits. One client is qemu-io, which writes before, during and after the switch.
#
#   tests/end_to_end/chain_test.sh GODWIT
set -uo pipefail
export PATH=/usr/bin:$PATH  # nbdsh runs the first python3 there is, and its module belongs to the system's
godwit=$(realpath "${1:?usage: chain_test.sh GODWIT}")
source "$(dirname "$0")/../lib.sh"
needs nbdsh nbdinfo qemu-io python3
uri() { echo "nbd+unix:///disk?socket=$work/$1.nbd"; }
start() {  # NAME ARGUMENTS…: a host, its process id in $started
  local name=$1
  shift
  "$godwit" volume "$@" --data "$work/$name" --listen "unix:$work/$name.sock" --nbd "unix:$work/$name.nbd" --json \
    >"$work/$name.log" 2>&1 &
  started=$!
  pids+=("$started")
  wait_for "$work/$name.log" '"event":"ready"'
}
pulled() {  # NAME: until that host owns, and who gave knows
  for _ in $(seq 1200); do
    "$godwit" volume status disk --data "$work/$1" 2>/dev/null | grep -q '^disk .*OWNED' && return
    sleep 0.05
  done
  die "$1 does not own the volume"
}

start a serve --memory disk=16MiB
nbdsh -u "$(uri a)" -c 'import os' -c 'for i in range(16): h.pwrite(os.urandom(1 << 20), i << 20)' || die "filling"
# Between A and B at first: 256 KiB a second from A until the file `fast` is there.
cat >"$work/slow.py" <<'PYTHON'
import os, socket, sys, threading, time
work = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(work + "/slow.sock")
listener.listen()
def pump(source, sink, slow):
    while data := source.recv(65536):
        while slow and data and not os.path.exists(work + "/fast"):
            sink.sendall(data[:16384])
            data = data[16384:]
            time.sleep(1 / 16)
        sink.sendall(data)
    sink.close()
while True:
    b, _ = listener.accept()
    a = socket.socket(socket.AF_UNIX)
    a.connect(work + "/a.sock")
    threading.Thread(target=pump, args=(a, b, True), daemon=True).start()
    threading.Thread(target=pump, args=(b, a, False), daemon=True).start()
PYTHON
python3 "$work/slow.py" "$work" >"$work/slow.log" 2>&1 &
pids+=($!)
for _ in $(seq 200); do [[ -S $work/slow.sock ]] && break; sleep 0.05; done

# --- two clients at A that stay: qemu-io, told by a pipe what to do, and a counter that never stops writing ---
mkfifo "$work/qemu"
qemu-io -f raw "$(uri a)" <"$work/qemu" >"$work/qemu.log" 2>&1 &
qemu=$!
pids+=("$qemu")
exec 3>"$work/qemu"
prompts() { grep -o 'qemu-io>' "$work/qemu.log" 2>/dev/null | wc -l; }
wait_for "$work/qemu.log" 'qemu-io>'
qemu_io() {  # COMMAND: one at a time, for it overlooks a line that comes together with another
  local before
  before=$(prompts)
  echo "$1" >&3
  for _ in $(seq 2400); do [[ $(prompts) -gt $before ]] && return; sleep 0.02; done
  die "qemu-io does not get on: $1"
}
qemu_io 'write -P 0x11 0 64k'
nbdsh -u "$(uri a)" -c "work = '$work'" -c '
import os, struct
n = 0
while not os.path.exists(work + "/stop"):
    n += 1
    h.pwrite(struct.pack("<Q", n) * 512, (8 << 20) + n % 64 * 4096)
    assert h.pread(8, (8 << 20) + n % 64 * 4096) == struct.pack("<Q", n)
    if n % 100 == 0:
        h.flush()
        open(work + "/count.new", "w").write(str(n))
        os.rename(work + "/count.new", work + "/count")
h.flush()
print("last", n, flush=True)
' >"$work/counter.log" 2>&1 &
counter=$!
pids+=("$counter")
goes_on() {  # the counter has got further
  local before now
  before=$(cat "$work/count" 2>/dev/null || echo 0)
  for _ in $(seq 400); do
    now=$(cat "$work/count" 2>/dev/null || echo 0)
    [[ $now -gt $before ]] && return
    kill -0 "$counter" 2>/dev/null || die "the client at A ended"
    sleep 0.05
  done
  die "the client at A does not get on"
}
goes_on

# --- A to B, slowly: B before it owns ---
"$godwit" volume pull "unix:$work/slow.sock" disk --memory --data "$work/b" --listen "unix:$work/b.sock" --nbd "unix:$work/b.nbd" \
  --json >"$work/b.log" 2>&1 &
pids+=($!)
for _ in $(seq 400); do nbdinfo "$(uri b)" >"$work/info.log" 2>/dev/null && break; sleep 0.05; done
grep -q 'not owned yet' "$work/info.log" || die "B does not say that it does not own yet"
nbdsh -u "$(uri b)" -c "work = '$work'" -c '
import os, time
h.flush()
assert h.pread(65536, 0) == b"\x11" * 65536, "an early read"
write = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"\x44" * 4096)), 12 << 20)
for _ in range(50):
    h.poll(10)
    assert not h.aio_command_completed(write), "a write was taken before the volume was owned"
print("waits", flush=True)
while not h.aio_command_completed(write):
    h.poll(1000)
print("written", flush=True)
assert h.pread(4096, 12 << 20) == b"\x44" * 4096
' >"$work/early.log" 2>&1 &
early=$!
pids+=("$early")
wait_for "$work/early.log" waits
grep -q '"event":"pulled"' "$work/b.log" && die "the move was not slow enough for this test"
nbdinfo "$(uri b)" | grep -q 'not owned yet' || die "B owns too early"
grep -q written "$work/early.log" && die "a write at B did not wait"
qemu_io 'write -P 0x22 1M 64k'
touch "$work/fast"
i=0
until grep -q '"event":"pulled"' "$work/b.log"; do  # through the switch itself
  qemu_io "write -P 0x33 $((2 * 1048576 + i % 16 * 65536)) 64k"
  i=$((i + 1))
  [[ $i -lt 6000 ]] || die "the move does not end"
done
wait_for "$work/early.log" written
wait "$early" || die "the client at B failed"
qemu_io 'write -P 0x55 4M 64k'
qemu_io flush
pulled b
goes_on
nbdinfo "$(uri b)" | grep -q 'owned here' || die "B does not say that it owns"

# --- on to C, and home ---
start c pull "unix:$work/b.sock" disk --memory
pulled c
goes_on
qemu_io 'write -P 0x66 5M 64k'
nbdsh -u "$(uri c)" -c 'assert h.pread(65536, 5 << 20) == b"\x66" * 65536' >"$work/at_c.log" 2>&1 || die "the write is not at C"
"$godwit" volume pull "unix:$work/c.sock" disk --data "$work/a" >"$work/home.log" 2>&1 || die "the pull home"
pulled a
goes_on
for check in '0x11 0' '0x22 1M' '0x55 4M' '0x66 5M' '0x44 12M'; do
  read -r pattern offset <<<"$check"
  length=64k
  [[ $pattern == 0x44 ]] && length=4k
  qemu_io "read -P $pattern $offset $length"
done
[[ $i -gt 0 ]] && qemu_io 'read -P 0x33 2M 64k'
qemu_io flush
qemu_io 'write -P 0x77 6M 64k'
echo quit >&3  # the end of its input is not enough: others have inherited the pipe
wait "$qemu" || die "qemu-io failed"
grep -qiE 'error|fail' "$work/qemu.log" && die "qemu-io met an error"
[[ $(grep -c '^\(qemu-io> \)*wrote 65536/65536' "$work/qemu.log") -eq $((5 + i)) ]] || die "a write of qemu-io was not done"
[[ $(grep -c '^\(qemu-io> \)*read [0-9]*/' "$work/qemu.log") -eq $((5 + (i > 0))) ]] || die "a read of qemu-io was not done"
touch "$work/stop"
wait "$counter" || die "the client that never stops failed"
last=$(sed -n 's/^last //p' "$work/counter.log")
nbdsh -u "$(uri a)" -c "n = $last" -c '
import struct
for k in range(max(1, n - 63), n + 1):
    assert h.pread(8, (8 << 20) + k % 64 * 4096) == struct.pack("<Q", k), k
' >"$work/last.log" 2>&1 || die "a write of the client at A is lost"
echo "ok: $last writes of a client at A from A to B to C to A"
