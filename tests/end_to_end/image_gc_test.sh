#!/usr/bin/env bash
# gc beside makes and pushes into the same store, all of them killed at any moment: nothing that an index names is ever lost.
#
#   tests/end_to_end/image_gc_test.sh BUILD/bin/godwit
set -euo pipefail
godwit=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs openssl cmp timeout
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache TMPDIR=$work
cd "$work"
mkdir link
ln -s "$godwit" link/casync
make_ssh
export CASYNC_SSH_PATH=$work/ssh CASYNC_REMOTE_PATH=$work/link/casync
image() { "$godwit" image "$@"; }

echo "- a make that would end between gc's reading and its removing"
random_bytes 3000000 >all
head -c 1000000 all >first
tail -c 1000000 all >second
image make one.caibx first --store castr --no-sync >/dev/null
image make other.caibx first --store castr --no-sync >/dev/null
mkfifo slow
image gc one.caibx slow --store castr >gc.out 2>gc.err &
pids+=($!)
exec 7>slow  # gc has opened it, and has read the other one
fails_with "it is refused" "chunks are being removed" "$godwit" image make one.caibx second --store castr --no-sync
fails_with "a push too" "chunks are being removed" "$godwit" image make "h:$work/one.caibx" second --store "h:$work/castr"
cat other.caibx >&7
exec 7>&-
wait "${pids[-1]}" || failed "gc: $(cat gc.err)"
pids=()
check "  and took nothing" image verify one.caibx other.caibx --store castr
check "now it is made" image make one.caibx second --store castr --no-sync
check "  and a gc leaves it" image gc one.caibx other.caibx --store castr
check "  all of it" image verify one.caibx other.caibx --store castr

echo "- all at once, killed at any moment"
# Blobs of three of twelve parts: most chunks of each were another's before, and are garbage again soon.
split -n 12 -d all part.
blob() { cat "part.$(printf %02d $((RANDOM % 12)))" "part.$(printf %02d $((RANDOM % 12)))" "part.$(printf %02d $((RANDOM % 12)))"; }
# maker NAME INDEX STORE: one blob after the other, until there is a file named enough.
maker() {
  local name=$1 number=0 limit
  RANDOM=${#name}${name//[^0-9]/}
  until [ -e enough ]; do
    number=$((number + 1))
    blob >"blob.$name"
    sha256sum <"blob.$name" >>"made.$name"
    limit=60
    [ $((RANDOM % 2)) = 0 ] || limit=0.$(printf %03d $((RANDOM % 120)))
    if timeout -s KILL "$limit" "$godwit" image make "$2" "blob.$name" --store "$3" >/dev/null 2>"err.$name"; then
      echo >>"ended.$name"
    elif [ "$limit" = 60 ]; then
      # It goes on when the gc has ended; nothing else is a reason.
      grep -q 'chunks are being removed' "err.$name" || cat "err.$name" >>refusals
    fi
  done
}
collector() {
  local limit
  RANDOM=17
  until [ -e enough ]; do
    limit=60
    [ $((RANDOM % 3)) != 0 ] || limit=0.$(printf %03d $((RANDOM % 40)))
    if timeout -s KILL "$limit" "$godwit" image gc 1.caibx 2.caibx 3.caibx --store castr >gc.out 2>gc.err; then
      grep -q '^Removed [1-9]' gc.out && echo >>ended.gc
    elif [ "$limit" = 60 ]; then
      grep -q 'is adding to the store' gc.err || cat gc.err >>refusals
    fi
    sleep 0.0$((RANDOM % 9))
  done
}
for name in 1 2 3; do
  cp part.00 blob.$name
  sha256sum <blob.$name >made.$name
  image make $name.caibx blob.$name --store castr --no-sync >/dev/null
done
: >refusals
maker 1 1.caibx castr 2>>noise &
workers=($!)
maker 2 2.caibx castr 2>>noise &
workers+=($!)
maker 3 "h:$work/3.caibx" "h:$work/castr" 2>>noise &
workers+=($!)
collector 2>>noise &
workers+=($!)
# Until each has come to something, often, or for a minute and a half.
enough() {
  local name
  for name in 1 2 3 gc; do [ -e "ended.$name" ] && [ "$(wc -l <"ended.$name")" -ge 5 ] || return 1; done
}
for round in $(seq 900); do
  ! enough || break
  sleep 0.1
done
touch enough
wait "${workers[@]}" || true
check "each had its turn ($(wc -l <ended.gc) times garbage was removed)" enough
check "nothing but each other stopped them" test ! -s refusals
cat refusals
for name in 1 2 3; do
  check "index $name is whole" image verify $name.caibx --store castr
  check "  and is of a blob that was made" image extract $name.caibx out.$name --store castr --no-sync
  check "  byte for byte" grep -qxF "$(sha256sum <out.$name)" made.$name
done
verdict
