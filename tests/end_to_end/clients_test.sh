#!/usr/bin/env bash
# Real NBD clients through a hand-over. A client that stays connected to A writes on after the switch, its FLUSH is B's; B answers
# reads and FLUSH at any time; with --after-handover=refuse the client at A gets ESHUTDOWN. chain_test.sh slows the move down, to see
# B before it owns.
#
#   tests/end_to_end/clients_test.sh GODWIT
set -uo pipefail
export PATH=/usr/bin:$PATH  # nbdsh runs the first python3 there is, and its module belongs to the system's
godwit=$(realpath "${1:?usage: clients_test.sh GODWIT}")
source "$(dirname "$0")/../lib.sh"
needs nbdsh nbdinfo qemu-img
uri() { echo "nbd+unix:///disk?socket=$work/$1.nbd"; }

move() {  # AFTER_HANDOVER WHAT_THE_CLIENT_DOES_AFTERWARDS
  local after=$1 client serve pull
  rm -rf "${work:?}"/*
  "$godwit" volume serve --memory disk=64MiB --data "$work/a" --listen "unix:$work/a.sock" --nbd "unix:$work/a.nbd" --json \
    --after-handover "$after" >"$work/a.log" 2>&1 &
  serve=$!
  pids+=($serve)
  wait_for "$work/a.log" '"event":"ready"'
  # One connection for the whole story; the test tells it by files when to go on.
  nbdsh -u "$(uri a)" -c "work, after = '$work', '$after'" -c '
import errno, os, time
for i in range(64):
    h.pwrite(bytes([i + 1]) * (1 << 20), i << 20)
h.flush()
print("written", flush=True)
while not os.path.exists(work + "/owned"):
    time.sleep(0.01)
try:
    h.pwrite(b"after" * 100, 12345)
    h.flush()
    assert after == "relay", "a write was taken after the hand-over"
    assert h.pread(500, 12345) == b"after" * 100
except nbd.Error as error:
    assert after == "refuse" and error.errnum == errno.ESHUTDOWN, error
print("through", flush=True)
' >"$work/client.log" 2>&1 &
  client=$!
  pids+=($client)
  wait_for "$work/client.log" written
  "$godwit" volume pull "unix:$work/a.sock" disk --memory --data "$work/b" --listen none --nbd "unix:$work/b.nbd" --json \
    >"$work/b.log" 2>&1 &
  pull=$!
  pids+=($pull)
  for _ in $(seq 400); do nbdinfo "$(uri b)" >"$work/info.log" 2>/dev/null && break; sleep 0.005; done
  grep -qE 'not owned yet|owned here' "$work/info.log" || die "nbdinfo shows nothing about the owner"
  nbdsh -u "$(uri b)" -c 'h.flush()' -c 'assert h.pread(4096, 5 << 20) == b"\x06" * 4096' >"$work/early.log" 2>&1 || die "early read"
  wait_for "$work/b.log" '"event":"pulled"'
  wait_for "$work/a.log" '"event":"moved"'
  nbdinfo "$(uri b)" | grep -q 'owned here' || die "B does not say that it owns"
  touch "$work/owned"
  wait_for "$work/client.log" through
  wait "$client" || die "the client at A failed"
  if [ "$after" = relay ]; then
    nbdsh -u "$(uri b)" -c 'assert h.pread(500, 12345) == b"after" * 100' >"$work/early.log" 2>&1 || die "the write is not at B"
  fi
  kill "$pull" "$serve"
  wait "$pull" || die "B did not end in order"
  wait "$serve" || die "A did not end in order"
  echo "ok: --after-handover=$after"
}
move relay
move refuse
