#!/usr/bin/env bash
# A volume moves from one host to another, as a user does it: the program's own verbs, nbdcopy as a client of both sides, and
# the verbs around a move. Ends with no process and no file left.
#
#   tests/end_to_end/move_test.sh BUILD/bin/godwit
set -euo pipefail

godwit=$1
source "$(dirname "$0")/../lib.sh"
# ready NAME PID: waits for the ready line of $work/NAME.out.
ready() {
  for _ in $(seq 400); do
    grep -q '"event":"ready"' "$work/$1.out" 2>/dev/null && return
    kill -0 "$2" 2>/dev/null || die "$1 ended before it was ready"
    sleep 0.05
  done
  die "$1 was not ready in time"
}
# listen NAME: where it listens for hosts.
listen() { sed -n 's/.*"event":"ready".*"listen":"\([^"]*\)".*/\1/p' "$work/$1.out"; }
# started NAME ARGUMENTS…: a host in the background, its process id in $started.
start() {
  local name=$1
  shift
  rm -f "$work/$name.out"  # the line that an earlier one was ready is not this one's
  "$godwit" volume "$@" --data "$work/$name.data" --json --log-level info >"$work/$name.out" 2>"$work/$name.err" &
  started=$!
  pids+=("$started")
  ready "$name" "$started"
}
# finish NAME PID: ends it as a user does; its exit code must be 0.
finish() {
  local code=0
  kill "$2" 2>/dev/null || true
  wait "$2" || code=$?
  [[ $code -eq 0 ]] || die "$1 ended with $code"
}
sum() { sha256sum "$1" | cut -d' ' -f1; }
uri() { echo "nbd+unix:///$2?socket=$work/$1.data/nbd"; }
has_nbdcopy=$(command -v nbdcopy || true)
[[ $has_nbdcopy ]] || echo "nbdcopy is not installed: NBD clients are not tried"

# --- file to file, sizes that are and are not multiples of the block; the last one mostly holes ---
for size in 4194304 10000001 67108864; do
  name=disk-$size.img
  mkdir "$work/from" "$work/to"
  if [[ $size -gt 50000000 ]]; then
    truncate -s "$size" "$work/from/$name"
    head -c 3000000 /dev/urandom | dd of="$work/from/$name" bs=1M seek=20 conv=notrunc status=none
  else
    head -c "$size" /dev/urandom >"$work/from/$name"
  fi
  expected=$(sum "$work/from/$name")
  start a serve "$work/from/$name" --listen 127.0.0.1:0
  a=$started
  [[ -f $work/from/$name.own ]] || die "no record was made"
  if [[ $has_nbdcopy ]]; then
    nbdcopy "$(uri a "$name")" "$work/read" || die "nbdcopy from A"
    [[ $(sum "$work/read") == "$expected" ]] || die "A serves other bytes"
  fi
  start b pull "$(listen a)" "$name" --into "$work/to" --listen 127.0.0.1:0
  b=$started
  wait_until "the pull of $name" grep -q '"event":"pulled"' "$work/b.out"
  [[ -f $work/to/$name && ! -e $work/to/$name.partial ]] || die "the copy has no proper name"
  [[ $(sum "$work/to/$name") == "$expected" ]] || die "the copy is another"
  wait_until "the name of the moved file" test -f "$work/from/$name.moved"
  if [[ $has_nbdcopy ]]; then
    nbdcopy "$(uri b "$name")" "$work/read" || die "nbdcopy from B"
    [[ $(sum "$work/read") == "$expected" ]] || die "B serves other bytes"
    nbdcopy "$(uri a "$name")" "$work/read" || die "nbdcopy through the relay at A"
    [[ $(sum "$work/read") == "$expected" ]] || die "A relays other bytes"
  fi
  "$godwit" volume status "$name" --data "$work/b.data" | grep -q OWNED || die "B does not say that it owns"
  "$godwit" volume status "$name" --data "$work/a.data" | grep -q RELINQUISHED || die "A does not say that it gave it away"
  finish b "$b"
  finish a "$a"
  rm -rf "$work/from" "$work/to" "$work/a.data" "$work/b.data" "$work/read"
done

# --- --once ends both sides by itself; --as gives the copy another name ---
mkdir "$work/from" "$work/to"
head -c 5000000 /dev/urandom >"$work/from/once.img"
expected=$(sum "$work/from/once.img")
start a serve "$work/from/once.img" --listen 127.0.0.1:0 --once
a=$started
"$godwit" volume pull "$(listen a)" once.img --as other.img --into "$work/to" --listen none --once --data "$work/b.data" \
  >"$work/b.out" 2>"$work/b.err" || die "pull --once"
wait "$a" || die "serve --once"
[[ $(sum "$work/to/other.img") == "$expected" ]] || die "the copy is another"

# --- it goes back: the new owner serves, the former owner pulls into its old file ---
start b serve "$work/to/other.img" --listen 127.0.0.1:0
b=$started
"$godwit" volume pull "$(listen b)" other.img --as once.img --into "$work/from" --listen none --once --data "$work/a.data" \
  >"$work/a.out" 2>"$work/a.err" || die "the pull back"
[[ $(sum "$work/from/once.img") == "$expected" ]] || die "what came back is another"
[[ ! -e $work/from/once.img.moved ]] || die "the old copy is still there"
finish b "$b"
rm -rf "$work/from" "$work/to" "$work/a.data" "$work/b.data"

# --- memory to memory, by a running process ---
start a serve --memory ram=3000000 --listen 127.0.0.1:0
a=$started
start b serve --memory unused=4096 --listen 127.0.0.1:0
b=$started
"$godwit" volume pull "$(listen a)" ram --memory --data "$work/b.data" >"$work/c.out" 2>"$work/c.err" || die "pull by a running process"
"$godwit" volume status --data "$work/b.data" | grep -q '^ram .*OWNED' || die "the running process does not own it"
"$godwit" volume export ram --add "unix:$work/more" --data "$work/b.data" >/dev/null || die "export --add"
[[ -S $work/more ]] || die "no new NBD socket"
if command -v nbdinfo >/dev/null; then
  nbdinfo --list "nbd+unix:///?socket=$work/more" >"$work/list.out" 2>&1 || die "nbdinfo --list"
  grep -q 'export="ram"' "$work/list.out" || die "the new address does not offer ram"
  grep -q 'export="unused"' "$work/list.out" && die "the new address of ram offers another volume"
  nbdinfo "nbd+unix:///unused?socket=$work/more" >/dev/null 2>&1 && die "another volume can be opened at the address of ram"
  nbdinfo "nbd+unix:///unused?socket=$work/b.data/nbd" >/dev/null || die "the address of the process does not offer all"
fi
"$godwit" volume status ram --data "$work/b.data" | grep -q "NBD at unix:$work/more" || die "status does not tell the address"
"$godwit" volume export ram --drop "unix:$work/more" --data "$work/b.data" >/dev/null || die "export --drop"
[[ ! -e $work/more ]] || die "the NBD socket is still there"

# --- refusals: wrong usage is 2, what can not be done is 1, each with a sentence ---
refused() {  # CODE SENTENCE ARGUMENTS…
  local code=0 wanted=$1 sentence=$2
  shift 2
  "$godwit" "$@" >"$work/refused.out" 2>"$work/refused.err" || code=$?
  [[ $code -eq $wanted ]] || die "godwit $* ended with $code instead of $wanted"
  grep -q -- "$sentence" "$work/refused.err" || die "godwit $* did not say: $sentence"
}
refused 2 "required" volume
refused 2 "leave out --listen and --max-downtime" volume pull "$(listen a)" ram --listen 127.0.0.1:0 --max-downtime 1 \
  --data "$work/b.data"
refused 2 "leave out --nbd" volume serve --memory more=4096 --nbd "unix:$work/x" --data "$work/b.data"
refused 2 "leave out --once" volume serve --memory more=4096 --once --data "$work/b.data"
printf 'listen = "127.0.0.1:0"\n' >"$work/own.toml"
refused 2 'leave out `listen` of the configuration' volume serve --config "$work/own.toml" --data "$work/b.data"
refused 2 "required" volume export --add "unix:$work/more" --data "$work/b.data"
refused 1 "has no volume other" volume export other --add "unix:$work/more" --data "$work/b.data"
refused 2 "insecure" volume serve --memory x=4096 --listen 0.0.0.0:0 --data "$work/c.data"
refused 2 "is no size" volume create x --size many --data "$work/c.data"
refused 1 "offers no volume nothing" volume pull "$(listen a)" nothing --data "$work/c.data" --listen none
refused 1 "no godwit process is running" volume status --data "$work/c.data"
refused 1 "refuses" volume pull "$(listen a)" ram --data "$work/c.data" --listen none
[[ -z $(ls "$work/c.data/volumes") ]] || die "a refused pull left something behind"
finish a "$a"
finish b "$b"

# --- create, list, remove ---
"$godwit" volume create disk --size 1MiB --data "$work/c.data" >/dev/null || die "create"
refused 1 "already" volume create disk --size 1MiB --data "$work/c.data"
"$godwit" volume list --data "$work/c.data" | grep -q '^disk .*OWNED' || die "list"
refused 1 "--yes" volume remove disk --data "$work/c.data"
"$godwit" volume remove disk --yes --data "$work/c.data" >/dev/null || die "remove"
[[ -z $(ls "$work/c.data/volumes") ]] || die "remove left something behind"

for folder in "$work"/*.data; do
  [[ ! -e $folder/control && ! -e $folder/nbd ]] || die "a socket was left in $folder"
done
echo "moved, and moved back"
