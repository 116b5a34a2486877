#!/usr/bin/env bash
# What the commands promise of durability, seen from the kernel: before a file gets its name, and before a command says that it is
# done, the kernel has been told to write down what is needed, in the right order.
#
#   tests/end_to_end/image_durable_test.sh BUILD/bin/godwit
set -euo pipefail
program=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs strace python3
cd "$work"
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache
strace -qq -o try.st -e trace=fsync true 2>/dev/null || skip "nothing can be traced here"
random_bytes 3000000 >blob
mkdir -p tree/folder
random_bytes 500000 >tree/folder/file
echo small >tree/small
mkdir link
ln -s "$program" link/casync
make_ssh
export CASYNC_SSH_PATH=$work/ssh CASYNC_REMOTE_PATH=$work/link/casync

# In a trace: each of these, a regular expression, is there, and comes after the last of the one before.
cat >in_order.py <<'PY'
import re, sys
lines = []
began = {}  # by thread: of a call that ends later, what was said of it first
for line in open(sys.argv[1], errors="replace"):
    thread, _, call = line.strip().partition(" ")
    call = call.strip()
    if call.endswith("<unfinished ...>"):
        began[thread] = call[: -len("<unfinished ...>")]
        continue
    resumed = re.match(r"<\.\.\. \w+ resumed>", call)
    if resumed:
        call = began.pop(thread, "") + call[resumed.end():]
    lines.append(call)
last = -1
for expression in sys.argv[2:]:
    found = [i for i, line in enumerate(lines) if re.search(expression, line) and re.search(r"= \d+(<.*)?$", line)]
    if not found:
        sys.exit(f"nothing like {expression}")
    if found[0] <= last:
        sys.exit(f"too early: {lines[found[0]]}")
    last = found[-1]
PY
traced() {  # FILE COMMAND…
  local file=$1
  shift
  strace -f -y -qq -s 32 -o "$file" -e trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,write,pwrite64,pwritev,pwritev2,writev "$@"
}
in_order() { python3 in_order.py "$@"; }
never() { ! grep -E "^[0-9]+ +(fsync|fdatasync|syncfs)\(" "$1"; }

traced make.st "$program" image make blob.caibx blob --store=castr >made
check "make: chunks, their file system, the index, its name, its folder, the digest" in_order make.st \
  'renameat2?\(.*\.cacnk"' "^syncfs\(.*$work/castr>" '^p?write.*/\.#blob\.caibx' '^fsync\(.*/\.#blob\.caibx' '^rename.*"blob\.caibx"' "^fsync\(.*<$work>" '^write\(1<'
traced known.st "$program" image make again.caibx blob --store=castr >made
check "make of known chunks: these may be as young" in_order known.st "^syncfs\(.*$work/castr>" '^fsync\(.*/\.#again\.caibx' '^rename.*"again\.caibx"'
traced tree.st "$program" image make tree.caidx tree --store=castr >made
check "make of a tree" in_order tree.st 'renameat2?\(.*\.cacnk"' "^syncfs\(.*$work/castr>" '^fsync\(.*/\.#tree\.caidx' '^rename.*"tree\.caidx"' "^fsync\(.*<$work>"
traced cached.st "$program" image make cached.caidx tree --store=castr --cache=kept >made
check "make with an encoder cache" in_order cached.st "^syncfs\(.*$work/castr>" '^fsync\(.*/\.#cached\.caidx' '^rename.*"cached\.caidx"' "^fsync\(.*<$work>"
traced archive.st "$program" image make tree.catar tree >made
check "an archive" in_order archive.st '^p?write.*tree\.catar[^>]*partial' '^f(data)?sync\(.*tree\.catar' '^rename.*"tree\.catar"' "^fsync\(.*<$work>" '^write\(1<'

traced extract.st "$program" image extract blob.caibx out --store=castr --seed-cache=no
check "extract: bytes, their file, its name, its folder" in_order extract.st "^pwrite.*<$work/" '^fdatasync\(' '^rename.*"out"' "^fsync\(.*<$work>"
head -c 1000000 /dev/zero >inplace
traced inplace.st "$program" image extract blob.caibx inplace --store=castr --in-place --seed-cache=no
check "extract in place" in_order inplace.st '^pwrite.*/inplace>' '^f(data)?sync\(.*/inplace>'
traced out.st "$program" image extract tree.caidx out.tree --store=castr --seed-cache=no
check "extract a tree: files, then their file system" in_order out.st '^pwrite.*out\.tree' "^syncfs\(.*$work/out\.tree>"
traced push.st "$program" image make "h:$work/far.caibx" blob --store="h:$work/far.castr" >made
check "a push: at the far end chunks, their file system, the index, its name, its folder" in_order push.st \
  'renameat2?\(.*far\.castr.*\.cacnk"' "^syncfs\(.*$work/far\.castr>" "^f(data)?sync\(.*$work/[^/]*far\.caibx" "^rename.*\"$work/far\.caibx\"" "^fsync\(.*<$work>"
traced far.st "$program" image make "h:$work/far.catar" tree >made
check "a push of an archive" in_order far.st "^f(data)?sync\(.*$work/[^/]*far\.catar" "^rename.*\"$work/far\.catar\"" "^fsync\(.*<$work>"

traced none.st "$program" image make none.caibx blob --store=none.castr --no-sync >made
check "--no-sync of make waits for nothing" never none.st
traced none.st "$program" image extract blob.caibx none --store=castr --no-sync
check "--no-sync of extract" never none.st
traced none.st "$program" image extract tree.caidx none.tree --store=castr --no-sync
check "--no-sync of a tree" never none.st
verdict
