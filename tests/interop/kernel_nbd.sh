#!/usr/bin/env bash
# A blob as a block device by the kernel's NBD client, `image attach` and casync's `mkdev`: the same bytes, partitions and a file system
# in one, what is refused and in which words, and every way to an end. A kernel with that client comes in a virtual machine.
#
#   tests/interop/kernel_nbd.sh BUILD/bin/godwit
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
program=$(realpath "$1")

# --- Here: what there is to attach, and the machine ---

if [ "${2-}" != inside ]; then
  source "$here/../virtual_machine.sh"
  needs_vm
  needs openssl mkfs.ext4 python3 nbd-client setpriv blockdev
  cd "$work"
  unset CASYNC_STORE
  export GODWIT_CACHE=$work/cache
  # A disk with one partition behind 64 sectors, an ext4; and an end that is no sector's.
  mkdir tree
  random_bytes 3000000 >tree/file
  seq 20000 >tree/lines
  truncate -s 8M partition
  mkfs.ext4 -q -d tree partition
  python3 - <<'PY'
import struct
size = 8 << 20
with open("disk", "wb") as disk:
    entry = struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), 64, size // 512)
    disk.write(bytes(446) + entry + bytes(48) + b"\x55\xaa" + bytes(63 * 512) + open("partition", "rb").read() + b"the end" * 100)
PY
  "$program" image make disk.caibx disk --no-sync >/dev/null
  : >empty
  "$program" image make empty.caibx empty --no-sync >/dev/null
  run_vm 540 ext4 -- /bin/bash "$here/kernel_nbd.sh" "$program" inside "$work"
  exit
fi

# --- There ---

from=$3
check_seconds=240
cd "$work"
export GODWIT_CACHE=$work/cache
mkdir link
cp "$program" godwit
ln -s "$work/godwit" link/casync
cp -r "$from"/{disk.caibx,empty.caibx,default.castr,empty} .
disk=$from/disk
bytes=$(stat -c %s "$disk")
sectors=$(((bytes + 511) / 512))
node=/dev/nbd0

# attach NAME COMMAND…: in the background, until the device can be read.
attach() {
  local name=$1
  shift
  "$@" >"$name.out" 2>"$name.err" &
  pids+=($!)
  pid=$!
  for _ in $(seq 2000); do
    grep -q '^Attached: ' "$name.out" && return
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  echo "not attached: $*"
  cat "$name.out" "$name.err"
  return 1
}
# ended CODE [SIGNAL]: the process $pid, by itself or by the signal; nobody uses the device any more.
ended() {
  local code=0
  [ -z "${2-}" ] || kill "-$2" "$pid"
  for _ in $(seq 1000); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  ! kill -0 "$pid" 2>/dev/null || { echo "it does not end"; return 1; }
  wait "$pid" 2>/dev/null || code=$?
  [ "$code" -eq "$1" ] || { echo "it ends with $code"; return 1; }
  for _ in $(seq 400); do
    [ -e /sys/block/nbd0/pid ] || return 0
    sleep 0.05
  done
  echo "the device is still in use"
  return 1
}
# The same of a process beside which others use the device, or another one.
ended_beside() {
  kill "-$1" "$pid"
  wait "$pid"
}
same_bytes() { cmp -n "$bytes" "$1" "$disk" && cmp <(tail -c $((sectors * 512 - bytes)) "$1") <(head -c $((sectors * 512 - bytes)) /dev/zero); }
same_files() {
  mkdir -p mnt
  mount -o ro "$1" mnt
  diff -r --exclude=lost+found mnt "$from/tree"
  umount mnt
}

fails_with "without the module" "modprobe nbd" ./godwit image attach disk.caibx
/run/busybox insmod /run/modules/drivers/block/nbd.ko nbds_max=2
chmod 711 . ..
chmod -R go+rX disk.caibx default.castr godwit
fails_with "without root's rights" "only root may do that" setpriv --reuid 65534 --clear-groups ./godwit image attach disk.caibx

check "the first that is free" attach first ./godwit image attach disk.caibx
check "  is told" grep -qx "Attached: $node" first.out
check "  is used by the process" [ -d "/proc/$pid/task/$(cat /sys/block/nbd0/pid)" ]
check "  has the size in whole sectors" [ "$(cat /sys/block/nbd0/size)" = "$sectors" ]
check "  of 512 bytes" [ "$(blockdev --getss $node)" = 512 ]
check "  can only be read" [ "$(blockdev --getro $node)" = 1 ]
check "  whoever writes is told" bash -c '! dd if=/dev/zero of='$node' bs=512 count=1 conv=notrunc oflag=direct 2>/dev/null'
check "  has the bytes" same_bytes $node
check "  has the partition" same_files ${node}p1
first=$pid
check "under casync's name, a file, and the next" attach second link/casync mkdev "$disk"
check "  is told as casync does" grep -qx "Attached: /dev/nbd1" second.out
check "  has the bytes" same_bytes /dev/nbd1
fails_with "one in use" "nbd0: it is in use, by process $(cat /sys/block/nbd0/pid)" ./godwit image attach disk.caibx $node
fails_with "under casync's name as well" "in use" link/casync mkdev disk.caibx $node
fails_with "all in use" "are in use, 2 of them" ./godwit image attach disk.caibx
fails_with "a partition" "it is nbd0p1" ./godwit image attach disk.caibx ${node}p1
fails_with "what is no block device" "no block device" ./godwit image attach disk.caibx /dev/null
fails_with "what is not there" "No such file" ./godwit image attach disk.caibx /dev/nbd7
check "an end by TERM, of that one" ended_beside TERM
pid=$first
check "an end by HUP" ended 0 HUP
check "  nobody complained" [ ! -s first.err ]
fails_with "a device of no bytes" "it is empty" ./godwit image attach empty.caibx

# There is no udev here: somebody makes the link that it would make.
(until [ -e /run/casync/nbd0 ]; do sleep 0.05; done; ln -s nbd0 /dev/a-name) &
check "one with a name" attach called link/casync mkdev disk.caibx /dev/a-name
check "  is told by it" grep -qx "Attached: /dev/a-name" called.out
check "  udev is told it by us" [ "$(link/casync udev /dev/nbd0)" = CASYNC_NAME=a-name ]
if command -v casync >/dev/null; then
  check "  and by casync" [ "$(casync udev /dev/nbd0)" = CASYNC_NAME=a-name ]
else echo "SKIPPED: casync's own word for it, it is not installed"; fi
check "  of others there is nothing to tell" [ -z "$(link/casync udev /dev/nbd1)" ]
rm /dev/a-name
check "  and its end" ended 0 TERM
check "  takes the name away" [ ! -e /run/casync ]

check "a certain one" attach named ./godwit image attach disk.caibx $node
check "  disconnected by somebody else" nbd-client -d $node
check "  is an end in order" ended 0
check "again at that one" attach named ./godwit image attach disk.caibx $node
exec 7<$node
check "an end by INT while somebody has it open" ended_beside INT
fails_with "  who gets an error" "Input/output error" cat <&7
exec 7<&-
check "again" attach killed link/casync mkdev disk.caibx
check "  at the first" grep -qx "Attached: $node" killed.out
check "killed" ended 137 KILL
check "again after that" attach hurt ./godwit image attach disk.caibx $node --cache 1

# A chunk in the middle of what holds the file: those that need it get errors, and its name is told.
offset=3000000
id=$(python3 - $offset <<'PY'
import struct, sys
index = open("disk.caibx", "rb").read()
entries = [(struct.unpack_from("<Q", index, i)[0], index[i + 8:i + 40].hex()) for i in range(64, len(index) - 40, 40)]
print(next(name for end, name in entries if end > int(sys.argv[1])))
PY
)
chunk=default.castr/${id:0:4}/$id.cacnk
cp "$chunk" saved
rm -f "$chunk"
echo damage >"$chunk"
one_sector() { dd if=$node bs=512 skip=$((offset / 512)) count=1 iflag=direct status=none | cmp - <(tail -c +$((offset / 512 * 512 + 1)) "$disk" | head -c 512); }
fails_with "a damaged chunk" "Input/output error" one_sector
check "  is named" grep -q "$id.*damaged" hurt.err
check "  and the others are read" cmp -n 65536 $node "$disk"
rm -f "$chunk"
cp saved "$chunk"
check "  and so is this one when it is whole again" one_sector
check "an end after that" ended 0 TERM

# A store that does not answer any more holds nobody up for long.
/run/busybox ifconfig lo up
./godwit image serve . --listen 127.0.0.1:8080 >serve.out 2>&1 &
pids+=($!)
server=$!
wait_for serve.out http:
check "over HTTP" attach remote ./godwit image attach http://127.0.0.1:8080/disk.caibx --cache 1
check "  it has the partition" same_files ${node}p1
kill -STOP $server
dd if=$node of=/dev/null bs=512 skip=$((offset / 512)) count=1 iflag=direct 2>stuck.err &
reader=$!
sleep 1
check "an end while a store does not answer" ended 0 TERM
! wait $reader || failed "  it was read all the same"
check "  is an error for who reads" grep -q "Input/output error" stuck.err
kill -CONT $server
verdict
