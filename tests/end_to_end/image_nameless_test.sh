#!/usr/bin/env bash
# Extraction onto a file system that has no files without names (no O_TMPFILE, as vfat and NFS): FUSE has none unless its daemon takes
# part, and bindfs does not. What is extracted has a temporary name until it is whole, whoever kills the process.
#
#   tests/end_to_end/image_nameless_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_nameless_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
clean_up_more() {
  cd /
  for mounted in "$work/to" "$work/under"; do ! mountpoint -q "$mounted" || umount "$mounted" || umount -l "$mounted"; done
}
needs bindfs mountpoint openssl python3 cmp
[ "$(id -u)" = 0 ] || skip "only root unmounts here"
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache
cd "$work"
mkdir under to
mount -t tmpfs -o size=128m none under || skip "no tmpfs can be mounted"
bindfs under to 2>bindfs.log || skip "no FUSE here: $(cat bindfs.log)"
python3 - to <<'PY' || skip "this bindfs has files without names"
import errno, os, sys
try:
    os.open(sys.argv[1], os.O_TMPFILE | os.O_RDWR, 0o600)
except OSError as error:
    sys.exit(error.errno != errno.EOPNOTSUPP)
sys.exit(1)
PY

image() { "$godwit" image "$@"; }
same() { cmp -s "$1" "$2" || die "$3"; }
# Names that are only for a while: of godwit, and of FUSE for a file that is open and has no other.
temporary_names() { find to -name '.#*' -o -name '.fuse_hidden*'; }
no_left_overs() { [ -z "$(temporary_names)" ] || die "left over $1: $(temporary_names)"; }
random_bytes 40000000 >new
head -c 20000000 new | tr '\000-\377' '\001-\377\000' >old
image make new.caibx new --store castr --no-sync --no-digest >/dev/null
mkdir tree
for number in $(seq 200); do head -c $((number * 200)) new >"tree/$number"; done
cp new tree/large
image make tree.caidx tree --store castr --without privileged --no-sync --no-digest >/dev/null

echo "- a new file, and one in an old one's place with its mode"
image extract new.caibx to/target --store castr
same to/target new "another blob"
cp old to/target
chmod 0640 to/target
image extract new.caibx to/target --store castr
same to/target new "another blob in the old one's place"
[ "$(stat -c %a to/target)" = 640 ] || die "another mode: $(stat -c %a to/target)"
no_left_overs "of extracts that went well"
[ "$(ls -A to)" = target ] || die "more than the target: $(ls -A to)"

echo "- kill -9: the old file or the new one, and what is half under another name"
halves=0
for moment in 0.004 0.008 0.012 0.016 0.02 0.025 0.03 0.04 0.05 0.06 0.07 0.08 0.1 0.15; do
  cp old to/target
  "$godwit" image extract new.caibx to/target --store castr --no-sync >/dev/null 2>&1 &
  pid=$!
  sleep "$moment"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  cmp -s to/target old || cmp -s to/target new || die "neither the old file nor the new one, killed after $moment s"
  [ -z "$(temporary_names)" ] || halves=$((halves + 1))
  image extract new.caibx to/target --store castr --no-sync
  same to/target new "another blob after one that was killed"
  find to -name '.#target*' -delete
done
[ "$halves" -gt 0 ] || die "no moment was between the beginning and the end: nothing is shown"
no_left_overs "beside .#target"

echo "- whoever is told to end, or fails, takes its temporary name along"
rm -f to/target
cp -r castr damaged
# The last chunks are missing: it fails when much is written.
python3 - new.caibx <<'PY' | while read -r id; do rm -f "damaged/${id:0:4}/$id.cacnk"; done
import sys
index = open(sys.argv[1], "rb").read()
ids = [index[at + 8:at + 40].hex() for at in range(64, len(index) - 40, 40)]
print("\n".join(ids[-3:]))
PY
cp old to/target
fails_with "a store without the last chunks" "is not in the store" "$godwit" image extract new.caibx to/target --store damaged
same to/target old "an extract that failed took the old file"
no_left_overs "of an extract that failed"
head -c 100000000 /dev/zero | tr '\000' '\001' >to/filler
fails_with "a full disk" "No space left on device" "$godwit" image extract new.caibx to/target --store castr
same to/target old "a full disk took the old file"
no_left_overs "on a full disk"
rm to/filler
check "in place" "$godwit" image extract new.caibx to/target --store castr --in-place
same to/target new "another blob in place"

echo "- trees, and a temporary folder for seeds"
image extract tree.caidx to/tree --store castr --without privileged
diff -r tree to/tree || die "another tree"
mkdir empty to/temporary
# bindfs does not keep times that are set alone, so a tree on it is not the archive's.
image extract tree.caidx over --store castr --without privileged
TMPDIR=$work/to/temporary image extract tree.caidx over --store empty --without privileged
diff -r tree over || die "another tree from what it replaces"
[ -z "$(ls -A to/temporary)" ] || die "left in the temporary folder: $(ls -A to/temporary)"
for moment in 0.01 0.03 0.05 0.08 0.12; do
  rm -rf to/tree
  "$godwit" image extract tree.caidx to/tree --store castr --without privileged >/dev/null 2>&1 &
  pid=$!
  sleep "$moment"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  image extract tree.caidx to/tree --store castr --without privileged
  diff -r tree to/tree || die "another tree after one that was killed"
done
no_left_overs "of trees"
verdict
