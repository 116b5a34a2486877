#!/usr/bin/env bash
# Short messages beside a bulk stream that fills a link of 100 Mb/s: two network namespaces, a veth pair, and the queues that
# `godwit homa tc` sets up. With Homa's priorities in the queues the short ones pass the long ones; the same link with one queue for
# all shows what that is worth. Needs the right to make namespaces (root, or user namespaces) and the kernel's htb; else it says so
# and is skipped.
set -euo pipefail
program=$1
if [ -z "${INSIDE-}" ]; then
  if ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
    echo "homa_priorities: SKIPPED: this user may not make network namespaces here"
    exit 77
  fi
  INSIDE=1 exec unshare --user --map-root-user --net --mount "$0" "$program"
fi
source "$(dirname "$0")/../lib.sh"
needs ip tc

# The other namespace is that of a process which sleeps in it.
unshare --net sleep 1000 & other=$!
pids+=("$other")
for _ in $(seq 100); do [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break; sleep 0.02; done
there() { nsenter --target "$other" --net "$@"; }
ip link set lo up
if ! ip link add left type veth peer name right netns "$other" 2>"$work/veth.err"; then
  skip "no veth: $(cat "$work/veth.err")"
fi
ip address add 10.77.0.1/24 dev left && ip link set left up
there ip address add 10.77.0.2/24 dev right && there ip link set right up

# The network holds so much of the bulk stream: 20 ms of this link, which short messages wait for or pass. (By themselves the two
# would find out a much shorter way.)
deep=250000
start_echo() {  # file
  # Not by there(): the shell that runs a function would be killed in the server's place.
  nsenter --target "$other" --net "$program" homa echo --bind 10.77.0.2 --port 9160 --insecure --link-mbps 100 --rtt-bytes "$deep" --tick-ms 20 --json >"$work/$1" 2>"$work/$1.err" & pids+=($!)
  for _ in $(seq 200); do grep -q ready "$work/$1" && return; sleep 0.05; done
  die "the server did not start"
}
p99() { grep -o '"p99_us":[0-9.eE+-]*' "$1" | head -1 | cut -d: -f2; }
whole() { printf '%.0f' "$1"; }

# A loaded machine may not run a process for longer than the protocol's usual patience: hence the slow ticks.
# The bulk stream is not paced: what is asked is whether the network's queues keep it from delaying the others.
beside_bulk() {  # file
  "$program" homa bench 10.77.0.2:9160 --size 1000000 --outstanding 4 --seconds 4 --link-mbps 0 --rtt-bytes "$deep" --tick-ms 20 --json >"$work/$1.bulk" 2>"$work/$1.bulk.err" &
  local bulk=$!
  sleep 1
  "$program" homa ping 10.77.0.2:9160 --size 100 --count 100 --interval-ms 10 --tick-ms 20 --json >"$work/$1" 2>"$work/$1.err" || die "ping failed"
  wait "$bulk" || die "the bulk stream failed"
}

start_echo echo
"$program" homa tc left --mbps 100 | sh >"$work/tc.err" 2>&1 || {
  skip "this kernel does not take the queues: $(head -3 "$work/tc.err")"
}
there "$program" homa tc right --mbps 100 | there sh >"$work/tc.err" 2>&1 || die "the queues of the other side"
"$program" homa doctor 10.77.0.2:9160 --link-mbps 100 --tick-ms 20 >"$work/doctor" 2>"$work/doctor.err" || die "doctor: $(cat "$work/doctor")"
grep -q 'htb: can serve priorities' "$work/doctor" || die "doctor does not see the queues: $(cat "$work/doctor")"
beside_bulk with
for side in "" there; do
  device=left; [ -n "$side" ] && device=right
  $side tc qdisc replace dev $device root handle 2: htb default 1 && $side tc class add dev $device parent 2: classid 2:1 htb rate 100mbit quantum 3000
done
beside_bulk without
with=$(p99 "$work/with") without=$(p99 "$work/without")
echo "homa_priorities: p99 of 100 B beside a bulk stream: $(whole "$with") us with priorities, $(whole "$without") us with one queue"
awk -v a="$with" -v b="$without" 'BEGIN { exit !(a < b) }' || die "priorities made no difference"
