#!/usr/bin/env bash
# Images as this machine mounts them: a tree with every sort of node and attribute, from an archive, from its index and over HTTP,
# beside the original by diff, mtree and the digest of all it has; a blob as one file; chunks that are damaged; and every way
# to an end. Needs root and /dev/fuse.
#
#   tests/end_to_end/image_mount_test.sh BUILD/bin/godwit
set -euo pipefail

godwit=$1
source "$(dirname "$0")/../lib.sh"
umask 022  # modes are part of what is compared
[ "$(id -u)" -eq 0 ] && [ -e /dev/fuse ] || skip "only root can mount here, and only where there is /dev/fuse"
clean_up_more() {
  ! mountpoint -q "$work/mnt" || umount -l "$work/mnt"
  [ ! -e "$work/tree/flags" ] || chattr -i -a "$work/tree/flags"/* 2>/dev/null || true
}
cd "$work"
unset CASYNC_STORE GODWIT_LOG

# mounted IMAGE OPTIONS…: at mnt, in the background, until it says so.
mounted() {
  : >mount.out
  "$godwit" image mount "$1" mnt "${@:2}" >mount.out 2>mount.err &
  pids+=($!)
  for _ in $(seq 200); do
    grep -qx 'Mounted: mnt' mount.out && return
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  die "$1 is not mounted"
}
# ended SIGNAL: of the last one; by itself without one.
ended() {
  local code=0
  [ -z "${1-}" ] || kill "-$1" "${pids[-1]}"
  wait "${pids[-1]}" || code=$?
  unset 'pids[-1]'
  [ "$code" -eq 0 ] || die "it ends with $code"
  ! mountpoint -q mnt || die "it is still mounted"
}

# A little of everything.
mkdir -p tree/sub/deep tree/empty tree/flags tree/many
head -c 3000000 /dev/urandom >tree/data
head -c 700000 /dev/urandom >tree/sub/more
truncate -s 5000000 tree/zeros
: >tree/nothing
for i in $(seq 300); do echo "file $i" >"tree/many/f$i"; done
printf 'x' >"tree/sub/deep/ü n"
printf 'y' >"tree/$(printf '%0250d' 1)"
ln -s ../data tree/sub/link
ln -s "$(printf 'long/%.0s' $(seq 300))" tree/long-link
ln tree/data tree/twin
mkfifo -m 640 tree/fifo
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("tree/socket")'
mknod tree/null c 1 3
mknod tree/disk b 8 17
cp /bin/true tree/suid
chmod 4755 tree/suid
chmod 1777 tree/empty
chmod 000 tree/nothing
chown 1234:3000000000 tree/sub/more
chown -h 99:100 tree/sub/link
touch -d '1955-11-05 06:15:00.123456789' tree/sub/deep
touch -h -d '2038-01-19 03:14:08.000000001' tree/long-link
attributes=
if command -v setfattr >/dev/null && setfattr -n user.one -v 1 tree/data 2>/dev/null; then
  setfattr -n user.empty tree/data
  setfattr -n trusted.two -v "$(head -c 3000 /dev/zero | tr '\0' t)" tree/sub
  attributes="xattrs"
fi
if command -v setfacl >/dev/null && setfacl -m u:1:rw,g:2:r,m:rwx tree/sub/more 2>/dev/null; then
  setfacl -d -m u:1:rwx tree/sub
  attributes="$attributes ACLs"
fi
if command -v setcap >/dev/null && cp /bin/true tree/capable && setcap cap_net_raw+ep tree/capable 2>/dev/null; then
  attributes="$attributes capabilities"
fi
for letter in i a A S; do : >"tree/flags/$letter" && chattr "+$letter" "tree/flags/$letter" 2>/dev/null || true; done
echo "the original has: ${attributes:-no attributes that this file system could keep}"

"$godwit" image make tree.catar tree >/dev/null
"$godwit" image make tree.caidx tree --no-sync >/dev/null
digest=$("$godwit" image digest tree)

same_tree() {  # WHAT
  diff -r --no-dereference --exclude=fifo --exclude=socket --exclude=null --exclude=disk tree mnt >out 2>&1 || die "$1: $(head -n 5 out)"
  diff <("$godwit" image mtree tree) <("$godwit" image mtree mnt) >out || die "$1, mtree: $(head -n 5 out)"
  # Everything that an archive keeps, attributes too.
  [ "$("$godwit" image digest mnt)" = "$digest" ] || die "$1 has another digest"
  [ "$(find mnt | wc -l)" -eq "$(find tree | wc -l)" ] || die "$1 has other files"
  [ "$(stat -c '%F %a %t:%T' mnt/disk)" = "$(stat -c '%F %a %t:%T' tree/disk)" ] || die "$1: another device"
}
for image in tree.catar tree.caidx; do
  mounted "$image"
  same_tree "$image"
  if [[ $attributes == *xattrs* ]]; then
    [ "$(getfattr -d -m - mnt/data 2>/dev/null | tail -n +2)" = "$(getfattr -d -m - tree/data 2>/dev/null | tail -n +2)" ] || die "$image: other attributes"
  fi
  ! touch mnt/new 2>/dev/null || die "$image: something could be written"
  [ "$(stat -f -c %l mnt)" -eq 255 ] && df mnt >/dev/null || die "$image: no statfs"
  ended TERM
done
echo "trees: ok"

# Many readers at once, with a cache that holds next to nothing.
mounted tree.caidx --cache 256KiB
for i in 1 2 3 4; do (cmp mnt/data tree/data && cmp mnt/sub/more tree/sub/more && diff -r mnt/many tree/many) & readers[i]=$!; done
for i in 1 2 3 4; do wait "${readers[i]}" || die "one of many readers sees other bytes"; done
umount mnt
ended
echo "many readers, unmounted by somebody else: ok"

: >web.out
"$godwit" image serve "$work" --listen 127.0.0.1:0 >web.out 2>&1 &
web=$!
pids+=("$web")
for _ in $(seq 100); do grep -q http: web.out && break; sleep 0.05; done
url=$(sed -n 's/.* at \(http[^ ]*\)/\1/p' web.out)
mounted "${url}tree.caidx"
same_tree "over HTTP"
ended INT
kill "$web" && wait "$web" || die "the server's end"
pids=()
echo "HTTP: ok"

# A blob as one file.
truncate -s 9000001 blob
dd if=tree/data of=blob bs=1000000 seek=2 conv=notrunc status=none
"$godwit" image make blob.caibx blob --no-sync >/dev/null
mounted blob.caibx
[ "$(ls mnt)" = blob ] || die "the file is called $(ls mnt)"
cmp mnt/blob blob || die "the file has other bytes"
[ "$(stat -c '%s %a' mnt/blob)" = "9000001 444" ] || die "the file is $(stat -c '%s %a' mnt/blob)"
python3 - <<'PY' || die "random reads"
import os, random
random.seed(5)
a, b = os.open("blob", os.O_RDONLY), os.open("mnt/blob", os.O_RDONLY)
for _ in range(300):
    offset, length = random.randrange(9000100), random.randrange(1, 300000)
    assert os.pread(a, length, offset) == os.pread(b, length, offset), (offset, length)
PY
ended TERM
echo "a blob: ok"

# A damaged chunk is an I/O error of the file that needs it, with its id in the log; the rest is read.
id=$(python3 - <<'PY'
import struct
data = open("tree.caidx", "rb").read()
entries = [(struct.unpack_from("<Q", data, i)[0], data[i + 8:i + 40].hex()) for i in range(64, len(data) - 40, 40)]
# The one that holds the middle of tree/data, which comes early in the archive.
print(next(name for end, name in entries if end > 1500000))
PY
)
victim="default.castr/${id:0:4}/$id.cacnk"
cp "$victim" saved
rm -f "$victim" && printf 'damage' >"$victim"
sync && echo 3 >/proc/sys/vm/drop_caches 2>/dev/null || true
mounted tree.caidx
! cat mnt/data >/dev/null 2>err || die "a damaged chunk is read"
grep -q 'Input/output error' err || die "a damaged chunk gives: $(cat err)"
grep -q "$id" mount.err && grep -q 'file=data' mount.err && grep -q damaged mount.err || die "the log does not name the chunk"
cmp mnt/sub/more tree/sub/more || die "another file is gone with it"
rm -f "$victim" && cp saved "$victim"
cmp mnt/data tree/data || die "what was damaged is not read again when it is whole"
# An end while a file is open: its reader gets an error, the mount goes.
exec 7<mnt/zeros
ended TERM
! cat <&7 >/dev/null 2>&1 || die "a file is read after the end"
exec 7<&-
echo "damage: ok"

# What cannot be mounted says so, and leaves nothing.
refused() {  # CODE TEXT -- COMMAND…
  local code=$1 text=$2 status=0
  shift 3
  timeout 20 "$@" >out 2>err || status=$?
  [ "$status" -eq "$code" ] && grep -qF -- "$text" err || die "$* ended with $status and says: $(cat err)"
  ! mountpoint -q mnt || die "$* has mounted something"
}
refused 1 "no folder" -- "$godwit" image mount tree.catar blob
refused 1 "No such file" -- "$godwit" image mount tree.catar not/there
refused 1 "No such file" -- "$godwit" image mount tree.catar new --mkdir no
: >no.catar
refused 1 "the archive ends here" -- "$godwit" image mount no.catar new
[ ! -e new ] || die "a folder stays behind"
head -c -100 tree.catar >cut.catar
refused 1 "cut.catar: archive, offset" -- "$godwit" image mount cut.catar mnt
refused 1 "no index" -- "$godwit" image mount blob mnt
refused 2 "is a folder" -- "$godwit" image mount tree mnt
refused 1 "No such file" -- "$godwit" image mount tree.caidx mnt --store nowhere
first=$(python3 -c 'print(open("tree.caidx", "rb").read()[72:104].hex())')
mv "default.castr/${first:0:4}/$first.cacnk" saved
refused 1 "$first" -- "$godwit" image mount tree.caidx mnt
echo "errors: ok"
