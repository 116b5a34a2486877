#!/usr/bin/env bash
# Images as a user makes and reads them: round trips through files, pipes and in place; what is said when something is missing,
# damaged or in the way; and makes that are killed, which leave no short chunk and no index that names a chunk not stored.
#
#   tests/end_to_end/image_test.sh BUILD/bin/godwit
set -euo pipefail

godwit=$1
golden=$(realpath "$(dirname "$0")/../../src/chunks/core/testdata/archive")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache

fail() {
  echo "FAILED  $*" >&2
  exit 1
}
# refused CODE TEXT… -- COMMAND…: it ends with that code and every text is in what it says.
refused() {
  local code=$1 texts=() status=0
  shift
  while [ "$1" != -- ]; do
    texts+=("$1")
    shift
  done
  shift
  "$@" >out 2>err || status=$?
  [ "$status" -eq "$code" ] || fail "$* ended with $status instead of $code: $(cat err)"
  local text
  for text in "${texts[@]}"; do
    grep -qF -- "$text" err || fail "$* does not say \"$text\" but: $(cat err)"
  done
}

head -c 5000000 /dev/urandom >blob
truncate -s 20000000 sparse
dd if=blob of=sparse bs=1000000 count=2 seek=11 conv=notrunc status=none

# Files, pipes, a sparse file; the store beside the index.
digest=$("$godwit" image make blob.caibx blob --no-sync)
[ -d default.castr ] || fail "no default store"
[ "$("$godwit" image make again.caibx --no-sync <blob)" = "$digest" ] || fail "another digest through a pipe"
cmp -s blob.caibx again.caibx || fail "another index through a pipe"
"$godwit" image make - blob --store default.castr --no-sync | cmp -s - blob.caibx || fail "an index on standard output"
[ "$(cat blob | "$godwit" image digest -)" = "$digest" ] || fail "another digest of standard input"
"$godwit" image make sparse.caibx sparse --threads 1 --no-sync >/dev/null
for name in blob sparse; do
  "$godwit" image extract "$name.caibx" out.file --no-sync
  cmp -s out.file "$name" || fail "$name is another one after extract"
  "$godwit" image extract "$name.caibx" - | cmp -s - "$name" || fail "$name is another one through a pipe"
done
[ "$(stat -c %b out.file)" -lt 8000 ] || fail "holes were written"
"$godwit" image cat blob.caibx --offset 1234567 --length 1000000 | cmp -s - <(tail -c +1234568 blob | head -c 1000000) || fail "cat gives another range"
[ -z "$("$godwit" image make quiet.caibx blob --no-digest --no-sync)" ] || fail "--no-digest prints something"
"$godwit" image info blob.caibx --json | grep -q '"size":5000000' || fail "info"
"$godwit" image diff blob.caibx again.caibx | grep -q 'same content' || fail "diff of the same"
: >empty
"$godwit" image make empty.caibx empty --store none.castr --no-sync >/dev/null
rm -rf none.castr
"$godwit" image extract empty.caibx out.empty --store none.castr --no-sync
[ ! -s out.empty ] || fail "something in an empty blob"
echo "round trips: ok"

# A volume's blocks: one size, named by SHA-256, in an index like any other.
"$godwit" image make fixed.caibx blob --fixed 64KiB --store fixed.castr --no-sync >/dev/null
python3 - <<'PY' || fail "--fixed names other blocks"
import hashlib, os, struct
data, index = open("blob", "rb").read(), open("fixed.caibx", "rb").read()
entries = [(struct.unpack_from("<Q", index, i)[0], index[i + 8:i + 40].hex()) for i in range(64, len(index) - 40, 40)]
blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
assert [name for _, name in entries] == [hashlib.sha256(b).hexdigest() for b in blocks]
assert [end for end, _ in entries] == [min(i + 65536, len(data)) for i in range(0, len(data), 65536)]
assert all(os.path.exists(f"fixed.castr/{name[:4]}/{name}.cacnk") for _, name in entries)
PY
"$godwit" image extract fixed.caibx out.file --store fixed.castr --no-sync
cmp -s out.file blob || fail "blocks give another file"
refused 2 "--fixed" -- "$godwit" image make x.caibx blob --fixed 1000
refused 2 "--chunk-size" -- "$godwit" image make x.caibx blob --fixed 64KiB --chunk-size 64K
refused 2 "SHA-256" -- "$godwit" image make x.caibx blob --fixed 64KiB --digest sha512-256
refused 2 "is of a tree" -- "$godwit" image make x.caidx . --fixed 64KiB
echo "blocks of volumes: ok"

# What an extracted tree took from where is told.
mkdir counted && head -c 300000 /dev/urandom > counted/file
"$godwit" image make counted.caidx counted > /dev/null
"$godwit" --json image extract counted.caidx counted.1 > counted.json
grep -q '"event":"read","bytes_fetched":[1-9][0-9]*,"bytes_cached":0,"bytes_reused":0}' counted.json
"$godwit" --json image extract counted.caidx counted.2 --seed counted > counted.json
grep -q '"event":"read","bytes_fetched":0,"bytes_cached":0,"bytes_reused":[1-9][0-9]*}' counted.json

# An interrupted extract goes on where it stopped; seeds are used and verified.
head -c 3000000 blob >target
"$godwit" image extract blob.caibx target --in-place --no-sync --json | grep -q '"bytes_reused":[1-9]' || fail "in place does not use what is there"
cmp -s target blob || fail "in place gives another file"
"$godwit" image extract blob.caibx out.seeded --seed blob --store "$(mkdir -p empty.castr && echo empty.castr)" --no-sync
cmp -s out.seeded blob || fail "a seed gives another file"
"$godwit" image extract blob.caibx out.again --seed blob --store empty.castr --no-sync --json >out
cmp -s out.again blob || fail "a seed whose chunks are known gives another file"
grep -q '"seed_bytes_read":0,' out || fail "a seed is read again"
"$godwit" image extract blob.caibx out.again --store empty.castr --no-sync --json >out
cmp -s out.again blob || fail "what was extracted before gives another file"
grep -q '"seed_bytes_read":0,' out || fail "what was extracted before is cut again"
[ "$(ls cache/seeds)" = "$(ls cache/seeds | grep -E '^[0-9a-f]*\.gwseed(tree)?$')" ] || fail "something else in the cache: $(ls cache/seeds)"
before=$(ls cache/seeds)
"$godwit" image extract blob.caibx out.third --seed out.seeded --store empty.castr --no-sync --seed-cache=no
[ "$(ls cache/seeds)" = "$before" ] || fail "--seed-cache=no keeps something"
mkdir -p tree/sub
cp blob tree/sub/data
for number in $(seq 300); do echo "$number" >"tree/sub/$number"; done
"$godwit" image make tree.caidx tree --without privileged --no-sync >/dev/null
"$godwit" image extract tree.caidx tree.out --without privileged --threads 3
diff -r tree tree.out || fail "another tree"
TMPDIR=$work "$godwit" image extract tree.caidx tree.seeded --without privileged --seed tree --store empty.castr
diff -r tree tree.seeded || fail "another tree from a seed"
echo changed >tree/sub/17
TMPDIR=$work "$godwit" image extract tree.caidx tree.changed --without privileged --seed tree
diff -r tree.out tree.changed || fail "another tree from a seed that has changed"
refused 1 nofolder -- "$godwit" image extract tree.caidx tree.bad --seed nofolder
refused 2 "has no chunks" -- sh -c "'$godwit' image make tree.catar tree >/dev/null && '$godwit' image extract tree.catar tree.bad --seed blob"
[ ! -e tree.bad ] || fail "a folder is made though its seed is not there"
echo "seeds and in place: ok"

# Devices: written in place, only where they differ, and made into the same image again.
truncate -s 5001216 device.img
if [ "$(id -u)" -eq 0 ] && device=$(losetup -f --show device.img 2>/dev/null); then
  trap 'losetup -d "$device" 2>/dev/null; rm -rf "$work"' EXIT
  "$godwit" image extract blob.caibx "$device" --no-sync
  cmp -s -n 5000000 "$device" blob || fail "another blob on a device"
  "$godwit" image extract blob.caibx "$device" --no-sync --json | grep -q '"bytes_fetched":0,' || fail "a device is written where it is right"
  "$godwit" image make device.caibx "$device" --no-sync >/dev/null
  "$godwit" image cat device.caibx --length 5000000 | cmp -s - blob || fail "another image of a device"
  refused 1 "has 5001216 bytes, the blob 20000000" -- "$godwit" image extract sparse.caibx "$device" --no-sync
  losetup -d "$device"
  trap 'rm -rf "$work"' EXIT
  echo "devices: ok"
else
  echo "skipped: no loop device can be set up here, so none is written"
fi

# desync's defect: an index that names another digest than its chunks have is read, with a warning; a damaged chunk is damaged.
"$godwit" image make one.caibx "$golden/tree-one.casync.catar" --digest sha256 --store one.castr --no-sync >/dev/null
cp "$golden/tree-one.sha256.desync.caidx" one.caidx
"$godwit" image extract one.caidx one.out --store one.castr --without privileged 2>err
[ "$(cat one.out/one)" = 1 ] || fail "another tree of an index with the wrong digest"
[ "$(grep -c "named by sha512-256, they are by sha256" err)" -eq 1 ] || fail "nothing is said of a wrong digest: $(cat err)"
"$godwit" image cat one.caidx --store one.castr 2>err | cmp -s - "$golden/tree-one.casync.catar" || fail "cat of an index with the wrong digest"
# So it is where ssh reaches the store, or the index as well; and one connection is enough for an index that is right.
printf '#!/bin/sh\nshift\necho >>"%s"\nexec "$@"\n' "$work/sessions" >ssh
chmod +x ssh
mkdir link
ln -s "$(realpath "$godwit")" link/casync
export CASYNC_SSH_PATH=$work/ssh CASYNC_REMOTE_PATH=$work/link/casync
for index in one.caidx "h:$work/one.caidx"; do
  rm -rf one.out
  "$godwit" image extract "$index" one.out --store "h:$work/one.castr" --without privileged 2>err
  [ "$(cat one.out/one)" = 1 ] || fail "another tree of $index with the wrong digest"
  [ "$(grep -c "named by sha512-256, they are by sha256" err)" -eq 1 ] || fail "nothing is said of a wrong digest: $(cat err)"
done
mkdir right
echo 1 >right/one
"$godwit" image make right.caidx right --store right.castr --no-sync >/dev/null
for index in right.caidx "h:$work/right.caidx"; do
  rm -rf right.out sessions
  "$godwit" image extract "$index" right.out --store "h:$work/right.castr" 2>err
  [ "$(cat right.out/one)$(cat err)" = 1 ] || fail "another tree of $index"
  [ "$(wc -l <sessions)" -eq 1 ] || fail "$index takes $(wc -l <sessions) connections"
done
# A chunk that comes again takes no connection of its own.
head -c 600000 blob >half
for _ in 1 2 3 4 5 6; do cat half; done >repeats
"$godwit" image make repeats.caibx repeats --no-sync >/dev/null
rm -f sessions
"$godwit" image extract repeats.caibx repeats.out --store "h:$work/default.castr" --no-sync --seed-output=no
cmp repeats repeats.out || fail "another blob with repeats"
[ "$(wc -l <sessions)" -eq 1 ] || fail "repeats take $(wc -l <sessions) connections"
unset CASYNC_SSH_PATH CASYNC_REMOTE_PATH
find one.castr -name '*.cacnk' -exec sh -c 'rm -f "$1" && printf damage >"$1"' sh {} \;
refused 1 "damaged" -- "$godwit" image extract one.caidx one.bad --store one.castr --without privileged
if grep -q warning err; then fail "a damaged chunk is taken for another digest"; fi
echo "another digest than the index says: ok"

# What a cache gives is told apart from what is fetched.
for index in blob.caibx right.caidx; do
  store=default.castr
  [ $index = blob.caibx ] || store=right.castr
  for origin in fetched cached; do
    rm -rf cache.out
    "$godwit" image extract $index cache.out --store $store --cache-store cache.castr --json >out
    python3 - $origin out <<'EOF2' || fail "$index: $(cat out)"
import json, sys
origin, name = sys.argv[1:]
event = [e for e in map(json.loads, open(name)) if e["event"] in ("extracted", "read")][-1]
other = "cached" if origin == "fetched" else "fetched"
assert event["bytes_" + origin] > 0 and event["bytes_" + other] == 0 and event["bytes_reused"] == 0
EOF2
  done
done
echo "bytes from a cache: ok"

# What goes wrong is said with its place.
name=blob
victim=$(python3 - $name.caibx <<'EOF2'
import pathlib, sys
index = pathlib.Path(sys.argv[1]).read_bytes()
chunks = sorted(pathlib.Path("default.castr").glob("*/*.cacnk"))
print(next(c for c in chunks if c.stat().st_size > 8192 and bytes.fromhex(c.stem) in index))
EOF2
)
id=$(basename "$victim" .cacnk)
cp "$victim" saved
rm -f "$victim" && printf 'damage' >"$victim"
refused 1 "$id" default.castr "damaged" "at offset" -- "$godwit" image extract "$name.caibx" out.bad --no-sync
[ ! -e out.bad ] || fail "a partial output"
[ -z "$(find . -maxdepth 1 -name '.#*')" ] || fail "a temporary file stays"
refused 1 -- "$godwit" image verify "$name.caibx"
refused 1 -- "$godwit" image verify --store default.castr --repair
[ ! -e "$victim" ] || fail "--repair leaves what is damaged"
refused 1 "$id" "is not in the store" -- "$godwit" image extract "$name.caibx" out.bad --no-sync
"$godwit" image make repaired.caibx "$name" --no-sync >/dev/null
"$godwit" image verify "$name.caibx" >/dev/null || fail "make does not store again what is missing"
refused 1 none.caibx "No such file" -- "$godwit" image extract none.caibx out.bad
refused 1 nostore "No such file" -- "$godwit" image extract blob.caibx out.bad --store nostore
refused 1 "no index" blob -- "$godwit" image info blob
refused 1 "without a tail" -- "$godwit" image info <(head -c -40 blob.caibx)
refused 1 "is a directory" -- "$godwit" image make x.caibx default.castr
refused 2 "--chunk-size" -- "$godwit" image make x.caibx blob --chunk-size 32k
refused 2 "--chunk-size" -- "$godwit" image make x.caibx blob --chunk-size 1:10:40
refused 2 "level" -- "$godwit" image make x.caibx blob --compression xz --compression-level 11
refused 1 "nofolder" -- "$godwit" image make nofolder/x.caibx blob --store default.castr
echo "errors: ok"

# A full disk: a small file system, where one can be mounted.
if [ "$(id -u)" -eq 0 ] && mkdir full && mount -t tmpfs -o size=3m tmpfs full 2>/dev/null; then
  cp blob.caibx full/old.caibx
  refused 1 "No space left" -- "$godwit" image make full/old.caibx blob --store full/store --no-sync
  cmp -s full/old.caibx blob.caibx || fail "the old index is gone"
  [ -z "$(find full -name '*.tmp' -o -name '.#*')" ] || fail "temporary files stay on a full disk"
  umount full
  echo "a full disk: ok"
else
  echo "skipped: no file system can be mounted here, so none is full"
fi

# Makes that are killed at any moment. Everything that bears a chunk's name is whole; an index that is there can be extracted.
rm -rf killed.castr
for round in $(seq 12); do
  rm -f killed.caibx
  "$godwit" image make killed.caibx sparse --store killed.castr --threads 2 --compression-level 1 >/dev/null 2>&1 &
  pid=$!
  python3 -c "import time; time.sleep($round * 0.007)"
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  [ -d killed.castr ] || continue
  "$godwit" image verify --store killed.castr >out || fail "a killed make left a bad chunk: $(cat out)"
  if [ -e killed.caibx ]; then
    "$godwit" image extract killed.caibx out.killed --store killed.castr --no-sync
    cmp -s out.killed sparse || fail "a killed make left an index of another blob"
  fi
  # Every other time what is left is the beginning of the next one.
  [ $((round % 2)) -eq 0 ] || rm -rf killed.castr
done
"$godwit" image make killed.caibx sparse --store killed.castr --no-sync >/dev/null
"$godwit" image gc killed.caibx --store killed.castr | grep -q '^Removed 0 chunks' || fail "gc after the makes"
"$godwit" image extract killed.caibx out.killed --store killed.castr --no-sync
cmp -s out.killed sparse || fail "after the killed makes"
echo "killed makes: ok"
