#!/usr/bin/env bash
# A volume that is an overlay on a base image moves to a host that has the same image: only the overlay's blocks travel, the bytes
# are equal, no base is written. On another image every block travels, and the bytes are equal too. The base is named once: it is
# found again at later starts, and refused when it has changed.
#
#   tests/end_to_end/overlay_test.sh GODWIT
set -uo pipefail
godwit=$(realpath "${1:?usage: overlay_test.sh GODWIT}")
source "$(dirname "$0")/../lib.sh"
size=$((32 << 20))
head -c $size /dev/urandom >"$work/base-a"
cp "$work/base-a" "$work/base-b"
head -c $size /dev/urandom >"$work/other"
sha256sum "$work/base-a" "$work/other" >"$work/sums"

move() {  # NAME BASE_AT_B: volume NAME, overlay on base-a with 17 blocks of its own, to a host with another base; sets $wire
  local name=$1 base=$2
  mkdir "$work/$name-a" "$work/$name-b"
  "$godwit" volume create "$name" --kind overlay --base "$work/base-a" --data "$work/$name-a" >>"$work/$name-a.log" 2>&1 ||
    die "create $name"
  "$godwit" volume serve "$name" --data "$work/$name-a" --listen "unix:$work/$name.sock" \
    --nbd "unix:$work/$name-a.nbd" --once --json >>"$work/$name-a.log" 2>&1 &
  pids+=($!)
  local serve=$!
  wait_for "$work/$name-a.log" '"event":"ready"'
  cp "$work/base-a" "$work/expected"
  head -c $((17 * 65536 - 1000)) /dev/urandom | tee "$work/change" |
    dd of="$work/expected" bs=64k seek=40 conv=notrunc status=none
  qemu-io -f raw -c "write -s $work/change $((40 * 65536)) $((17 * 65536 - 1000))" -c flush \
    "nbd+unix:///$name?socket=$work/$name-a.nbd" >>"$work/$name-a.log" 2>&1 || die "qemu-io"
  "$godwit" volume pull "unix:$work/$name.sock" "$name" --base "$base" --data "$work/$name-b" --listen none \
    --nbd "unix:$work/$name-b.nbd" --json >>"$work/$name-b.log" 2>&1 &
  pids+=($!)
  local pull=$!
  wait_for "$work/$name-b.log" '"event":"pulled"'
  wire=$(grep '"event":"pulled"' "$work/$name-b.log" | grep -o '"bytes_on_wire":[0-9]*' | cut -d: -f2)
  qemu-img compare -f raw -F raw "$work/expected" "nbd+unix:///$name?socket=$work/$name-b.nbd" >>"$work/$name-b.log" 2>&1 ||
    die "$name differs at its new host"
  wait "$serve" || die "serve of $name did not end with 0"
  kill "$pull"
  wait "$pull" || die "pull of $name did not end with 0"
  again "$name" "$base"
  sha256sum --quiet -c "$work/sums" || die "a base was written"
  cmp "$work/base-a" "$work/base-b" || die "the base at the new host was written"
  echo "ok: $name, $wire bytes on the wire"
}
again() {  # NAME BASE: the new host starts once more, without being told what the volume lies on, and not on a changed base
  local name=$1 base=$2
  cp "$base" "$work/kept"
  printf x | dd of="$base" bs=1 seek=5000 conv=notrunc status=none
  "$godwit" volume serve "$name" --data "$work/$name-b" --listen none >"$work/changed.log" 2>&1 && die "a changed base was accepted"
  grep -q "is not the image that the overlay was written over" "$work/changed.log" || die "the changed base is not named"
  cp "$work/kept" "$base"
  "$godwit" volume serve "$name" --data "$work/$name-b" --listen none --nbd "unix:$work/$name-b.nbd" --json >"$work/$name-again.log" 2>&1 &
  pids+=($!)
  local serve=$!
  wait_for "$work/$name-again.log" '"event":"ready"'
  qemu-img compare -f raw -F raw "$work/expected" "nbd+unix:///$name?socket=$work/$name-b.nbd" >>"$work/$name-again.log" 2>&1 ||
    die "$name differs after its new host has started again"
  kill "$serve"
  wait "$serve" || die "serve of $name did not end with 0"
}
command -v qemu-io >/dev/null || { echo "SKIPPED: needs qemu-io"; exit 77; }
move same "$work/base-b"
[ "$wire" -lt $((18 * 65536 + 20000)) ] || die "more than the overlay's blocks travelled: $wire bytes"
move different "$work/other"
[ "$wire" -gt $size ] || die "blocks of an unequal base did not travel: $wire bytes"
