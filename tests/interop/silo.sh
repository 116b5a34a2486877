#!/usr/bin/env bash
# Live against the original Silo's own program, in both directions: several devices, sizes that are and are not multiples of the
# block, with and without a client of ours that writes meanwhile. (The original takes writes through the kernel's block device
# alone; its own writers stand in the recorded conversations.)
#
#   tests/interop/silo.sh GODWIT        the original is $SILO, or `silo` on the PATH; without it: skipped (77)
#
# All that is known here of godwit's command line stands in serve_ours and pull_ours.
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

umask 077  # a data directory is its user's alone
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

# --- godwit's side; DIR is its data directory, and its volumes lie in DIR/volumes

serve_ours() {  # DIR PORT OPTIONS DEVICE...: a host that offers DIR/volumes/NAME of each device; $job is its process
  local dir=$1 port=$2 options=$3 first=$4 device
  shift 4
  # shellcheck disable=SC2086 # the options are words
  start "$dir" "$dir/log" "$godwit" volume serve "$dir/volumes/$(field "$first" 1)" --data "$dir" --listen "127.0.0.1:$port" \
    --nbd "unix:$dir/nbd" --block-size "$(field "$first" 3)" --log-level info $options
  wait_until 20 grep -q '^ready:' "$dir/log" || return 1
  for device; do  # its own block size each: one command each, to the process that runs
    "$godwit" volume serve "$dir/volumes/$(field "$device" 1)" --data "$dir" --block-size "$(field "$device" 3)" \
      >>"$dir/log" 2>&1 || return 1
  done
}
pull_ours() {  # DIR PORT OPTIONS NAME...: stays; $job is its process
  local dir=$1 port=$2 options=$3
  shift 3
  # shellcheck disable=SC2086 # the options are words
  start "$dir" "$dir/log" "$godwit" volume pull "127.0.0.1:$port" "$@" --data "$dir" --listen none --nbd "unix:$dir/nbd" \
    --log-level info $options
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
    printf 'FAILED: %s\n' "$title"
    printf '  %s\n' "${reasons[@]}"
    tail -n 15 "$dir"/*/log "$dir"/*.log 2>/dev/null
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

original_to_ours() {  # CASE TAKE WRITER CONCURRENCY DEVICE...
  local title="original to ours: $1, --take $2, writer $3, $4 in flight" take=$2 writer=$3 concurrency=$4
  local device name port job serve pull word=owned suffix='' reasons=() writers=()
  dir=$work/case
  shift 4
  [ "$take" = completed ] || { word=copied suffix=.partial; }  # `silo serve` never sends Custom/0
  mkdir -p "$dir/silo" "$dir/ours"
  for device; do
    make_content "$dir/silo/$(field "$device" 1)" "$(field "$device" 2)"
  done
  cp -r "$dir/silo" "$dir/expected"
  write_silo_config "$dir/silo/silo.conf" "$@"
  free_port
  start "$dir/silo" "$dir/silo/log" "$silo" serve -a "127.0.0.1:$port" -c silo.conf -x "$concurrency"
  serve=$job
  wait_until 20 listens "$port" || wrong "the original does not listen"

  pull_ours "$dir/ours" "$port" "--take $take" "${@%%:*}"
  pull=$job
  if [ "$writer" = on ]; then
    for device; do  # its first write waits until the volume is ours
      name=$(field "$device" 1)
      wait_until 20 nbdinfo --size "nbd+unix:///$name?socket=$dir/ours/nbd" || wrong "no export $name"
      start_writer "$dir/ours/nbd" "$name" "$(field "$device" 2)" "$dir/notes-$name"
      writers+=("$job")
    done
  fi
  ends_well "$serve" 60 || wrong "silo serve did not end with 0"
  wait_until 20 grep -q "^$word " "$dir/ours/log" || wrong "godwit does not say that the volumes are $word"
  if [ "$writer:$take" = on:completed ]; then
    for device; do
      name=$(field "$device" 1)
      wait_until 20 test -s "$dir/notes-$name" || wrong "no write to $name after it became ours"
      touch "$dir/notes-$name.stop"
    done
    for job in "${writers[@]}"; do
      ends_well "$job" 20 || wrong "a writer did not end"
    done
  fi
  kill -TERM "$pull" 2>/dev/null
  ends_well "$pull" 20 || wrong "godwit volume pull did not end with 0"
  for device; do
    name=$(field "$device" 1)
    if [ "$writer" = on ]; then
      if [ "$take" = completed ]; then
        replay "$dir/expected/$name" "$dir/notes-$name"
      else
        [ ! -s "$dir/notes-$name" ] || wrong "$name took a write though it was not ours"
      fi
    fi
    cmp "$dir/expected/$name" "$dir/ours/volumes/$name$suffix" || wrong "$name$suffix differs"
  done
  verdict
}

# `serve --continuous` never says Completed; what is there arrives all the same, and stays a .partial that is not ours.
original_continuous() {  # TAKE DEVICE...
  local title="original to ours: --continuous, --take $1" take=$1 device name port job serve pull reasons=()
  dir=$work/case
  shift
  mkdir -p "$dir/silo" "$dir/ours"
  for device; do
    make_content "$dir/silo/$(field "$device" 1)" "$(field "$device" 2)"
  done
  write_silo_config "$dir/silo/silo.conf" "$@"
  free_port
  start "$dir/silo" "$dir/silo/log" "$silo" serve -a "127.0.0.1:$port" -c silo.conf --continuous
  serve=$job
  wait_until 20 listens "$port" || wrong "the original does not listen"
  pull_ours "$dir/ours" "$port" "--take $take" "${@%%:*}"
  pull=$job
  for device; do
    name=$(field "$device" 1)
    wait_until 20 cmp -s "$dir/silo/$name" "$dir/ours/volumes/$name.partial" || wrong "$name does not arrive"
  done
  sleep 2.5  # two of the original's empty dirty lists
  has_ended "$pull" && wrong "godwit volume pull has ended"
  grep -qE '^(owned|copied) ' "$dir/ours/log" && wrong "godwit says that the copy is complete"
  kill -TERM "$pull" 2>/dev/null
  wait_until 20 has_ended "$pull" || wrong "godwit volume pull did not end"
  wait "$pull"
  [ $? -eq 1 ] || wrong "godwit volume pull did not end with 1"
  for device; do
    name=$(field "$device" 1)
    cmp "$dir/silo/$name" "$dir/ours/volumes/$name.partial" || wrong "$name differs"
  done
  kill -KILL "$serve" 2>/dev/null  # it does not notice that its peer has gone
  verdict
}

# The original dies in the middle: nothing looks whole afterwards, and a message says so.
original_dies() {
  local title="original to ours: it dies in the middle" port job serve pull reasons=()
  dir=$work/case
  mkdir -p "$dir/silo" "$dir/ours"
  head -c 256M /dev/urandom >"$dir/silo/big"
  write_silo_config "$dir/silo/silo.conf" big:268435456:65536
  free_port
  start "$dir/silo" "$dir/silo/log" "$silo" serve -a "127.0.0.1:$port" -c silo.conf -x 4
  serve=$job
  wait_until 20 listens "$port" || wrong "the original does not listen"
  pull_ours "$dir/ours" "$port" "" big
  pull=$job
  wait_until 20 test -e "$dir/ours/volumes/big.partial" || wrong "nothing arrives"
  kill -KILL "$serve"
  wait_until 20 has_ended "$pull" || wrong "godwit volume pull did not end"
  wait "$pull"
  [ $? -eq 1 ] || wrong "godwit volume pull did not end with 1"
  grep -q '^godwit: .' "$dir/ours/log" || wrong "no message"
  [ ! -e "$dir/ours/volumes/big" ] || wrong "a broken copy looks whole"
  verdict
}

ours_to_original() {  # CASE HAND_OVER WRITER OPTIONS DEVICE...
  local title="ours to original: $1, --hand-over $2, writer $3${4:+, $4}" hand_over=$2 writer=$3 options=$4
  local device name port job serve connect reasons=() writers=()
  dir=$work/case
  shift 4
  mkdir -p "$dir/silo" "$dir/ours/volumes" "$dir/expected"
  chmod 700 "$dir/ours" "$dir/ours/volumes"
  for device; do
    name=$(field "$device" 1)
    make_content "$dir/expected/$name" "$(field "$device" 2)"
    cp "$dir/expected/$name" "$dir/ours/volumes/$name"
  done
  [ "$hand_over" = none ] || options+=' --once'
  free_port
  serve_ours "$dir/ours" "$port" "--hand-over $hand_over --dirty-threshold 4 $options" "$@" || wrong "no volumes to serve"
  serve=$job
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
  wait_until 60 grep -q '^Migrations completed' "$dir/silo/log" || wrong "silo connect did not complete"
  wait_until 20 grep -q 'has acknowledged the whole copy' "$dir/ours/log" || wrong "no word of the whole copy"
  grep -q 'is an original Silo' "$dir/ours/log" || wrong "the original was not recognised as one"
  # After a hand-over the writers are refused; else they write on until they are told to stop.
  if [ "$hand_over" = none ]; then
    for device; do touch "$dir/notes-$(field "$device" 1).stop"; done
  fi
  for job in ${writers[@]+"${writers[@]}"}; do
    ends_well "$job" 20 || wrong "a writer did not end"
  done
  if [ "$hand_over" = none ]; then
    has_ended "$serve" && wrong "godwit volume serve has ended"
    kill -TERM "$serve" 2>/dev/null
  fi
  ends_well "$serve" 20 || wrong "godwit volume serve did not end with 0"
  has_ended "$connect" && wrong "silo connect has ended"
  kill -INT "$connect" 2>/dev/null
  wait_until 20 has_ended "$connect" || wrong "silo connect did not end"
  for device; do
    name=$(field "$device" 1)
    if [ "$writer" = on ] && [ "$hand_over" = none ]; then
      as_of_one_instant "$dir/expected/$name" "$dir/notes-$name" "$dir/silo/$name" ||
        wrong "$name at the original is of no one instant"
    fi
    [ "$writer" = off ] || replay "$dir/expected/$name" "$dir/notes-$name"
    if [ "$writer" = on ] && [ "$hand_over" != none ]; then
      grep -q 'the writer ends:.*ESHUTDOWN' "$dir/notes-$name.log" || wrong "the writer of $name was not told ESHUTDOWN"
    fi
    [ "$hand_over:$writer" = none:on ] || cmp "$dir/expected/$name" "$dir/silo/$name" || wrong "$name differs at the original"
    cmp "$dir/expected/$name" "$dir/ours/volumes/$name" || wrong "$name differs at our side"
  done
  verdict
}
# One client wrote, one write at a time: the copy has to be the content after some number of its writes.
as_of_one_instant() {  # BEFORE NOTES COPY
  python3 - "$@" <<'EOF'
import sys
content, copy = bytearray(open(sys.argv[1], "rb").read()), open(sys.argv[3], "rb").read()
notes = [tuple(map(int, line.split())) for line in open(sys.argv[2])]
record = lambda note: (note[2].to_bytes(8, "little") * 64)[: note[1]]
there = max((i for i, n in enumerate(notes) if copy[n[0] : n[0] + n[1]] == record(n)), default=-1)
for note in notes[: there + 1]:
    content[note[0] : note[0] + note[1]] = record(note)
sys.exit(content != copy)
EOF
}

one_multiple=(web:4194304:65536)
one_short=(web:4195305:65536)
# A short last block; a multiple; smaller than a block; many blocks; a single byte.
several=(odd:50001:8192 even:32768:4096 small:900:1048576 large:33554432:65536 byte:1:4096)
for writer in off on; do
  for concurrency in 1 100; do
    original_to_ours "a multiple of the block" completed $writer $concurrency "${one_multiple[@]}"
    original_to_ours "a short last block" completed $writer $concurrency "${one_short[@]}"
    original_to_ours "five devices" completed $writer $concurrency "${several[@]}"
  done
  original_to_ours "five devices" never $writer 100 "${several[@]}"
  original_to_ours "five devices" custom $writer 100 "${several[@]}"
  for hand_over in none completed custom; do
    ours_to_original "a multiple of the block" $hand_over $writer "" "${one_multiple[@]}"
    ours_to_original "a short last block" $hand_over $writer "" "${one_short[@]}"
    ours_to_original "five devices" $hand_over $writer "" "${several[@]}"
  done
  for form in rle gzip zeroes; do
    ours_to_original "five devices" completed $writer "--form $form" "${several[@]}"
  done
done
original_continuous never "${several[@]}"
original_dies
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
