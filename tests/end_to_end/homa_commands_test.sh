#!/usr/bin/env bash
# `godwit homa` as a user without privileges has it: echo, ping, bench, doctor and dump, metrics, what is refused, and the trace that
# a FREEZE makes a server print, if it was allowed to. Wants the program as its argument.
set -euo pipefail
godwit=$1
source "$(dirname "$0")/../lib.sh"
needs python3 setpriv

# A copy that everybody can reach; the capabilities of root are laid down with its number.
chmod 711 "$work"
cp "$godwit" "$work/godwit" && chmod 755 "$work/godwit"
cd "$work"
# Words and not a function where a process is to be ended: else the shell that runs the function would be ended in its place.
as=()
[ "$(id -u)" != 0 ] || as=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)
unprivileged() { ${as[@]+"${as[@]}"} "$@"; }
homa() {  # FILE ARGUMENT…: the program's output goes to the file
  local file=$1
  shift
  unprivileged timeout 60 ./godwit "$@" > "$file"
}
check "the user is not root" test "$(unprivileged id -u)" != 0

serve() {  # NAME OPTION…: an echo server; its address in $address
  local name=$1
  shift
  ${as[@]+"${as[@]}"} "$work/godwit" --json homa echo --port 0 "$@" > "$name.log" 2> "$name.err" & pids+=($!)
  wait_for "$name.log" '"ready"'
  address=$(python3 -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())["listen"])' "$name.log")
}
send_freeze() {  # HOST:PORT: the 28 bytes of the packet, from client port 32768 to service 99, RPC 2
  python3 - "$1" <<'PYTHON'
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
packet = bytes.fromhex("80000063" + "00" * 8 + "001a0000" + "00000000" + "0000000000000002")
assert len(packet) == 28
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(packet, (host, int(port)))
PYTHON
}
metric() {  # HOST:PORT NAME: its value, of all labels together
  python3 - "$1" "$2" <<'PYTHON'
import sys, urllib.request
text = urllib.request.urlopen(f"http://{sys.argv[1]}/metrics", timeout=10).read().decode()
print(int(sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(sys.argv[2]))))
PYTHON
}

serve plain
check "ping" homa ping.json --json homa ping "$address" --size 5000 --count 50 --interval-ms 1
check "  all calls came back" python3 -c '
import json
found = [json.loads(line) for line in open("ping.json") if line.startswith("{")][-1]
assert found["answered"] == 50 and found["failed"] == 0 and 0 < found["p50_us"] <= found["p99_us"], found'
check "bench" homa bench.json --json homa bench "$address" --seconds 0.3 --size 100 --outstanding 8
check "  it made calls" grep -q '"calls":[1-9].*"failed":0' bench.json
check "doctor" homa doctor.txt homa doctor "$address"
check "  it measured the way" grep -q "100 B calls: p50 [0-9.]* us" doctor.txt

metrics_port=$(free_port)
serve frozen --allow-freeze --metrics "127.0.0.1:$metrics_port"
check "ping before the freeze" unprivileged ./godwit homa ping "$address" --size 100 --count 3
send_freeze "$address"
wait_for frozen.log '"frozen"'
check "a FREEZE prints the packets before it" python3 -c '
import json
packets = [json.loads(line) for line in open("frozen.log") if "frozen" in line][-1]["packets"].splitlines()
assert sum("DATA" in p for p in packets) >= 6, packets
assert any(" from " in p for p in packets) and any(" to " in p for p in packets), packets'
check "metrics tell of the packets" test "$(metric "127.0.0.1:$metrics_port" godwit_homa_packets_received_total)" -ge 3

# Unauthenticated as it is, it does nothing where it was not asked for, and the server goes on.
serve deaf
send_freeze "$address"
check "a server that does not allow it goes on" unprivileged ./godwit homa ping "$address" --count 3
check "  and prints nothing" test "$(grep -c frozen deaf.log)" = 0

fails_with "others' addresses want --insecure" "add --insecure" unprivileged ./godwit homa echo --bind 0.0.0.0 --port 0
fails_with "nobody there" "" unprivileged ./godwit homa ping "127.0.0.1:$(free_port)" --count 1 --deadline-ms 500
# The specification's first example: DATA, RPC 2, "hello".
echo "80000063 0000000000000000 a0140000 00000000 0000000000000002 00000005 00000005 0000000000000000 00000005" \
  "000000000000000000000000 68656c6c6f" > data.hex
chmod 644 data.hex
check "dump" homa dump.txt homa dump data.hex
check "  it names the packet" grep -q "DATA.*2" dump.txt
verdict
