#!/usr/bin/env bash
# Images at the edge of what a machine has: blobs and files over 4 GiB (sparse ones), kill -9 at any moment of extract and gc, a store
# that is mounted for reading only, and full disks. What was whole before stays whole, what goes wrong is said with its place.
#
#   tests/end_to_end/image_limits_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_limits_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
clean_up_more() {
  cd /
  for mounted in "$work/bound" "$work/full"; do ! mountpoint -q "$mounted" || umount "$mounted"; done
}
needs openssl mountpoint cmp
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache TMPDIR=$work
cd "$work"
image() { "$godwit" image "$@"; }
same() { cmp -s "$1" "$2" || die "$3"; }
no_left_overs() { [ -z "$(find "$1" -name '.#*' -o -name '*.tmp')" ] || die "left over: $(find "$1" -name '.#*' -o -name '*.tmp')"; }

echo "- a blob and a file over 4 GiB"
random_bytes 3000000 >data
truncate -s 4200M large
dd if=data of=large bs=1M seek=4150 conv=notrunc status=none
image make large.caibx large --no-sync --no-digest >/dev/null
image cat large.caibx --offset 4351591000 --length 1000000 >range
dd if=large bs=1M skip=4351591000 count=1000000 iflag=skip_bytes,count_bytes status=none | cmp -s - range || die "another range behind 4 GiB"
image extract large.caibx large.out --no-sync
[ "$(stat -c %s large.out)" = $((4200 << 20)) ] || die "another size: $(stat -c %s large.out)"
[ "$(stat -c %b large.out)" -lt 20000 ] || die "the holes of a large blob were written: $(stat -c %b large.out) blocks"
# Made again, it is the same index: so it has the same bytes, and no two times 4 GiB need to be read.
image make again.caibx large.out --no-sync --no-digest >/dev/null
same large.caibx again.caibx "a blob over 4 GiB is another one after extract"
rm large.out
mkdir tree
mv large tree/large
echo small >tree/small
image make tree.caidx tree --without privileged --no-sync --no-digest >/dev/null
image extract tree.caidx tree.out --without privileged
[ "$(stat -c %s tree.out/large)" = $((4200 << 20)) ] || die "a file over 4 GiB has another size: $(stat -c %s tree.out/large)"
# Only the data is read; that the rest is a hole is seen by its blocks.
dd if=tree.out/large bs=1M skip=4150 count=3000000 iflag=count_bytes status=none | cmp -s - data || die "a file over 4 GiB has other data"
same tree/small tree.out/small "what is behind a file over 4 GiB is lost"
[ "$(stat -c %b tree.out/large)" -lt 20000 ] || die "the holes of a large file were written: $(stat -c %b tree.out/large) blocks"
rm -rf tree tree.out

# killed_after SECONDS COMMAND…
killed_after() {
  local seconds=$1 pid
  shift
  "$@" >/dev/null 2>&1 &
  pid=$!
  sleep "$seconds"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
}
moments="0.004 0.008 0.012 0.016 0.02 0.025 0.03 0.04 0.06 0.08"

echo "- an extract that is killed leaves the old file or the new one"
random_bytes 30000000 >new
head -c 20000000 new | tr '\000-\377' '\001-\377\000' >old
image make new.caibx new --store castr --no-sync --no-digest >/dev/null
for moment in $moments; do
  cp old target
  killed_after "$moment" "$godwit" image extract new.caibx target --store castr --no-sync
  cmp -s target old || cmp -s target new || die "neither the old file nor the new one, killed after $moment s"
done
echo "- one in place goes on"
cp old target
for moment in $moments; do
  killed_after "$moment" "$godwit" image extract new.caibx target --store castr --no-sync --in-place
done
image extract new.caibx target --store castr --no-sync --in-place
same target new "killed extracts in place end in another file"
rm -f .#*
echo "- one of a tree is made whole by the next"
mkdir tree
for number in $(seq 400); do head -c $((number * 200)) new >"tree/$number"; done
cp new tree/large
image make tree.caidx tree --store castr --without privileged --no-sync --no-digest >/dev/null
for moment in $moments; do
  killed_after "$moment" "$godwit" image extract tree.caidx tree.out --store castr --without privileged
done
image extract tree.caidx tree.out --store castr --without privileged
diff -r tree tree.out || die "killed extracts of a tree end in another one"
no_left_overs tree.out
echo "- a gc that is killed takes nothing that an index names"
for moment in $moments; do
  rm -f gone && cp old gone
  image make gone.caibx gone --store castr --no-sync --no-digest >/dev/null
  killed_after "$moment" "$godwit" image gc new.caibx tree.caidx --store castr
  image verify new.caibx tree.caidx --store castr >out || die "a killed gc took what is named, after $moment s: $(cat out)"
done
image gc new.caibx tree.caidx --store castr >/dev/null
image gc new.caibx tree.caidx --store castr | grep -q '^Removed 0 chunks' || die "a gc after killed ones leaves something"
image verify new.caibx tree.caidx --store castr >/dev/null || die "a gc after killed ones took what is named"

if [ "$(id -u)" -ne 0 ]; then
  echo "not shown: only root mounts a store for reading only, or a small disk"
  verdict
  exit
fi
echo "- a store for reading only"
mkdir bound full
if mount --bind castr bound && mount -o remount,bind,ro bound; then
  fails_with "make says that it cannot write, and where" "bound.*Read-only file system" "$godwit" image make refused.caibx old --store bound --no-sync
  [ ! -e refused.caibx ] || die "an index of chunks that are not stored"
  check "verify reads it" "$godwit" image verify new.caibx --store bound
  check "extract reads it" "$godwit" image extract new.caibx out.bound --store bound --no-sync
  check "make of what it has all chunks of" "$godwit" image make known.caibx new --store bound --no-digest
  check "it gives the same index" cmp known.caibx new.caibx
  umount bound
else echo "not shown: no folder can be bound here for reading only"; fi

echo "- a full disk"
if mount -t tmpfs -o size=24m none full; then
  head -c 1000000 old >full/target
  cp full/target kept
  fails_with "a blob" "No space left on device" "$godwit" image extract new.caibx full/target --store castr --no-sync
  same full/target kept "a full disk took the old file"
  no_left_overs full
  fails_with "a blob in place" "No space left on device" "$godwit" image extract new.caibx full/target --store castr --no-sync --in-place
  rm -f full/target
  mkdir full/tree
  head -c 1000000 old >full/tree/large
  fails_with "a tree" "No space left on device" "$godwit" image extract tree.caidx full/tree --store castr --without privileged
  same full/tree/large kept "a full disk took the old file of a tree"
  no_left_overs full
  rm -rf full/tree
  fails_with "a new tree" "No space left on device" "$godwit" image extract tree.caidx full/tree --store castr --without privileged
  [ ! -e full/tree/large ] || die "a partial file in a new tree"
  umount full
else echo "not shown: no file system can be mounted here, so none is full"; fi
verdict
