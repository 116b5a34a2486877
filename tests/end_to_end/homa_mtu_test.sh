#!/usr/bin/env bash
# A way that carries less than its first link: two hosts and a router between them, whose second link has a smaller MTU. Packets are
# not to be cut by the network, so the router drops what is too long and says so; the calls end with that, and with what to set, and
# go through once it is set. In IPv4 and IPv6. Needs the right to make namespaces (root, or user namespaces); else it says so.
set -euo pipefail
program=$1
if [ -z "${INSIDE-}" ]; then
  if ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
    echo "homa_mtu: SKIPPED: this user may not make network namespaces here"
    exit 77
  fi
  INSIDE=1 exec unshare --user --map-root-user --net --mount "$0" "$program"
fi
source "$(dirname "$0")/../lib.sh"
needs ip nsenter

# The other namespaces are those of processes which sleep in them.
namespace() {
  unshare --net sleep 1000 & pids+=($!)
  for _ in $(seq 100); do [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ] && return; sleep 0.02; done
  die "no namespace"
}
namespace && router=$!
namespace && server=$!
at_router() { nsenter --target "$router" --net "$@"; }
at_server() { nsenter --target "$server" --net "$@"; }
ip link add near type veth peer name west netns "$router" 2>"$work/veth.err" || skip "no veth: $(cat "$work/veth.err")"
at_router ip link add east type veth peer name far netns "$server"
ip link set lo up
addresses() {  # DEVICE NUMBER: of both families, without waiting for anybody else to have the same
  printf 'address add 10.77.%s/24 dev %s\naddress add fd77:%s/64 dev %s nodad\nlink set %s up\n' "$2" "$1" "$3" "$1" "$1"
}
addresses near 1.1 1::1 | ip -batch -
addresses west 1.2 1::2 | at_router ip -batch -
addresses east 2.2 2::2 | at_router ip -batch -
addresses far 2.1 2::1 | at_server ip -batch -
at_router ip link set east mtu 1300 && at_server ip link set far mtu 1300
at_router sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward && echo 1 > /proc/sys/net/ipv6/conf/all/forwarding' 2>"$work/forward.err" ||
  skip "no forwarding here: $(cat "$work/forward.err")"
ip route add 10.77.2.0/24 via 10.77.1.2 && ip route add fd77:2::/64 via fd77:1::2
at_server ip route add 10.77.1.0/24 via 10.77.2.2 && at_server ip route add fd77:1::/64 via fd77:2::2

for address in 10.77.2.1 '[fd77:2::1]'; do
  rm -f "$work/echo.log"
  nsenter --target "$server" --net "$program" --json homa echo --bind "$address" --port 9160 --insecure --tick-ms 20 >"$work/echo.log" 2>"$work/echo.err" & pids+=($!)
  wait_for "$work/echo.log" '"ready"'
  ping=("$program" homa ping "$address:9160" --interval-ms 1 --tick-ms 20 --deadline-ms 20000)
  # Until the neighbours have found each other.
  wait_until "a way to $address" "${ping[@]}" --count 1
  check "$address: what fits passes" "${ping[@]}" --count 3 --size 100
  # The first packets are lost, and what the router says of them ends the calls.
  fails_with "$address: what does not fit ends with what to set" ", which carries 1300 bytes: set a smaller MTU" "${ping[@]}" --count 3 --size 20000
  check "$address: with that MTU it passes" "${ping[@]}" --count 3 --size 20000 --mtu 1300
done
verdict
