#!/usr/bin/env bash
# Other programs' NBD clients against ours: nbdinfo, nbdcopy, libnbd's shell, qemu-img, qemu-io and fio, each on memory, on memory
# read through the pool, and on a file. A missing program is skipped aloud.
#
#   tests/interop/nbd_clients.sh BUILD/bin/nbd_test_server
set -euo pipefail

server=$1
size=$((64 * 1024 * 1024))
work=$(mktemp -d)
server_pid=
cleanup() {
  if [[ -n $server_pid ]]; then kill "$server_pid" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

failures=0
check() {  # NAME COMMAND…
  local name=$1
  shift
  if "$@" >"$work/out" 2>&1; then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    sed 's/^/        /' "$work/out"
    failures=$((failures + 1))
  fi
}
have() {
  command -v "$1" >/dev/null && return 0
  echo "skipped: $1 is not installed"
  return 1
}

start() {  # ARGUMENTS… of the server behind its address and size
  "$server" "unix:$work/socket" "$size" "$@" >"$work/server" 2>&1 &
  server_pid=$!
  for _ in $(seq 100); do
    grep -q listening "$work/server" && return
    sleep 0.05
  done
  echo "the server does not start:"
  cat "$work/server"
  exit 1
}
stop() {
  kill "$server_pid"
  local code=0
  wait "$server_pid" || code=$?
  server_pid=
  check "the server ended in order" test "$code" -eq 0
}

uri="nbd+unix:///disk?socket=$work/socket"
# 8 MiB of noise, a hole, 8 MiB of noise, a hole to the end.
head -c $((8 << 20)) /dev/urandom >"$work/noise"
truncate -s "$size" "$work/image"
dd if="$work/noise" of="$work/image" bs=1M conv=notrunc status=none
dd if="$work/noise" of="$work/image" bs=1M seek=32 conv=notrunc status=none

nbdinfo_tests() {
  have nbdinfo || return 0
  check "$1: nbdinfo --json" bash -c "nbdinfo --json '$uri' | python3 -c '
import json, sys
e = json.load(sys.stdin)[\"exports\"][0]
assert e[\"export-size\"] == $size and e[\"export-name\"] == \"disk\" and e[\"description\"] == \"a test device\", e
assert e[\"can_fua\"] and e[\"can_flush\"] and e[\"can_trim\"] and e[\"can_zero\"] and e[\"can_df\"] and e[\"can_multi_conn\"] and e[\"can_cache\"], e
assert e[\"contexts\"] == [\"base:allocation\"] and e[\"block_size_maximum\"] == 32 << 20, e'"
  check "$1: nbdinfo --list" bash -c "nbdinfo --list --json 'nbd+unix:///?socket=$work/socket' | grep -q '\"export-name\": \"disk\"'"
  check "$1: nbdinfo of an unknown export fails" bash -c "! nbdinfo 'nbd+unix:///nothing?socket=$work/socket'"
}

nbdcopy_tests() {
  have nbdcopy || return 0
  check "$1: nbdcopy to the server" nbdcopy --destination-is-zero "$work/image" "$uri"
  check "$1: nbdcopy from the server" nbdcopy "$uri" "$work/back"
  check "$1: the copy is the image" cmp "$work/image" "$work/back"
  check "$1: nbdcopy without extents, one request at a time" nbdcopy --no-extents --requests=1 "$uri" "$work/back"
  check "$1: that copy is the image" cmp "$work/image" "$work/back"
  check "$1: holes are told" bash -c "nbdinfo --map --json '$uri' | python3 -c '
import json, sys
rows = json.load(sys.stdin)
assert sum(r[\"length\"] for r in rows) == $size, rows
data = [(r[\"offset\"], r[\"length\"]) for r in rows if r[\"type\"] == 0]
assert data == [(0, 8 << 20), (32 << 20, 8 << 20)], rows'"
}

libnbd_tests() {
  /usr/bin/python3 -c 'import nbd' 2>/dev/null || { echo "skipped: python3-libnbd is not installed"; return 0; }
  for structured in True False; do
    check "$1: libnbd, structured replies: $structured" timeout 60 /usr/bin/python3 - "$uri" "$structured" <<'PY'
import errno, os, random, sys
import nbd

uri, structured = sys.argv[1], sys.argv[2] == "True"
h = nbd.NBD()
h.set_strict_mode(0)  # we want the server's word, not the library's
h.set_request_structured_replies(structured)
if structured:
    h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
h.connect_uri(uri)
assert h.get_structured_replies_negotiated() == structured
size = h.get_size()

def refused(call, number):
    try:
        call()
    except nbd.Error as e:
        assert e.errno == errno.errorcode[number], (e, number)
        return
    raise AssertionError("was not refused")

noise = os.urandom(1 << 20)
h.pwrite(noise, 12345, nbd.CMD_FLAG_FUA)
assert h.pread(len(noise), 12345) == noise
if structured:
    assert h.pread(len(noise), 12345, nbd.CMD_FLAG_DF) == noise
    pieces = []
    h.pread_structured(65536, 12345, lambda b, o, s, e: pieces.append((bytes(b), o, s)) and 0)
    assert b"".join(p[0] for p in pieces) == noise[:65536]
h.flush()
h.zero(65536, 20000)
assert h.pread(65536, 20000) == bytes(65536)
h.zero(65536, 200000, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
assert h.pread(65536, 200000) == bytes(65536)
h.trim(1 << 20, 0, nbd.CMD_FLAG_FUA)
h.cache(1 << 20, 0)
assert h.pread(0, 0) == b""

refused(lambda: h.pread(2, size - 1), errno.EINVAL)
refused(lambda: h.pwrite(b"xx", size - 1), errno.ENOSPC)
refused(lambda: h.zero(2, size - 1), errno.ENOSPC)
refused(lambda: h.trim(2, size - 1), errno.EINVAL)
refused(lambda: h.pwrite(b"xx", 0, nbd.CMD_FLAG_NO_HOLE), errno.EINVAL)
refused(lambda: h.pread(2, 0, 1 << 7), errno.EINVAL)
assert h.pread(1, 0) is not None  # and the connection goes on

if structured:
    h.zero(16 << 20, 16 << 20)
    h.trim(16 << 20, 16 << 20)
    h.pwrite(noise, 24 << 20)
    rows = []
    at = 16 << 20
    while at < 32 << 20:
        got = []
        h.block_status((32 << 20) - at, at, lambda c, o, e, err: got.extend(e) and 0)
        for length, state in zip(got[::2], got[1::2]):
            rows.append((at, length, state))
            at += length
    data = [(a, n) for a, n, s in rows if s == 0]
    assert sum(n for _, n in data) >= 1 << 20, rows
    assert any(a <= 24 << 20 < a + n for a, n in data), rows
    one = []
    h.block_status(16 << 20, 16 << 20, lambda c, o, e, err: one.extend(e) and 0, nbd.CMD_FLAG_REQ_ONE)
    assert len(one) == 2, one

# Many requests under way, in random places, some overlapping in time.
rng = random.Random(1)
blocks = list(range(200))
rng.shuffle(blocks)
base = 40 << 20
content = {b: os.urandom(4096) for b in blocks}
cookies = [h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(content[b])), base + b * 4096) for b in blocks]
def wait(cookies):
    waiting = set(cookies)
    while waiting:
        h.poll(-1)
        waiting = {c for c in waiting if not h.aio_command_completed(c)}
wait(cookies)
buffers = {b: nbd.Buffer(4096) for b in blocks}
wait([h.aio_pread(buffers[b], base + b * 4096) for b in blocks])
assert all(bytes(buffers[b].to_bytearray()) == content[b] for b in blocks)
h.shutdown()
PY
  done
}

qemu_tests() {
  have qemu-img || return 0
  check "$1: qemu-img info" bash -c "qemu-img info --output=json '$uri' | grep -q '\"virtual-size\": $size'"
  check "$1: qemu-img convert to the server" qemu-img convert -n -f raw -O raw "$work/image" "$uri"
  check "$1: qemu-img compare" qemu-img compare -f raw -F raw "$work/image" "$uri"
  check "$1: qemu-img convert from the server" qemu-img convert -f raw -O raw "$uri" "$work/back2"
  check "$1: that conversion is the image" cmp "$work/image" "$work/back2"
  check "$1: qemu-img map" bash -c "qemu-img map --output=json '$uri' | python3 -c '
import json, sys
rows = json.load(sys.stdin)
assert sum(r[\"length\"] for r in rows) == $size, rows
data = sum(r[\"length\"] for r in rows if r[\"data\"])
assert data >= 16 << 20, rows'"
  have qemu-io || return 0
  check "$1: qemu-io writes, zeroes, discards and reads" qemu-io -f raw "$uri" \
    -c "write -P 0xab 1M 2M" -c "flush" -c "read -P 0xab 1M 2M" -c "write -z 2M 64k" -c "read -P 0 2M 64k" \
    -c "write -z -u 3M 64k" -c "read -P 0 3M 64k" -c "discard 1M 64k" -c "write -f -P 0xcd 511 4099" -c "read -P 0xcd 511 4099" \
    -c "aio_write -P 1 8M 1M" -c "aio_write -P 2 9M 1M" -c "aio_flush" -c "read -P 1 8M 1M" -c "read -P 2 9M 1M"
}

fio_tests() {
  have fio || return 0
  fio --enghelp 2>/dev/null | grep -qw nbd || { echo "skipped: fio has no nbd engine"; return 0; }
  check "$1: fio, random blocks verified" fio --name=verify --ioengine=nbd --uri="$uri" --rw=randrw --bsrange=512-256k --size=32m \
    --iodepth=32 --verify_state_save=0 --verify=crc32c --verify_fatal=1 --do_verify=1 --fsync=100 --trim_percentage=0 --randseed=7
  check "$1: fio, two connections" fio --ioengine=nbd --uri="$uri" --rw=randwrite --bs=4k --size=8m --iodepth=64 --verify_state_save=0 --verify=crc32c \
    --verify_fatal=1 --name=a --offset=0 --name=b --offset=16m
}

for kind in memory pooled file; do
  case $kind in
    memory) start ;;
    pooled) start --pooled ;;
    file)
      rm -f "$work/disk"
      truncate -s "$size" "$work/disk"
      start --file "$work/disk"
      ;;
  esac
  nbdinfo_tests "$kind"
  nbdcopy_tests "$kind"
  libnbd_tests "$kind"
  qemu_tests "$kind"
  fio_tests "$kind"
  stop
done

start --read-only
check "read-only: nbdinfo" bash -c "nbdinfo --json '$uri' | grep -q '\"is_read_only\": true'"
check "read-only: a write is refused" bash -c "! qemu-io -f raw '$uri' -c 'write 0 4096'"
stop

start --block-size-min 512
if have nbdinfo; then
  check "sectors: nbdinfo" bash -c "nbdinfo --json '$uri' | grep -q '\"block_size_minimum\": 512'"
  check "sectors: qemu-io keeps to them" qemu-io -f raw "$uri" -c "write -P 7 100 1000" -c "read -P 7 100 1000"
fi
stop

if [[ $failures -gt 0 ]]; then
  echo "$failures failed"
  exit 1
fi
echo "all passed"
