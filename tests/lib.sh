# What the tests written in shell share, sourced by them after their `set`: a folder $work that goes at the end together with the
# processes in `pids`, skipping aloud, waiting with a limit, and counted checks.

umask 077
PATH=$PATH:/usr/sbin  # where nginx, ip and losetup are
work=$(mktemp -d)
pids=()
# A test with more to give back defines clean_up_more; it runs after the processes have ended.
clean_up_more() { :; }
clean_up() {
  for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null || true; done
  # A second for those that end as they should; a process that hangs must not hang the test.
  for pid in ${pids[@]+"${pids[@]}"}; do
    for _ in $(seq 20); do kill -0 "$pid" 2>/dev/null || break; sleep 0.05; done
    kill -KILL "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  clean_up_more
  rm -rf "$work"
}
trap clean_up EXIT

skip() {
  echo "SKIPPED: $*"
  exit 77
}
needs() {  # PROGRAM…
  local program
  for program; do command -v "$program" >/dev/null || skip "needs $program"; done
}
die() {
  echo "FAILED: $*" >&2
  tail -n 8 "$work"/*.log "$work"/*.err >&2 2>/dev/null || true
  exit 1
}
wait_for() {  # FILE PATTERN [SECONDS]
  for _ in $(seq $((${3:-60} * 20))); do grep -q "$2" "$1" 2>/dev/null && return; sleep 0.05; done
  die "no \"$2\" in $1"
}
wait_until() {  # WHAT COMMAND…
  local what=$1
  shift
  for _ in $(seq 400); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done
  die "$what did not happen in time"
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Checks that are all made, whatever the ones before them came to; verdict ends the test.
failures=0
failed() {
  echo "FAIL $*"
  failures=$((failures + 1))
}
check_seconds=60  # a test that runs on something slow gives more
run_limited() {  # COMMAND…: so long at most; a function of the test's own keeps its own time
  if [ "$(type -t "$1")" = function ]; then "$@"; else timeout "$check_seconds" "$@"; fi
}
check() {  # NAME COMMAND…: it is to succeed
  local name=$1
  shift
  if run_limited "$@" >"$work/check.log" 2>&1; then echo "ok   $name"; else
    failed "$name: $*"
    tail -n 5 "$work/check.log"
  fi
}
fails_with() {  # NAME WORDS COMMAND…: it is to fail, and to say those words
  local name=$1 words=$2
  shift 2
  if run_limited "$@" >"$work/check.log" 2>&1; then
    failed "$name: it succeeded"
  elif ! grep -q -- "$words" "$work/check.log"; then
    failed "$name: it does not say \"$words\":"
    tail -n 5 "$work/check.log"
  else echo "ok   $name"; fi
}
verdict() {
  [ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
  echo "all is well"
}

# A blob that is the same at every run: random bytes (AES-CTR of zeros), which do not compress.
random_bytes() {  # COUNT
  openssl enc -aes-128-ctr -K 00000000000000000000000000000001 -iv 00000000000000000000000000000000 -in /dev/zero 2>/dev/null |
    head -c "$1" || true
}
# An ssh at $work/ssh that runs the remote command here: it drops the host and executes the rest as it is.
make_ssh() {
  printf '#!/bin/sh\nshift\nexec "$@"\n' >"$work/ssh"
  chmod +x "$work/ssh"
}
