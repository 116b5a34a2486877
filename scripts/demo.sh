#!/bin/bash
# The demonstration: a 1 GiB ext4 image full of real files is served by host A, a client writes checksummed records into it, and the
# volume moves to host B meanwhile. Then it is proved that nothing was lost: the file system is clean, every record stands there once,
# and the whole volume is bit for bit what an independent replay of the client's journal gives.
# Needs: mkfs.ext4, e2fsck, debugfs (e2fsprogs). Leaves no process and no file behind.
set -euo pipefail
cd "$(dirname "$0")/.."
GODWIT=$PWD/build/release/bin/demo_godwit  # godwit with the verbs for volumes alone
CLIENT=$PWD/build/release/bin/demo_client
RATE=${DEMO_RATE:-500}          # records a second
SIZE_MB=${DEMO_SIZE_MB:-1024}
RECORDS_MB=64
AFTER=${DEMO_SECONDS_AFTER:-3}  # how long the client goes on after the switch

work=$(mktemp -d "${TMPDIR:-/var/tmp}/godwit-demo.XXXXXX")
pids=()
clean_up() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT TERM
say() { printf '%s\n' "$*"; }
die() { say "demo: $*" >&2; for f in a.err b.err; do [ -s "$work/$f" ] && sed "s/^/  $f: /" "$work/$f" >&2; done; exit 1; }
# field FILE EVENT NAME: the last value of a field in the last such line of a process's report.
field() { grep "\"event\":\"$2\"" "$1" | tail -n 1 | grep -o "\"$3\":[^,}]*" | tail -n 1 | cut -d: -f2- | tr -d '"'; }
wait_for() { # file, pattern, seconds
  for _ in $(seq $(($3 * 20))); do grep -q "$2" "$1" 2>/dev/null && return 0; sleep 0.05; done
  return 1
}

# 1. An image of real files, with a file of records in it.
files=/usr/share/doc
for folder in /usr/share /usr/lib /usr/share/doc; do
  used=$(du -sm --apparent-size "$folder" 2>/dev/null | cut -f1)
  [ "${used:-9999}" -lt $((SIZE_MB * 4 / 10)) ] && { files=$folder; break; }
done
say "making a $SIZE_MB MiB ext4 image of $files"
image=$work/disk.img
truncate -s "${SIZE_MB}M" "$image"
mkfs.ext4 -q -F -b 4096 -d "$files" "$image"
head -c "${RECORDS_MB}M" /dev/zero | tr '\0' 'r' >"$work/records.bin"
debugfs -w -R "write $work/records.bin records.bin" "$image" >/dev/null 2>&1
rm "$work/records.bin"
e2fsck -fn "$image" >/dev/null 2>&1 || die "the image is not clean before the move"
debugfs -R "ex /records.bin" "$image" 2>/dev/null |
  awk '{ gsub("/", " "); gsub("-", " ") } $1 ~ /^[0-9]+$/ && $1 == $2 { for (b = $7; b <= $8; ++b) print b }' >"$work/blocks"
[ "$(wc -l <"$work/blocks")" -eq $((RECORDS_MB * 256)) ] || die "the records' blocks could not be found"
cp --sparse=always "$image" "$work/before.img"
mkdir "$work/to-b"

# 2. Host A serves it, a client writes.
"$GODWIT" volume serve "$image" --data "$work/a" --listen 127.0.0.1:0 --nbd "unix:$work/a.nbd" \
  --dirty-threshold 16 --json >"$work/a.out" 2>"$work/a.err" &
pids+=($!); a_pid=$!
wait_for "$work/a.out" '"event":"ready"' 10 || die "host A did not start"
address=$(field "$work/a.out" ready listen)
"$CLIENT" write "unix:$work/a.nbd" disk.img "$work/blocks" "$work/journal" "$RATE" 2>"$work/writer.err" &
pids+=($!); writer=$!
say "host A serves it; a client writes $RATE records a second into it"
sleep 1

# 3. Host B pulls it; from the first second it is read there.
"$GODWIT" volume pull "$address" --data "$work/b" --into "$work/to-b" --nbd "unix:$work/b.nbd" --listen 127.0.0.1:0 --json \
  >"$work/b.out" 2>"$work/b.err" &
pids+=($!); b_pid=$!
wait_for "$work/b.out" '"state":"copying"' 10 || die "host B did not begin"
"$CLIENT" read "unix:$work/b.nbd" disk.img "$work/blocks" "$work/reads.json" 2>"$work/reader.err" &
pids+=($!); reader=$!
shown=
for _ in $(seq 6000); do
  kill -0 "$b_pid" 2>/dev/null || die "host B ended"
  kill -0 "$writer" 2>/dev/null || die "the writing client ended: $(cat "$work/writer.err")"
  line=$(grep '"event":"pull"' "$work/b.out" | tail -n 1)
  if [ "$line" != "$shown" ]; then
    shown=$line
    left=$(field "$work/b.out" pull bytes_left); wire=$(field "$work/b.out" pull bytes_on_wire)
    say "  moving: $((${wire:-0} / 1000000)) MB on the wire, $((${left:-0} / 1000000)) MB to go, $(wc -l <"$work/journal") records written"
  fi
  grep -q '"state":"owned"' "$work/b.out" && break
  sleep 0.1
done
grep -q '"state":"owned"' "$work/b.out" || die "the volume did not arrive"
kill "$reader"; wait "$reader" || die "the reading client failed: $(cat "$work/reader.err")"
say "host B owns it; the client goes on through host A for $AFTER s, on the connection it had"
sleep "$AFTER"
kill "$writer"; wait "$writer" || die "the writing client failed: $(cat "$work/writer.err")"
wait_for "$work/a.out" '"event":"moved"' 5 || die "host A has not heard that the volume moved"
kill "$b_pid"; wait "$b_pid" || die "host B did not end in good order"
kill "$a_pid"; wait "$a_pid" || die "host A did not end in good order"
pids=()

# 4. The proof.
after=$work/to-b/disk.img
e2fsck -fn "$after" >"$work/fsck" 2>&1 || die "the file system is damaged: $(cat "$work/fsck")"
say "e2fsck: clean"
records=$("$CLIENT" verify "$after" "$work/blocks" "$work/journal") || die "records are missing or stand there twice"
say "records: $records acknowledged, each stands there once"
expected=$("$CLIENT" replay "$work/before.img" "$work/journal")
actual=$(sha256sum "$after" | cut -d' ' -f1)
[ "$expected" = "$actual" ] || die "SHA-256 is $actual, the journal's replay gives $expected"
say "SHA-256 of the whole volume equals the replay's: $actual"

volume_bytes=$((SIZE_MB * 1024 * 1024))
wire=$(field "$work/b.out" pulled bytes_on_wire); [ -n "$wire" ] || wire=$(field "$work/b.out" pull bytes_on_wire)
rounds=$(field "$work/a.out" moved rounds)
downtime=$(field "$work/a.out" moved downtime_seconds | awk '{ printf "%.1f", $1 * 1000 }')
p50=$(grep -o '"p50_ms": [0-9.]*' "$work/reads.json" | cut -d' ' -f2)
p99=$(grep -o '"p99_ms": [0-9.]*' "$work/reads.json" | cut -d' ' -f2)
reads=$(grep -o '"reads": [0-9]*' "$work/reads.json" | cut -d' ' -f2)
echo
printf '%-30s %s\n' "volume" "$volume_bytes bytes" "on the wire" "$wire bytes" "rounds" "$rounds" "downtime" "$downtime ms" \
  "reads at B during the move" "$reads: p50 $p50 ms, p99 $p99 ms"
printf '\n{"volume_bytes": %s, "wire_bytes": %s, "rounds": %s, "downtime_ms": %s, "reads": %s, "read_p50_ms": %s, "read_p99_ms": %s, "records": %s, "sha256": "%s"}\n' \
  "$volume_bytes" "$wire" "$rounds" "$downtime" "$reads" "$p50" "$p99" "$records" "$actual"
