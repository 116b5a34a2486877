#!/usr/bin/env bash
# `image make --cache`: what it makes is what a make without a cache makes, whatever became of the tree, the store and the cache in
# between, also when a make was killed; and an unchanged tree is not read again.
#
#   tests/end_to_end/image_cache_test.sh BUILD/bin/godwit
set -euo pipefail
godwit=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
cd "$work"
unset CASYNC_STORE
export GODWIT_CACHE=$work/user

make_whole() { "$godwit" image make whole.caidx "$1" --store=whole.castr --no-sync >/dev/null; }
make_known() { "$godwit" image make known.caidx "$@" --store=known.castr --no-sync --json >made.json; }
# A number of what `make` says.
said() { grep -o "\"$1\":[0-9]*" made.json | cut -d: -f2; }

# Files that have not changed for a while.
old=$(python3 -c 'import os; print(os.path.dirname(os.__file__) + "/encodings")')
make_whole "$old"
check "a make with a cache" make_known "$old" --cache=kept
check "  gives the same index" cmp known.caidx whole.caidx
check "  and keeps one file" test "$(ls kept)" = "$(ls kept | grep '^[0-9a-f]\{32\}\.gwencoder$')"
check "another" make_known "$old" --cache=kept
check "  gives the same index" cmp known.caidx whole.caidx
if [ "$(said known_bytes)" = 0 ]; then
  echo "SKIPPED: whether it reads: the file system of $old does not tell every change"
else
  check "another" make_known "$old" --cache=kept
  check "  reads nothing" test "$(said known_bytes)" = "$(said size)"
fi
check "no digest is said" test -z "$("$godwit" image make known.caidx "$old" --store=known.castr --no-sync --cache=kept)"

find known.castr -name '*.cacnk' | sort | sed -n 'p;n;n' | tee lost | xargs rm
check "a store that has lost chunks" make_known "$old" --cache=kept
check "  gives the same index" cmp known.caidx whole.caidx
check "  and has them again" xargs -a lost ls
check "another store" "$godwit" image make known.caidx "$old" --store=third.castr --no-sync --cache=kept
check "  has all chunks" "$godwit" image verify known.caidx --store=third.castr
for file in kept/*; do head -c 1000 /dev/zero >"$file"; done
check "a damaged cache" make_known "$old" --cache=kept
check "  gives the same index" cmp known.caidx whole.caidx

# Killed makes: at any time.
for delay in 0.002 0.005 0.01 0.02 0.03 0.05 0.08 0.12; do
  timeout -s KILL "$delay" "$godwit" image make known.caidx "$old" --store=killed.castr --no-sync --cache=killed >/dev/null || true
done 2>killed.err
check "after makes that were killed" "$godwit" image make known.caidx "$old" --store=killed.castr --no-sync --cache=killed
check "  the index is the same" cmp known.caidx whole.caidx
check "  and its chunks are there" "$godwit" image verify known.caidx --store=killed.castr

# A file that changes and takes its old time back, again and again.
cp -a "$old" tree
for i in 1 2 3 4 5; do
  time=$(stat -c %y tree/utf_8.py)
  printf '%d' "$i" | dd of=tree/utf_8.py conv=notrunc status=none
  touch -d "$time" tree/utf_8.py
  make_whole tree
  check "a file with a new byte and an old time" make_known tree --cache-auto
  check "  gives the index of what it is" cmp known.caidx whole.caidx
done
check "--cache-auto keeps it in the user's folder" test "$(ls user)" = encoder

fails_with "a blob has no cache" "--cache is for the index of a tree" "$godwit" image make x.caibx tree/utf_8.py --cache=kept
fails_with "an archive has none" "--cache is for the index of a tree" "$godwit" image make x.catar tree -c
verdict
