#!/usr/bin/env bash
# Extraction shares blocks with its seeds where the file system can: on XFS, in a file behind a loop device, which only root has.
# Where it cannot, between two file systems or with --reflink=no, the same bytes come out; and a seed that is not what it was taken
# for gives no wrong byte.
#
#   tests/end_to_end/image_reflink_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_reflink_test.sh GODWIT}")
work=$(mktemp -d)
mounted=
cleanup() {
  cd /
  [ -z "$mounted" ] || umount "$work/xfs"
  rm -rf "$work"
}
trap cleanup EXIT
skip() {
  echo "SKIPPED: $*"
  exit 77
}
fail() {
  echo "FAILED  $*" >&2
  exit 1
}
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache
[ "$(id -u)" = 0 ] || skip "only root mounts a loop device"
command -v mkfs.xfs >/dev/null || skip "no mkfs.xfs (Debian: xfsprogs)"
truncate -s 512M "$work/image"
mkfs.xfs -q -m reflink=1 "$work/image" || skip "mkfs.xfs makes no file system with reflinks"
mkdir "$work/xfs"
mount -o loop "$work/image" "$work/xfs" || skip "no loop device, or no XFS"
mounted=yes
cd "$work/xfs"

used_kib() {
  sync -f .
  df --output=used . | tail -n 1
}
# said KEY: what the last extract said of it.
said() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$work/out"; }
extract() {
  "$godwit" image extract "$work/blob.caibx" "$@" --store "$work/castr" --json >"$work/out"
}

head -c 60000000 /dev/urandom >"$work/blob"
truncate -s 61000000 "$work/blob"  # a hole at its end
"$godwit" image make "$work/blob.caibx" "$work/blob" --store "$work/castr" --no-sync >/dev/null
cp "$work/blob" seed

before=$(used_kib)
extract shared --seed seed
cmp shared "$work/blob" || fail "another blob from a shared seed"
[ "$(said bytes_shared)" -gt 59000000 ] || fail "little was shared: $(cat "$work/out")"
[ $(($(used_kib) - before)) -lt 10000 ] || fail "60 MB that are shared take $(($(used_kib) - before)) KiB"
extract apart --seed seed --reflink=no
cmp apart "$work/blob" || fail "another blob with --reflink=no"
[ "$(said bytes_shared)" = 0 ] || fail "--reflink=no shares"
[ $(($(used_kib) - before)) -gt 50000 ] || fail "--reflink=no takes no room"
rm apart

# A write to the seed afterwards is the seed's alone.
printf changed | dd of=seed conv=notrunc bs=1 seek=30000000 status=none
cmp shared "$work/blob" || fail "a write to the seed shows in what was extracted"

# A seed of other times: what fits is shared, the rest comes from the store.
{
  head -c 20000000 "$work/blob"
  head -c 5000 /dev/urandom
  tail -c +20000001 "$work/blob"
} >seed
extract shifted --seed seed
cmp shifted "$work/blob" || fail "another blob from a shifted seed"
[ "$(said bytes_shared)" -gt 19000000 ] || fail "nothing of the part that fits is shared: $(cat "$work/out")"

# Zeros where chunks were.
for at in 10 200 400; do
  dd if=/dev/zero of=seed bs=100000 count=3 seek="$at" conv=notrunc status=none
done
extract damaged --seed seed
cmp damaged "$work/blob" || fail "another blob from a seed with holes in its chunks"

# Between two file systems nothing can be shared.
extract across --seed "$work/blob"
cmp across "$work/blob" || fail "another blob from a seed elsewhere"
[ "$(said bytes_shared)" = 0 ] || fail "blocks of another file system were shared"
[ "$(said bytes_reused)" -gt 59000000 ] || fail "a seed elsewhere was not used"
# Nor in place.
cp seed place
extract place --seed shared --in-place
cmp place "$work/blob" || fail "another blob in place"
[ "$(said bytes_shared)" = 0 ] || fail "shared in place"
echo "reflinks on XFS: all as it should be"
