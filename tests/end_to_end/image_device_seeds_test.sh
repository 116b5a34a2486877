#!/usr/bin/env bash
# Block devices as seeds and as what is written with seeds: what one holds is known the next time until it is written, whoever writes
# it, and a device that changed unseen costs no byte that is right. On loop devices, which only root has.
#
#   tests/end_to_end/image_device_seeds_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_device_seeds_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
loops=()
clean_up_more() {
  for loop in ${loops[@]+"${loops[@]}"}; do losetup -d "$loop" 2>/dev/null || true; done
}
needs losetup openssl cmp
[ "$(id -u)" = 0 ] || skip "loop devices are root's"
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache
cd "$work"

size=$((24 << 20))
random_bytes $size >blob
for name in a b; do
  cp blob "image-$name"
  loop=$(losetup --find --show "image-$name" 2>losetup.log) || skip "losetup: $(cat losetup.log)"
  loops+=("$loop")
done
a=${loops[0]} b=${loops[1]}
"$godwit" image make blob.caibx blob --store castr --no-sync --no-digest
mkdir empty
said() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" out; }
extract() { "$godwit" image extract "$@" --no-sync --json >out; }
same() { cmp -s -n $size "$1" "$2" || die "$3"; }
# from_device READ KNOWN [OPTION…]: the blob, with what is on the first device
from_device() {
  extract blob.caibx copy --seed "$a" --store castr --seed-output=no "${@:3}"
  same copy blob "another blob from a device"
  [ "$(said seed_bytes_read)" = "$1" ] && [ "$(said seed_bytes_known)" = "$2" ] || die "not $1 read and $2 known: $(cat out)"
}

echo "- a device has what is on it"
extract blob.caibx copy --seed "$a" --store empty --seed-cache=no
same copy blob "another blob from a device"
[ "$(said seed_bytes_read)" = $size ] || die "a device was not read: $(cat out)"
[ -z "$(ls cache 2>/dev/null)" ] || die "--seed-cache=no keeps something"
from_device $size 0
if [ ! -e "/sys/dev/block/$(stat -c '%Hr:%Lr' "$a")/diskseq" ]; then
  echo "not shown: this kernel does not number its disks, so nothing is known of them"
  verdict
  exit
fi
echo "- and is known the next time"
from_device 0 $size
from_device 0 $size
[ "$(said bytes_fetched)" = 0 ] || die "what is known was fetched: $(cat out)"
from_device $size 0 --seed-cache=no
echo "- until it is written, whether or not that is on the disk yet"
printf changed | dd of="$a" bs=1 seek=10000000 conv=notrunc,fsync status=none
from_device $size 0
from_device 0 $size
[ "$(said bytes_fetched)" -gt 0 ] || die "a chunk that was overwritten came from the device: $(cat out)"
printf changed | dd of="$a" bs=1 seek=15000000 conv=notrunc status=none
from_device $size 0
from_device 0 $size
if blkdiscard -o $((4 << 20)) -l $((1 << 20)) "$a" 2>/dev/null; then from_device $size 0; else echo "  not shown: no discard"; fi
echo "- or is another one with the same name"
losetup -d "$a"
cp blob image-a
losetup "$a" image-a || die "the loop device is gone"
from_device $size 0
from_device 0 $size
echo "- one that changed unseen costs nothing but sharing"
printf unseen | dd of=image-a bs=1 seek=12000000 conv=notrunc,fsync status=none
blockdev --flushbufs "$a"
from_device 0 $size
[ "$(said bytes_fetched)" -gt 0 ] || die "a chunk that is no longer there came from the device: $(cat out)"

echo "- a device that is written, with another as its seed"
dd if=/dev/zero of="$b" bs=1M count=20 conv=notrunc status=none
cp blob image-a
blockdev --flushbufs "$a"
extract blob.caibx "$b" --seed "$a" --store empty
same "$b" blob "another blob on a device"
[ "$(said bytes_reused)" -gt $((size - 1000000)) ] || die "little was reused: $(cat out)"
extract blob.caibx "$b" --store empty
same "$b" blob "another blob on a device that was right"
echo "- what was written to it is known"
rm -rf cache
extract blob.caibx "$b" --store empty
extract blob.caibx copy --seed "$b" --store empty --seed-output=no
same copy blob "another blob from a device that was written"
[ "$(said seed_bytes_read)" = 0 ] || die "a device that was written is read again: $(cat out)"
echo "- and one that is its own seed while it changes: all moves on it"
{
  random_bytes $((size + 5000)) | tail -c 5000
  head -c $((size - 5000)) blob
} >moved
"$godwit" image make moved.caibx moved --store castr --no-sync --no-digest
for round in 1 2; do
  extract moved.caibx "$b" --seed "$b" --store castr
  same "$b" moved "what moves on a device is another blob, round $round"
done
echo "- a blob that is larger than the device is refused, and nothing is written"
random_bytes $((size + 4096)) >larger
"$godwit" image make larger.caibx larger --store castr --no-sync --no-digest
fails_with "a blob that does not fit" "has $size bytes, the blob $((size + 4096))" \
  "$godwit" image extract larger.caibx "$b" --seed "$a" --store castr --no-sync
same "$b" moved "a blob that does not fit was written"
verdict
