#!/usr/bin/env bash
# Compares our NBD server with nbdkit and qemu-nbd under fio, all on memory and over one kind of socket, in interleaved short runs.
# Prints the median of each pattern in MB/s (or thousands of requests per second for 4 KiB) and our best rival's ratio.
#
#   bench/nbd_servers.sh BUILD/bin/nbd_test_server [tcp|unix] [ROUNDS] [SECONDS]
set -euo pipefail

server=$1
kind=${2:-tcp}
rounds=${3:-3}
seconds=${4:-2}
size=$((512 * 1024 * 1024))
work=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work" "/dev/shm/nbd_servers.$$"
}
trap cleanup EXIT

if [[ $kind == tcp ]]; then
  uri() { echo "nbd://127.0.0.1:$((21000 + $1))/"; }
  "$server" 127.0.0.1:21001 "$size" >"$work/log1" & pids+=($!)
  "$server" 127.0.0.1:21002 "$size" --pooled >"$work/log2" & pids+=($!)
  nbdkit -f -p 21003 -i 127.0.0.1 memory "$size" & pids+=($!)
  truncate -s "$size" "/dev/shm/nbd_servers.$$"
  qemu-nbd -t -e 8 -f raw -b 127.0.0.1 -p 21004 "/dev/shm/nbd_servers.$$" & pids+=($!)
else
  uri() { echo "nbd+unix:///?socket=$work/s$1"; }
  "$server" "unix:$work/s1" "$size" >"$work/log1" & pids+=($!)
  "$server" "unix:$work/s2" "$size" --pooled >"$work/log2" & pids+=($!)
  nbdkit -f -U "$work/s3" memory "$size" & pids+=($!)
  truncate -s "$size" "/dev/shm/nbd_servers.$$"
  qemu-nbd -t -e 8 -f raw -k "$work/s4" "/dev/shm/nbd_servers.$$" & pids+=($!)
fi
names=(- godwit godwit-pooled nbdkit qemu-nbd)
for i in 1 2 3 4; do
  for _ in $(seq 50); do nbdinfo --size "$(uri "$i")" >/dev/null 2>&1 && break; sleep 0.1; done
done

# Every page is touched before anything is measured.
for i in 1 2 3 4; do
  fio --name=fill --ioengine=nbd --uri="$(uri "$i")" --rw=write --bs=1m --iodepth=4 --size="$size" >/dev/null
done

lscpu | sed -n 's/^Model name: */CPU: /p'
uptime
patterns=("randread 4k 1" "randread 4k 16" "randread 4k 64" "randwrite 4k 16" "randwrite 4k 64" "read 64k 16" "read 256k 16" "write 256k 16" "read 1m 8" "write 1m 8")
for pattern in "${patterns[@]}"; do
  read -r rw bs depth <<<"$pattern"
  for _ in $(seq "$rounds"); do
    for i in 1 2 3 4; do
      fio --name=run --ioengine=nbd --uri="$(uri "$i")" --rw="$rw" --bs="$bs" --iodepth="$depth" --size="$size" \
        --time_based --runtime="$seconds" --output-format=json | sed "/^fio: /d" >"$work/out"
      python3 -c 'import json,sys; j=json.load(open(sys.argv[1]))["jobs"][0]; d=j["read"] if j["read"]["io_bytes"] else j["write"]; print(d["iops"], d["bw_bytes"]/1e6)' "$work/out" >>"$work/$rw.$bs.$depth.$i"
    done
  done
  python3 - "$work/$rw.$bs.$depth" "$pattern" "${names[@]:1}" <<'PY'
import statistics, sys
base, pattern, names = sys.argv[1], sys.argv[2], sys.argv[3:]
column = 0 if "4k" in pattern else 1
values = [statistics.median(float(l.split()[column]) for l in open(f"{base}.{i+1}")) for i in range(4)]
unit = "k/s" if column == 0 else "MB/s"
shown = [v / 1000 if column == 0 else v for v in values]
best = max(shown[2:])
print(f"{pattern:16}", "  ".join(f"{n} {v:8.1f}" for n, v in zip(names, shown)), unit, f" ours/best {shown[0]/best:.2f} pooled/best {shown[1]/best:.2f}", flush=True)
PY
done
