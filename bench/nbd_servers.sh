#!/usr/bin/env bash
# Compares our NBD server with nbdkit and qemu-nbd under fio, all on memory and over one kind of socket, in interleaved short runs.
# Prints medians: 4 KiB patterns in thousands of requests per second, others in MB/s; behind each the server's own CPU time per
# request in microseconds, which a loaded machine disturbs less. godwit-pooled reads through the buffer pool, as volumes do.
#
#   bench/nbd_servers.sh BUILD/bin/nbd_test_server [tcp|unix] [ROUNDS] [SECONDS]
set -euo pipefail

server=$1
kind=${2:-tcp}
rounds=${3:-3}
seconds=${4:-2}
size=$((256 * 1024 * 1024))
work=$(mktemp -d)
backing=/dev/shm/nbd_servers.$$
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work" "$backing"
}
trap cleanup EXIT
truncate -s "$size" "$backing"

if [[ $kind == tcp ]]; then
  uri() { echo "nbd://127.0.0.1:$((21000 + $1))/"; }
  "$server" 127.0.0.1:21001 "$size" >"$work/log1" & pids+=($!)
  "$server" 127.0.0.1:21002 "$size" --pooled >"$work/log2" & pids+=($!)
  nbdkit -f -p 21003 -i 127.0.0.1 memory "$size" & pids+=($!)
  qemu-nbd -t -e 8 -f raw -b 127.0.0.1 -p 21004 "$backing" & pids+=($!)
else
  uri() { echo "nbd+unix:///?socket=$work/s$1"; }
  "$server" "unix:$work/s1" "$size" >"$work/log1" & pids+=($!)
  "$server" "unix:$work/s2" "$size" --pooled >"$work/log2" & pids+=($!)
  nbdkit -f -U "$work/s3" memory "$size" & pids+=($!)
  qemu-nbd -t -e 8 -f raw -k "$work/s4" "$backing" & pids+=($!)
fi
names=(godwit godwit-pooled nbdkit qemu-nbd)
for i in 1 2 3 4; do
  for _ in $(seq 50); do
    nbdinfo --size "$(uri "$i")" >/dev/null 2>&1 && break
    sleep 0.1
  done
  # Every page is touched before anything is measured.
  fio --name=fill --ioengine=nbd --uri="$(uri "$i")" --rw=write --bs=1m --iodepth=4 --size="$size" >/dev/null
done

cpu_ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
lscpu | sed -n 's/^Model name: */CPU: /p'
uptime
if [[ -n ${PATTERNS:-} ]]; then
  IFS=, read -ra patterns <<<"$PATTERNS"
else
  patterns=("randread 4k 1" "randread 4k 16" "randread 4k 64" "randwrite 4k 16" "randwrite 4k 64" "read 64k 16" "read 256k 16"
    "write 256k 16" "read 1m 8" "write 1m 8")
fi
for pattern in "${patterns[@]}"; do
  read -r rw bs depth <<<"$pattern"
  for _ in $(seq "$rounds"); do
    for i in 1 2 3 4; do
      before=$(cpu_ticks "${pids[$((i - 1))]}")
      fio --name=run --ioengine=nbd --uri="$(uri "$i")" --rw="$rw" --bs="$bs" --iodepth="$depth" --size="$size" \
        --time_based --runtime="$seconds" --output-format=json | sed '/^fio: /d' >"$work/out"
      after=$(cpu_ticks "${pids[$((i - 1))]}")
      python3 -c '
import json, sys
job = json.load(open(sys.argv[1]))["jobs"][0]
d = job["read"] if job["read"]["io_bytes"] else job["write"]
print(d["iops"] / 1e3, d["bw_bytes"] / 1e6, int(sys.argv[2]) * 1e4 / d["total_ios"])' "$work/out" $((after - before)) >>"$work/$rw.$bs.$depth.$i"
    done
  done
  python3 - "$work/$rw.$bs.$depth" "$pattern" "${names[@]}" <<'PY'
import statistics, sys
base, pattern, names = sys.argv[1], sys.argv[2], sys.argv[3:]
column = 0 if "4k" in pattern else 1
rows = [[list(map(float, line.split())) for line in open(f"{base}.{i + 1}")] for i in range(4)]
speed = [statistics.median(r[column] for r in row) for row in rows]
cpu = [statistics.median(r[2] for r in row) for row in rows]
best = max(speed[2:])
least = min(cpu[2:])
shown = "  ".join(f"{n} {s:7.1f} ({c:6.1f} us)" for n, s, c in zip(names, speed, cpu))
print(f"{pattern:15} {shown}  speed {speed[0] / best:.2f} {speed[1] / best:.2f}  cpu {cpu[0] / least:.2f} {cpu[1] / least:.2f}", flush=True)
PY
done
