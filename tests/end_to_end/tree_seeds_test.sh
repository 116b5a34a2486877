#!/usr/bin/env bash
# What a tree that is extracted has from the files of a seed folder: blocks that both share, on XFS in a file behind a loop device,
# which only root has, and links with --hardlink=yes; beside what the original casync makes of the same, where it is installed.
# And the same bytes where neither can be.
#
#   tests/end_to_end/tree_seeds_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: tree_seeds_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
mounted=
clean_up_more() {
  cd /
  for mounted_too in "$work/small" "$work/tiny"; do ! mountpoint -q "$mounted_too" || umount "$mounted_too"; done
  [ -z "$mounted" ] || umount "$work/xfs"
}
unset CASYNC_STORE
export GODWIT_CACHE=$work/user
[ "$(id -u)" = 0 ] || skip "only root mounts a loop device"
needs mkfs.xfs mountpoint openssl
truncate -s 600M "$work/image"
mkfs.xfs -q -m reflink=1 "$work/image" || skip "mkfs.xfs makes no file system with reflinks"
mkdir "$work/xfs" "$work/bin"
mount -o loop "$work/image" "$work/xfs" || skip "no loop device, or no XFS"
mounted=yes
cd "$work/xfs"
original=$(command -v casync || true)
ln -s "$godwit" "$work/bin/casync"
casync() { PATH=$work/bin:$PATH command casync "$@"; }  # ours, under that name

used_kib() {
  sync -f .
  df --output=used . | tail -n 1
}
# said KEY: what the last extract said of it.
said() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" "$work/out"; }
extract() { "$godwit" image extract "$work/t.caidx" "$@" --store "$work/castr" --json >"$work/out"; }
digest() { "$godwit" image digest "$1"; }
# same_files A B: names of files that are the same in both.
same_files() { (cd "$1" && find . -type f) | while read -r f; do [ ! "$1/$f" -ef "$2/$f" ] || echo "$f"; done | sort; }

# make_seed FOLDER: files of many sizes, a sparse one, twins, attributes.
make_seed() {
  mkdir -p "$1/sub/deep"
  random_bytes 20000000 >"$1/big"
  random_bytes 30000000 | tail -c 10000001 >"$1/sub/odd"
  truncate -s 5000000 "$1/sparse" && random_bytes 3000 | dd of="$1/sparse" bs=1000000 seek=2 conv=notrunc status=none
  for size in 1 0 4095 4096 5000 70000 131072 131073; do random_bytes "$size" >"$1/sub/deep/$size"; done
  cp "$1/sub/deep/5000" "$1/sub/deep/twin"
  chmod 0640 "$1/sub/deep/twin"
  setfattr -n user.note -v something "$1/sub/deep/70000" 2>/dev/null || true
  ln -s ../big "$1/sub/link"
  find "$1" -exec touch -h -d @1500000000 {} +
}
make_seed seed
sync -f .
wanted=$("$godwit" image make "$work/t.caidx" seed --store "$work/castr" --no-sync)
"$godwit" image make "$work/t.catar" seed >/dev/null
[ "$(digest seed)" = "$wanted" ] || die "a seed that is not its own archive"

# expect_tree FOLDER: it is what the archive has.
expect_tree() { [ "$(digest "$1")" = "$wanted" ] || die "$1 is another tree"; }
gone() { rm -rf "$@"; sync -f .; }

echo "- blocks are shared"
before=$(used_kib)
extract shared --seed seed
expect_tree shared
[ "$(said bytes_shared)" -gt 30000000 ] || die "little was shared: $(cat "$work/out")"
[ "$(said files_linked)" = 0 ] || die "links were made without --hardlink"
[ $(($(used_kib) - before)) -lt 2000 ] || die "30 MB that are shared take $(($(used_kib) - before)) KiB"
[ -z "$(same_files seed shared)" ] || die "files are the seed's own without --hardlink"
if [ -n "$original" ]; then
  before=$(used_kib)
  "$original" extract --store="$work/castr" --seed=seed "$work/t.caidx" theirs
  expect_tree theirs
  echo "  with the original, it takes $(($(used_kib) - before)) KiB"
  gone theirs
fi
echo "- a write to the seed is the seed's alone"
cp -a --reflink=never seed kept
printf changed | dd of=seed/big conv=notrunc bs=1 seek=10000000 status=none
expect_tree shared
gone shared seed && mv kept seed
extract apart --seed seed --reflink=no
expect_tree apart
[ "$(said bytes_shared)" = 0 ] || die "--reflink=no shares"
gone apart

echo "- an archive that has no chunks shares as well"
"$godwit" image extract "$work/t.catar" shared --seed seed --json >"$work/out"
expect_tree shared
[ "$(said bytes_shared)" -gt 30000000 ] || die "little was shared: $(cat "$work/out")"
gone shared

echo "- another name, other attributes, another tail, zeros: what fits is shared"
cp -a --reflink=never seed other
mv other/big other/moved
chmod 0640 other/sub/odd
printf longer >>other/sub/odd
dd if=/dev/zero of=other/moved bs=4096 count=3 seek=1000 conv=notrunc status=none
sync -f .
before=$(used_kib)
extract shared --seed other
expect_tree shared
[ "$(said bytes_shared)" -gt 29000000 ] || die "little was shared: $(cat "$work/out")"
[ $(($(used_kib) - before)) -lt 3000 ] || die "what is nearly the same takes $(($(used_kib) - before)) KiB"
gone shared

echo "- links, as the original makes them"
extract linked --seed seed --hardlink=yes
expect_tree linked
[ "$(same_files seed linked)" = "$(cd seed && find . -type f | sort)" ] || die "not all files are links: $(same_files seed linked)"
[ "$(said files_linked)" = "$(find seed -type f | wc -l)" ] || die "it says $(said files_linked) links"
if [ -n "$original" ]; then
  "$original" extract --store="$work/castr" --seed=seed --hardlink=yes "$work/t.caidx" theirs
  expect_tree theirs
  [ "$(same_files seed theirs)" = "$(same_files seed linked)" ] || die "the original makes other links: $(same_files seed theirs)"
  gone theirs
fi
extract linked --seed linked --hardlink=yes  # onto itself
expect_tree linked
[ -z "$(find linked -name '.#*')" ] || die "a temporary name stayed"
gone linked
casync extract --store="$work/castr" --seed=seed --hardlink=yes "$work/t.caidx" linked
[ "$(same_files seed linked | wc -l)" = "$(find seed -type f | wc -l)" ] || die "not all files are links under the name casync"
gone linked
casync extract --seed=seed --hardlink=yes "$work/t.catar" linked
[ "$(same_files seed linked | wc -l)" = "$(find seed -type f | wc -l)" ] || die "not all files of an archive are links"
gone linked

echo "- what is not just so is no link"
extract linked --seed other --hardlink=yes
expect_tree linked
[ -z "$(same_files linked other | grep -E 'odd')" ] || die "a file with another mode and tail became a link"
[ ! linked/big -ef other/moved ] || die "a file with other bytes became a link"
[ linked/sub/deep/70000 -ef other/sub/deep/70000 ] || die "a file that is the same became none"
gone linked other

echo "- a seed folder is read where it lies, not copied first"
mkdir "$work/small" "$work/tiny" "$work/empty"
mount -t tmpfs -o size=1m none "$work/small"
mount -t tmpfs -o size=16k none "$work/tiny"
TMPDIR=$work/small "$godwit" image extract "$work/t.caidx" read --seed seed --store "$work/empty" --reflink=no
expect_tree read
# But for one that changes on the way: a file goes before it is wanted under another name.
mv read/sub/odd read/aaa
extract read --seed read
expect_tree read
gone read

echo "- what is replaced is a seed, also of a tree"
extract over
TMPDIR=$work/small "$godwit" image extract "$work/t.caidx" over --store "$work/empty"  # larger files are not copied there
expect_tree over
fails_with "--seed-output=no leaves it alone" "is not in the store" \
  "$godwit" image extract "$work/t.caidx" over --store "$work/empty" --seed-output=no
extract over
# The store has nothing but what is new; a file of the old tree is gone before it is wanted under another name.
cp -a --reflink=never seed next
mv next/sub/odd next/zzz
random_bytes 40000000 | tail -c 100000 >next/new
printf changed | dd of=next/big conv=notrunc bs=1 seek=10000000 status=none
next=$("$godwit" image make "$work/next.caidx" next --store "$work/next.castr" --no-sync)
(cd "$work/castr" && find . -name '*.cacnk') | (cd "$work/next.castr" && xargs rm -f)
"$godwit" image extract "$work/next.caidx" over --store "$work/next.castr" --seed-cache=no --json >"$work/out"
[ "$(digest over)" = "$next" ] || die "another tree from the one that was replaced"
[ "$(sed -n 's/.*"seed_bytes_read":\([0-9]*\).*/\1/p' "$work/out")" -gt 30000000 ] || die "it does not say what it read: $(cat "$work/out")"
gone over
extract over
casync extract --store="$work/next.castr" "$work/next.caidx" over
[ "$(digest over)" = "$next" ] || die "another tree under the name casync"
# The copy of it has no room: the seed is given up, and the store has all.
TMPDIR=$work/tiny "$godwit" image extract "$work/t.caidx" over --store "$work/empty" --extra-store "$work/castr" 2>"$work/said"
expect_tree over
grep -q "warning: what is replaced is no seed" "$work/said" || die "nothing is said of a seed that was given up: $(cat "$work/said")"
# Nothing there: nothing read.
mkdir nothing
extract nothing
[ -z "$(grep seeded "$work/out")" ] || die "an empty folder is read as a seed"
gone over next nothing

echo "- what a file seed holds is known the next time, also to a tree"
"$godwit" image make "$work/t.catar" seed >/dev/null
cached() {
  GODWIT_CACHE=$work/cache "$godwit" image extract "$work/t.caidx" again --store "$work/empty" --seed "$work/t.catar" \
    --seed-output=no --json "$@" >"$work/out"
  expect_tree again
}
cached
[ "$(said seed_bytes_read)" -gt 30000000 ] || die "a new seed was not read"
cached
[ "$(said seed_bytes_read)" = 0 ] || die "a seed is read again"
[ "$(said seed_bytes_known)" -gt 30000000 ] || die "nothing is known of a seed"
cached --seed-cache=no
[ "$(said seed_bytes_read)" -gt 30000000 ] || die "--seed-cache=no knows a seed"
gone again

echo "- and so is what a folder holds, to the tree and to a blob, and whoever changes is read"
folder() {  # READ_MIN READ_MAX INDEX OUTPUT: from a seed that is read so much
  "$godwit" image extract "$3" "$4" --store "$work/empty" --seed seed --seed-output=no --seed-cache="$work/folders" --json >"$work/out"
  local read
  read=$(said seed_bytes_read)
  [ "$read" -ge "$1" ] && [ "$read" -le "$2" ] || die "of a seed folder $read bytes were read, not $1 to $2"
}
cp -a seed keep
folder 30000000 99000000 "$work/t.caidx" again
folder 0 0 "$work/t.caidx" again2
expect_tree again2
"$godwit" image make "$work/big.caibx" seed/big --store "$work/blob.castr" --no-digest --no-sync
rm -rf "$work/folders"
# Where the blob begins in the middle of a chunk of the archive, and where it ends, the store has to help.
fails_with "a blob's ends are not in a folder's archive" "is not in the store" \
  "$godwit" image extract "$work/big.caibx" "$work/big" --store "$work/empty" --seed seed --seed-cache="$work/folders"
rm -rf "$work/folders"
for limits in "30000000 99000000" "0 0"; do
  "$godwit" image extract "$work/big.caibx" "$work/big" --store "$work/blob.castr" --seed seed --seed-output=no \
    --seed-cache="$work/folders" --json >"$work/out"
  cmp -s "$work/big" seed/big || die "another blob from a seed folder"
  [ "$(said seed_bytes_read)" -ge "${limits% *}" ] && [ "$(said seed_bytes_read)" -le "${limits#* }" ] || die "read: $(cat "$work/out")"
  [ "$(said bytes_fetched)" -lt 1000000 ] || die "a folder has little of a blob that lies in it: $(cat "$work/out")"
done
folder 30000000 99000000 "$work/t.caidx" again2  # another archive: a blob's has no attributes
# Bytes that change, with the time that was: the chunks around them are read, and come from the store.
printf changed | dd of=seed/sub/odd conv=notrunc bs=1 seek=5000000 status=none
touch -d @1500000000 seed/sub/odd
extract again2 --seed seed --seed-output=no --seed-cache="$work/folders"
expect_tree again2
[ "$(said seed_bytes_read)" -gt 9000000 ] && [ "$(said seed_bytes_read)" -lt 11000000 ] || die "of a changed file was read: $(cat "$work/out")"
gone seed again again2 && mv keep seed

echo "- a tree that was made with seeds is one that is known, also the one that is replaced"
for round in 1 2 3; do
  "$godwit" image extract "$work/t.caidx" over --store "$work/empty" --extra-store "$work/castr" --seed-cache="$work/over" --json \
    >"$work/out"
  expect_tree over
  case $round in
    1) [ -z "$(grep seeded "$work/out")" ] || die "an empty folder is read as a seed" ;;
    2) [ "$(said seed_bytes_read)" -gt 30000000 ] || die "what was replaced was not read: $(cat "$work/out")" ;;
    3) [ "$(said seed_bytes_read)" = 0 ] || die "what was made is read again: $(cat "$work/out")" ;;
  esac
done
extract over
[ -z "$(grep seeded "$work/out")" ] || die "what is replaced is read though the store has all and lies here"
expect_tree over
"$godwit" image extract "$work/t.caidx" over sub --store "$work/empty" --extra-store "$work/castr" --json >"$work/out"
[ -z "$(grep seeded "$work/out")" ] || die "all that lies where a sub-tree is put is read"
expect_tree over
gone over

echo "- between two file systems: copies"
extract "$work/across" --seed seed --hardlink=yes
expect_tree "$work/across"
[ "$(said files_linked)" = 0 ] || die "links between two file systems"
[ "$(said bytes_shared)" = 0 ] || die "blocks of another file system were shared"

echo "- a file seed has nothing for an archive without chunks"
fails_with "a file as the seed of an archive" "takes only folders" \
  "$godwit" image extract "$work/t.catar" refused --seed "$work/t.catar"
[ ! -e refused ] || die "it began all the same"
verdict
