#!/usr/bin/env bash
# A blob by its index as NBD clients see it: the same bytes through nbdcopy and qemu-img, from a directory and over HTTP; holes;
# what happens when a chunk is damaged, missing and back; who may reach it; and an end in order.
#
#   tests/end_to_end/image_export_test.sh BUILD/bin/godwit
set -euo pipefail

godwit=$1
source "$(dirname "$0")/../lib.sh"
needs nbdcopy nbdinfo qemu-img
cd "$work"
unset CASYNC_STORE GODWIT_LOG

# start NAME COMMAND…: in the background, until it says that it serves.
start() {
  local name=$1
  shift
  "$@" >"$name.out" 2>"$name.err" &
  pids+=($!)
  for _ in $(seq 200); do
    grep -q serving "$name.out" && return
    sleep 0.05
  done
  cat "$name.err" >&2
  die "$* does not start"
}
stop() {  # the last one
  local pid=${pids[-1]} code=0
  kill "$pid"
  wait "$pid" || code=$?
  unset 'pids[-1]'
  [ "$code" -eq 0 ] || die "the end by a signal gives $code"
}
uri="nbd+unix:///disk?socket=$work/socket"

truncate -s 40000001 disk
head -c 6000000 /dev/urandom >noise
dd if=noise of=disk bs=1000000 seek=3 conv=notrunc status=none
dd if=noise of=disk bs=1000000 seek=30 count=5 conv=notrunc status=none
"$godwit" image make disk.caibx disk --no-sync >/dev/null

start local "$godwit" image export disk.caibx --nbd "unix:$work/socket"
nbdcopy "$uri" copy
cmp copy disk || die "nbdcopy from a directory gives other bytes"
nbdcopy --connections=4 --request-size=4096 "$uri" copy
cmp copy disk || die "nbdcopy in small requests over four connections gives other bytes"
# It counts in sectors, beyond an end that is not one: zeros.
qemu-img convert -f raw -O raw "$uri" copy
cmp -n 40000001 copy disk || die "qemu-img gives other bytes"
nbdinfo --json "$uri" >info
grep -q '"is_read_only": true' info && grep -q '"export-size": 40000001' info || die "nbdinfo: $(cat info)"
nbdinfo --map --json "$uri" | python3 -c '
import json, sys
rows = json.load(sys.stdin)
assert sum(r["length"] for r in rows) == 40000001, rows
zeros = sum(r["length"] for r in rows if r["type"] & 2)
assert zeros > 25 << 20, rows' || die "holes are not told"
! nbdcopy disk "$uri" 2>/dev/null || die "something could be written"
nbdcopy "nbd+unix:///?socket=$work/socket" copy
cmp copy disk || die "the export without a name is another one"
stop
[ ! -s local.err ] || die "it complains: $(cat local.err)"
echo "a directory: ok"

# Over HTTP, index and chunks, with a cache that holds next to nothing.
start web "$godwit" image serve "$work" --listen 127.0.0.1:0
url=$(sed -n 's/.* at \(http[^ ]*\)/\1/p' web.out)
start remote "$godwit" image export "${url}disk.caibx" --nbd "unix:$work/socket" --cache 512KiB
nbdcopy "$uri" copy
cmp copy disk || die "nbdcopy over HTTP gives other bytes"
stop
stop
echo "HTTP: ok"

# A damaged chunk fails the reads that want it, with its id in the log, and only those; whole again, it is read again.
victim=$(find default.castr -name '*.cacnk' -size +100k | sort | head -n 1)
id=$(basename "$victim" .cacnk)
start hurt "$godwit" image export disk.caibx --nbd "unix:$work/socket" --cache 1
cp "$victim" saved
for hurt in damaged "not in the store"; do
  rm -f "$victim"
  [ "$hurt" != damaged ] || printf 'damage' >"$victim"
  : >hurt.err
  ! nbdcopy "$uri" copy 2>client.err || die "a $hurt chunk is read"
  grep -q "$id" hurt.err && grep -q "$hurt" hurt.err || die "the log does not name the $hurt chunk: $(cat hurt.err)"
done
cp saved "$victim"
nbdcopy "$uri" copy
cmp copy disk || die "other bytes after the chunk came back"
stop
echo "damage: ok"

# Who may reach it, and what is wrong with a command.
refused() {  # CODE TEXT -- COMMAND…
  local code=$1 text=$2 status=0
  shift 3
  timeout 20 "$@" >out 2>err || status=$?
  [ "$status" -eq "$code" ] && grep -qF -- "$text" err || die "$* ended with $status and says: $(cat err)"
}
refused 2 "--insecure" -- "$godwit" image export disk.caibx --nbd 0.0.0.0:0
refused 2 "--cache" -- "$godwit" image export disk.caibx --cache lots
refused 1 "No such file" -- "$godwit" image export none.caibx --nbd "unix:$work/socket"
refused 1 "No such file" -- "$godwit" image export disk.caibx --nbd "unix:$work/socket" --store nowhere
refused 1 "no index" -- "$godwit" image export disk --nbd "unix:$work/socket"
echo "errors: ok"
