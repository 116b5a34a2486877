#!/usr/bin/env bash
# Trees and blobs that change while they are made into images: files that grow, shrink, are replaced, become links and fifos, folders
# that come and go. A make ends by itself, with an image that is whole or with an error and none; and when the changes end, a make
# with a cache gives what a make without one gives.
#
#   tests/end_to_end/image_changing_test.sh BUILD/bin/godwit
set -euo pipefail
godwit=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs python3 timeout
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache
cd "$work"
image() { "$godwit" image "$@"; }

cat >change.py <<'PY'
import os, random, shutil, sys, time
random.seed(int(sys.argv[1]))
names = ["f%d" % i for i in range(40)] + ["d%d/f%d" % (i % 5, i) for i in range(40)]
def forget(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
def careful(path, flags):  # neither through a link nor waiting at a fifo
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
def cut(path, size):
    with open(path, "r+b", opener=careful) as f:
        f.truncate(size)
def write(path):
    with open(path, "wb", opener=careful) as f:
        f.write(random.randbytes(random.choice((0, 100, 5000, 200000))))
        if random.random() < 0.3:
            f.truncate(random.randrange(2000000))
def change(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    kind = random.randrange(8)
    if kind == 0:
        with open(path, "ab", opener=careful) as f: f.write(random.randbytes(random.randrange(100000)))
    elif kind == 1:
        cut(path, random.randrange(1000))
    elif kind == 2:
        write(path + ".new"); os.rename(path + ".new", path)
    elif kind == 3:
        forget(path)
    elif kind == 4:
        forget(path); os.symlink(random.choice(("f1", "../outside", "nowhere")), path)
    elif kind == 5:
        forget(path); os.mkfifo(path)
    elif kind == 6 and "/" in path[len("tree/"):]:
        forget(os.path.dirname(path))
    else:
        forget(path); write(path)
for name in names: 
    os.makedirs(os.path.dirname("tree/" + name), exist_ok=True); write("tree/" + name)
open("begun", "w")
while not os.path.exists("enough"):
    try:
        change("tree/" + random.choice(names))
        if random.random() < 0.2:
            random.choice((lambda: write("blob"), lambda: cut("blob", random.randrange(200000)), lambda: os.unlink("blob"),
                           lambda: (write("blob.new"), os.rename("blob.new", "blob"))))()
    except OSError:
        pass
    time.sleep(random.choice((0, 0, 0.0005, 0.002)))
PY
python3 change.py 1 &
changer=$!
pids+=("$changer")
for _ in $(seq 200); do [ ! -e begun ] || break; sleep 0.05; done

whole=0 refused=0
# ends OUTPUT COMMAND…: by itself, with 0 and an output or with 1, a reason and none.
ends() {
  local output=$1 code=0
  shift
  rm -f "$output"
  timeout 60 "$@" >out 2>err || code=$?
  case $code in
    0) [ -e "$output" ] && whole=$((whole + 1)) ;;
    1) [ ! -e "$output" ] && grep -q '^godwit: ' err && refused=$((refused + 1)) ;;
    *) false ;;
  esac || failed "$* ended with $code and said: $(cat err)"
  [ -z "$(find . -maxdepth 1 -name '.#*')" ] || failed "$*: left over: $(find . -maxdepth 1 -name '.#*')"
}
for round in $(seq 25); do
  ends tree.catar "$godwit" image make tree.catar tree
  [ ! -e tree.catar ] || image list tree.catar >/dev/null || failed "an archive that can not be read"
  ends tree.caidx "$godwit" image make tree.caidx tree --store castr --no-sync --cache=kept
  [ ! -e tree.caidx ] || image list tree.caidx --store castr >/dev/null || failed "an index that can not be read"
  [ ! -e tree.caidx ] || image verify tree.caidx --store castr >/dev/null || failed "an index without its chunks"
  ends blob.caibx "$godwit" image make blob.caibx blob --store castr --no-sync
done
echo "$whole images, $refused refusals"
check "some of each" test "$whole" -ge 5 -a "$refused" -ge 1
touch enough
wait "$changer"
pids=()
image make whole.caidx tree --store whole.castr --no-sync >/dev/null
for again in 1 2; do
  check "when all is quiet, a make with what was kept" image make tree.caidx tree --store castr --no-sync --cache=kept
  check "  gives the index of what is there" cmp tree.caidx whole.caidx
done
check "  with all of its chunks" image verify tree.caidx --store castr
verdict
