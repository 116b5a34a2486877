#!/usr/bin/env bash
# Homa and others over a link of 1 Gb/s: two network namespaces, a veth pair, and the queues of `godwit homa tc` on both ends. A
# line of JSON for each contender.
#   bench/homa_link.sh bulk BIN SECONDS CONTENDER...              of godwit, tcp, grpc: 100 B echoes beside four streams of 1 MB
#     echoes that fill the link; tells the short ones
#   bench/homa_link.sh incast BIN SENDERS SIZE ROUNDS CONTENDER   of godwit, tcp: as many answers at the same moment, through a port
#     that holds 150 kB of each priority, about what a switch has: what comes in excess is dropped
# Needs the right to make namespaces (root, or user namespaces) and the kernel's htb; else it says so and exits with 77.
set -euo pipefail
scenario=$1 bin=$2
if [ -z "${INSIDE-}" ]; then
  unshare --user --map-root-user --net --mount true 2>/dev/null || { echo "no network namespaces here" >&2; exit 77; }
  INSIDE=1 exec unshare --user --map-root-user --net --mount "$0" "$@"
fi
work=$(mktemp -d)
children=()
cleanup() {
  for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# The other namespace is that of a process which sleeps in it.
unshare --net sleep 1000 & other=$!
children+=("$other")
for _ in $(seq 100); do [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ] && break; sleep 0.02; done
there() { nsenter --target "$other" --net "$@"; }
ip link set lo up
ip link add left type veth peer name right netns "$other" || { echo "no veth here" >&2; exit 77; }
ip address add 10.77.0.1/24 dev left && ip link set left up
there ip address add 10.77.0.2/24 dev right && there ip link set right up && there ip link set lo up
"$bin/godwit" homa tc left --mbps 1000 | sh || { echo "no htb here" >&2; exit 77; }
there "$bin/godwit" homa tc right --mbps 1000 | there sh

shift 2

export BENCH_SERVER_ADDRESS=10.77.0.2 BENCH_SERVER_NETNS=/proc/$other/ns/net

if [ "$scenario" = incast ]; then
  for class in 0 1 2 3 4 5 6 7; do there tc qdisc add dev right parent "1:1$class" bfifo limit 150000; done
  case $4 in
    godwit) "$bin/bench_homa_incast" "$1" "$2" "$3" ;;
    tcp) "$bin/bench_homa_peers" incast-tcp "$1" "$2" "$3" ;;
    *) echo "no contender is called $4" >&2; exit 2 ;;
  esac
  exit
fi

seconds=$1
shift
echoes() {  # contender size outstanding seconds
  case $1 in
    godwit) "$bin/godwit" --json homa bench 10.77.0.2:9160 --size "$2" --outstanding "$3" --seconds "$4" --link-mbps 1000 ;;
    tcp) "$bin/bench_homa_peers" tcp "$2" "$3" "$4" ;;
    grpc) "$bin/bench_homa_peer_grpc" "$2" "$3" "$4" ;;
    *) echo "no contender is called $1" >&2; exit 2 ;;
  esac
}
# Not by there(): the shell that runs a function would be killed in the server's place.
nsenter --target "$other" --net "$bin/godwit" homa echo --bind 10.77.0.2 --port 9160 --insecure --link-mbps 1000 --json >"$work/echo" & children+=($!)
for _ in $(seq 200); do grep -q ready "$work/echo" && break; sleep 0.05; done
for contender in "$@"; do
  # Begins before the short ones and ends after them.
  bulk=()
  for stream in 1 2 3 4; do
    echoes "$contender" 1000000 1 "$(awk -v s="$seconds" 'BEGIN { print s + 1.5 }')" >"$work/bulk$stream" & bulk+=($!)
  done
  sleep 0.7
  echoes "$contender" 100 1 "$seconds" >"$work/short" || { wait "${bulk[@]}" || true; echo "$contender failed" >&2; exit 1; }
  for stream in "${bulk[@]}"; do wait "$stream"; done
  python3 - "$contender" "$work/short" "$work"/bulk? <<'PYTHON'
import json, sys
def last(path):
    return json.loads([line for line in open(path, encoding="utf-8") if line.startswith("{")][-1])
short, bulk = last(sys.argv[2]), [last(path) for path in sys.argv[3:]]
print(json.dumps({"what": sys.argv[1], "p50_us": short["p50_us"], "p99_us": short["p99_us"],
                  "bulk_gbit_per_second": sum(stream["gbit_per_second"] for stream in bulk),
                  "cpu_us_per_call": short.get("cpu_us_per_call"), "cpu_of_both_sides": short.get("cpu_of_both_sides", True)}), flush=True)
PYTHON
done
