#!/usr/bin/env bash
# A volume moves between block devices, as a user does it: what is on a device becomes a volume, goes over a larger device of another
# host and back; no other process, data directory or mount gets at a device in use; removing forgets and does not wipe. On loop
# devices, which only root has.
#
#   tests/end_to_end/device_test.sh GODWIT
set -uo pipefail
godwit=$(realpath "${1:?usage: device_test.sh GODWIT}")
source "$(dirname "$0")/../lib.sh"
loops=()
clean_up_more() {
  for loop in ${loops[@]+"${loops[@]}"}; do losetup -d "$loop" 2>/dev/null; done
}
refused() {  # SENTENCE ARGUMENTS…
  local sentence=$1
  shift
  if "$godwit" volume "$@" >"$work/refused.log" 2>&1; then die "godwit volume $* was not refused"; fi
  grep -q -- "$sentence" "$work/refused.log" || die "godwit volume $* did not say: $sentence"
}
command -v losetup >/dev/null || skip "needs losetup"
[ "$(id -u)" = 0 ] || skip "loop devices are root's"

size=$((20 << 20))
head -c $size /dev/urandom >"$work/image-a"
head -c $((size + (1 << 20))) /dev/urandom >"$work/image-b"  # larger, and full of something
head -c $((size - 4096)) /dev/urandom >"$work/image-small"
for name in a b small; do
  loop=$(losetup --find --show "$work/image-$name" 2>"$work/losetup.log") || skip "losetup: $(cat "$work/losetup.log")"
  loops+=("$loop")
done
dev_a=${loops[0]} dev_b=${loops[1]} dev_small=${loops[2]}
fallocate -z -o $((4 << 20)) -l $((2 << 20)) "$dev_a" || die "fallocate"  # zeros: at the other end they are not there before
cp --sparse=never "$dev_a" "$work/expected"
tail -c $((1 << 20)) "$work/image-b" >"$work/rest-b"
cp "$work/image-small" "$work/small-before"
same() { cmp -n $size "$1" "$work/expected" || die "$2"; }

# --- a device becomes a volume ---
"$godwit" volume create db --device "$dev_a" --data "$work/data-a" >"$work/create.log" 2>&1 || die "create --device"
[ -e "$work/data-a/volumes/db.own" ] || die "no record in the data directory"
same "$dev_a" "making a volume of the device changed it"
refused "is volume db's" create other --device "$dev_a" --data "$work/data-a"
refused "does not fit" create small --device "$dev_small" --size 20MiB --data "$work/data-a"
refused "no block device" create none --device "$work/expected" --data "$work/data-a"
"$godwit" volume serve --data "$work/data-a" --listen "unix:$work/a.sock" --json >"$work/serve-a.log" 2>&1 &
pids+=($!)
serve_a=$!
wait_for "$work/serve-a.log" '"event":"ready"'

# --- in use: neither another data directory nor another process of any kind has it ---
refused "is in use" create db --device "$dev_a" --data "$work/data-c"
refused "is in use" serve "$dev_a" --data "$work/data-c" --listen none
[ -z "$(ls "$work/data-c/volumes")" ] || die "a refused device left something behind"

# --- over a larger device of another host; a smaller one is refused ---
refused "does not fit" pull "unix:$work/a.sock" db --device "$dev_small" --data "$work/data-b" --listen none
[ -z "$(ls "$work/data-b/volumes")" ] || die "a refused pull left something behind"
cmp "$dev_small" "$work/small-before" || die "a device that is too small was written"
"$godwit" volume pull "unix:$work/a.sock" db --device "$dev_b" --data "$work/data-b" --listen "unix:$work/b.sock" --json \
  >"$work/pull-b.log" 2>&1 &
pids+=($!)
pull_b=$!
wait_for "$work/pull-b.log" '"event":"pulled"'
same "$dev_b" "the copy differs"
tail -c $((1 << 20)) "$dev_b" | cmp - "$work/rest-b" || die "what lies behind the volume on its device was written"
"$godwit" volume status db --data "$work/data-b" | grep -q "OWNED.*device" || die "B does not say that it owns a device"
wait_until "A's hearing of it" sh -c "'$godwit' volume status db --data '$work/data-a' | grep -q RELINQUISHED"

# --- it is written at B, killed, and is there again after the start ---
if command -v qemu-io >/dev/null; then
  qemu-io -f raw -c "write -P 0x5a 65536 4096" -c flush "nbd+unix:///db?socket=$work/data-b/nbd" >"$work/qemu.log" 2>&1 ||
    die "qemu-io"
  head -c 4096 /dev/zero | tr '\0' '\132' | dd of="$work/expected" bs=4096 seek=16 conv=notrunc status=none
else
  echo "qemu-io is not installed: nothing is written at B"
fi
kill -KILL "$pull_b"
wait "$pull_b" 2>/dev/null
"$godwit" volume serve --data "$work/data-b" --listen "unix:$work/b2.sock" --json >"$work/serve-b.log" 2>&1 &
pids+=($!)
serve_b=$!
wait_for "$work/serve-b.log" '"event":"ready"'
grep -q '"volumes":\["db"\]' "$work/serve-b.log" || die "B does not serve it after its restart"

# --- and back, onto the device it came from ---
"$godwit" volume pull "unix:$work/b2.sock" db --data "$work/data-a" >"$work/back.log" 2>&1 || die "the pull back"
same "$dev_a" "what came back differs"
for pid in $serve_a $serve_b; do
  kill "$pid"
  wait "$pid" || die "a host did not end with 0"
done

# --- removing forgets ---
refused "$dev_a stays" remove db --data "$work/data-a"
"$godwit" volume remove db --yes --data "$work/data-a" >"$work/remove.log" 2>&1 || die "remove"
same "$dev_a" "removing wiped the device"
"$godwit" volume create again --device "$dev_a" --data "$work/data-a" >"$work/create.log" 2>&1 || die "the device is not free"
# --- a device may be the base of overlays, of several at once ---
for name in one two; do
  "$godwit" volume create $name --kind overlay --base "$dev_b" --data "$work/data-c" >"$work/create.log" 2>&1 || die "create $name"
done
"$godwit" volume serve --data "$work/data-c" --listen none --json >"$work/serve-c.log" 2>&1 &
pids+=($!)
serve_c=$!
wait_for "$work/serve-c.log" '"event":"ready"'
grep -q '"volumes":\["one","two"\]' "$work/serve-c.log" || die "two overlays on one device are not served"
kill $serve_c
wait $serve_c || die "the host of the overlays did not end with 0"

# --- a mounted file system is nobody's volume ---
if mkfs.ext4 -q "$dev_small" 2>/dev/null && mkdir "$work/mount" && mount "$dev_small" "$work/mount" 2>/dev/null; then
  refused "is in use" create mounted --device "$dev_small" --data "$work/data-a"
  umount "$work/mount"
else
  echo "no file system can be mounted here: a mounted device is not tried"
fi
echo "moved between devices, and back"
