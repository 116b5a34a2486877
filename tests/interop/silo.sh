#!/usr/bin/env bash
# Live against the original Silo's own program, in both directions: several devices, sizes that are and are not multiples of the
# block, with and without a client of ours that writes meanwhile. (The original takes writes through the kernel's block device
# alone; its own writers stand in the recorded conversations.)
#
#   tests/interop/silo.sh GODWIT        the original is $SILO, or `silo` on the PATH; without it: skipped (77)
#
# All that is known here of godwit's command line stands in make_volume, serve_ours, pull_ours and file_of.
set -uo pipefail
export PATH=/usr/bin:$PATH  # nbdsh runs the first python3 there is, and its module belongs to the system's
godwit=$(realpath "${1:?usage: silo.sh GODWIT}")
silo=${SILO:-$(command -v silo || true)}
if [ -z "$silo" ] || ! "$silo" serve --help 2>&1 | grep -q -- --continuous; then
  echo "SKIPPED: interop with the original Silo needs its program, as \$SILO or as silo on the PATH"
  exit 77
fi
if ! command -v nbdsh >/dev/null; then
  echo "SKIPPED: interop with the original Silo needs nbdsh for its writers"
  exit 77
fi

work=$(mktemp -d)
jobs_running=()
passed=0 failed=0
cleanup() {
  local pid
  for pid in ${jobs_running[@]+"${jobs_running[@]}"}; do kill -KILL "$pid" 2>/dev/null; done
  wait 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Runs COMMAND in the background, from folder DIR, its words in LOG; $job is its process.
start() {  # DIR LOG COMMAND...
  local dir=$1 log=$2
  shift 2
  (cd "$dir" && exec "$@" >>"$log" 2>&1 </dev/null) &
  job=$!
  jobs_running+=("$job")
}

# --- godwit's side; DIR is its data directory

make_volume() {  # DIR FILE NAME SIZE BLOCK: a volume with the content of FILE
  "$godwit" volume create "$3" --data "$1" --size "$4" --block-size "$5" --from-file "$2"
}
serve_ours() {  # DIR PORT HAND_OVER NAME...: ends when they have moved
  local dir=$1 port=$2 hand_over=$3
  shift 3
  start "$dir" "$dir/log" "$godwit" volume serve --data "$dir" --listen "127.0.0.1:$port" --nbd "unix:$dir/nbd" \
    --hand-over "$hand_over" --once "$@"
}
pull_ours() {  # DIR PORT NAME...: stays
  local dir=$1 port=$2
  shift 2
  start "$dir" "$dir/log" "$godwit" volume pull "127.0.0.1:$port" --data "$dir" --listen none --nbd "unix:$dir/nbd" \
    --take completed "$@"
}
file_of() {  # DIR NAME: the bytes of a volume that is owned, or was given away; fails while it is .partial
  find "$1" -type f \( -name "$2" -o -name "$2.moved" \) | grep .
}

# --- what both directions need

wait_until() {  # SECONDS COMMAND...
  local until=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || return 1
    sleep 0.02
  done
}
has_ended() { ! kill -0 "$1" 2>/dev/null; }
ends_well() { wait_until "$2" has_ended "$1" && wait "$1"; }  # PID SECONDS
# Without connecting, because the original serves one connection only. 0A means listening.
listens() { grep -qi ":$(printf '%04X' "$1") [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null; }
free_port() {
  port=$((20000 + RANDOM % 12000))
  while listens "$port"; do port=$((port + 1)); done
}

# Random bytes with zeros in the second third and one repeated byte in the last, so that no form of a block stays unused.
make_content() {  # FILE SIZE
  local third=$(($2 / 3))
  { head -c $((2 * third)) /dev/urandom; head -c $(($2 - 2 * third)) /dev/zero | tr '\0' '\252'; } >"$1"
  head -c $((third / 2)) /dev/zero | dd of="$1" bs=64k seek=$third oflag=seek_bytes conv=notrunc status=none
}

# A client that writes numbered records to random places of one of our exports until it fails or NOTES.stop is there. What was
# acknowledged stands in NOTES, in order: "offset length number".
start_writer() {  # SOCKET NAME SIZE NOTES
  start "$work" "$4.log" nbdsh -c "socket, name, size, notes = '$1', '$2', $3, '$4'" -c '
import os, random
h.connect_uri("nbd+unix:///%s?socket=%s" % (name, socket))
random.seed(size)
with open(notes, "w", buffering=1) as noted:
    number, length = 0, min(512, size)
    while not os.path.exists(notes + ".stop"):
        number, offset = number + 1, random.randrange(0, size - length + 1)
        try:
            h.pwrite((number.to_bytes(8, "little") * 64)[:length], offset)
        except nbd.Error as error:
            print("the writer ends:", error)
            break
        noted.write("%d %d %d\n" % (offset, length, number))
'
}
replay() {  # FILE NOTES: the content that FILE has to have after these writes
  python3 - "$@" <<'EOF'
import sys
with open(sys.argv[1], "r+b") as content:
    for line in open(sys.argv[2]):
        offset, length, number = map(int, line.split())
        content.seek(offset)
        content.write((number.to_bytes(8, "little") * 64)[:length])
EOF
}

# A device is NAME:SIZE:BLOCK.
field() { cut -d : -f "$2" <<<"$1"; }
wrong() { reasons+=("$*"); }
verdict() {  # no reasons are a pass
  if [ ${#reasons[@]} -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok: $title"
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$title" "${reasons[@]/#/  }"
    tail -n 15 "$dir"/log-* "$dir"/*/log "$dir"/*.log 2>/dev/null
  fi
  rm -rf "$dir"
}
write_silo_config() {  # FILE DEVICE...
  local file=$1 device
  shift
  for device; do
    printf 'device "%s" {\n  size = "%s"\n  system = "file"\n  blocksize = "%s"\n  expose = false\n  location = "./%s"\n}\n\n' \
      "$(field "$device" 1)" "$(field "$device" 2)" "$(field "$device" 3)" "$(field "$device" 1)"
  done >"$file"
}

# --- the two directions

original_to_ours() {  # CASE WRITER CONCURRENCY DEVICE...
  local title="original to ours: $1, writer $2, $3 in flight" writer=$2 concurrency=$3 device name port job serve pull
  local reasons=() writers=()
  dir=$work/case
  shift 3
  mkdir -p "$dir/silo" && mkdir -m 700 "$dir/ours"
  for device; do
    make_content "$dir/silo/$(field "$device" 1)" "$(field "$device" 2)"
  done
  cp -r "$dir/silo" "$dir/expected"
  write_silo_config "$dir/silo/silo.conf" "$@"
  free_port
  start "$dir/silo" "$dir/silo/log" "$silo" serve -a "127.0.0.1:$port" -c silo.conf -x "$concurrency"
  serve=$job
  wait_until 20 listens "$port" || wrong "the original does not listen"

  pull_ours "$dir/ours" "$port" "${@%%:*}"
  pull=$job
  if [ "$writer" = on ]; then
    wait_until 20 test -S "$dir/ours/nbd" || wrong "no export at our side"
    for device; do  # its first write waits until the volume is ours
      name=$(field "$device" 1)
      start_writer "$dir/ours/nbd" "$name" "$(field "$device" 2)" "$dir/notes-$name"
      writers+=("$job")
    done
  fi
  ends_well "$serve" 60 || wrong "silo serve did not end well"
  for device; do
    name=$(field "$device" 1)
    wait_until 20 file_of "$dir/ours" "$name" || wrong "$name did not become ours"
    [ "$writer" = off ] || wait_until 20 test -s "$dir/notes-$name" || wrong "no write to $name after it became ours"
    touch "$dir/notes-$name.stop"
  done
  for job in ${writers[@]+"${writers[@]}"}; do
    ends_well "$job" 20 || wrong "a writer did not end"
  done
  kill -TERM "$pull" 2>/dev/null
  ends_well "$pull" 20 || wrong "godwit volume pull did not end well"
  for device; do
    name=$(field "$device" 1)
    [ "$writer" = off ] || replay "$dir/expected/$name" "$dir/notes-$name"
    cmp "$dir/expected/$name" "$(file_of "$dir/ours" "$name")" || wrong "$name differs"
  done
  verdict
}

ours_to_original() {  # CASE WRITER DEVICE...
  local title="ours to original: $1, writer $2" writer=$2 device name port job serve connect hand_over=none
  local reasons=() writers=()
  dir=$work/case
  shift 2
  mkdir -p "$dir/silo" "$dir/expected" && mkdir -m 700 "$dir/ours"
  for device; do
    name=$(field "$device" 1)
    make_content "$dir/expected/$name" "$(field "$device" 2)"
    make_volume "$dir/ours" "$dir/expected/$name" "$name" "$(field "$device" 2)" "$(field "$device" 3)" >>"$dir/ours/log" 2>&1 ||
      wrong "godwit volume create $name"
  done
  # With a writer: our side gives the volume up before it says Completed, so that both ends can be compared afterwards.
  [ "$writer" = off ] || hand_over=completed
  free_port
  serve_ours "$dir/ours" "$port" $hand_over "${@%%:*}"
  serve=$job
  wait_until 20 listens "$port" || wrong "godwit volume serve does not listen"
  if [ "$writer" = on ]; then
    for device; do
      name=$(field "$device" 1)
      start_writer "$dir/ours/nbd" "$name" "$(field "$device" 2)" "$dir/notes-$name"
      writers+=("$job")
      wait_until 20 test -s "$dir/notes-$name" || wrong "no write to $name"
    done
  fi

  start "$dir/silo" "$dir/silo/log" "$silo" connect -a "127.0.0.1:$port"
  connect=$job
  ends_well "$serve" 60 || wrong "godwit volume serve did not end well"
  wait_until 20 grep -q '^Migrations completed' "$dir/silo/log" || wrong "silo connect did not complete"
  for device; do touch "$dir/notes-$(field "$device" 1).stop"; done
  for job in ${writers[@]+"${writers[@]}"}; do
    ends_well "$job" 20 || wrong "a writer did not end"
  done
  kill -INT "$connect" 2>/dev/null
  wait_until 20 has_ended "$connect" || wrong "silo connect did not end"
  for device; do
    name=$(field "$device" 1)
    [ "$writer" = off ] || replay "$dir/expected/$name" "$dir/notes-$name"
    cmp "$dir/expected/$name" "$dir/silo/$name" || wrong "$name differs at the original"
    cmp "$dir/expected/$name" "$(file_of "$dir/ours" "$name")" || wrong "$name differs at our side"
  done
  verdict
}

one_multiple=(web:4194304:65536)
one_short=(web:4195305:65536)
# A short last block; a multiple; smaller than a block; many blocks; a single byte.
several=(odd:50001:8192 even:32768:4096 small:900:1048576 large:33554432:65536 byte:1:4096)
for writer in off on; do
  for concurrency in 1 100; do
    original_to_ours "a multiple of the block" $writer $concurrency "${one_multiple[@]}"
    original_to_ours "a short last block" $writer $concurrency "${one_short[@]}"
    original_to_ours "five devices" $writer $concurrency "${several[@]}"
  done
  ours_to_original "a multiple of the block" $writer "${one_multiple[@]}"
  ours_to_original "a short last block" $writer "${one_short[@]}"
  ours_to_original "five devices" $writer "${several[@]}"
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
