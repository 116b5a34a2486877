#!/usr/bin/env bash
# A FAT file system under what others do on ext4: its attributes (hidden, system, archive, read-only) in archives, byte for byte casync's
# and back again; and blobs extracted where files without a name can not be had, also when the program is killed meanwhile. A kernel
# that has vfat comes in a virtual machine.
#
#   tests/interop/kernel_fat.sh BUILD/bin/godwit
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../lib.sh"
program=$(realpath "$1")

if [ "${2-}" != inside ]; then
  source "$here/../virtual_machine.sh"
  needs_vm
  needs casync openssl python3
  cd "$work"
  unset CASYNC_STORE
  export GODWIT_CACHE=$work/cache
  random_bytes 12000000 >blob
  "$program" image make blob.caibx blob --no-sync >/dev/null
  run_vm 540 vfat nls_cp437 nls_ascii loop -- /bin/bash "$here/kernel_fat.sh" "$program" inside "$work"
  exit
fi

from=$3
check_seconds=240
clean_up_more() { umount "$work"/{one,two,three} 2>/dev/null || true; }
cd "$work"
umask 022
export GODWIT_CACHE=$work/cache
godwit=$work/godwit
cp "$program" godwit
for name in one two three; do
  mkdir $name
  truncate -s 48M $name.img
  /run/busybox mkdosfs $name.img >/dev/null
  mount -o loop $name.img $name
done
[ "$(stat -f -c %T one)" = msdos ] || die "the file system is $(stat -f -c %T one)"

# fat get|set FILE [BITS]: read-only 1, hidden 2, system 4, archive 32.
cat >fat.py <<'PY'
import fcntl, os, struct, sys
descriptor = os.open(sys.argv[2], os.O_RDONLY)
if sys.argv[1] == "set":
    fcntl.ioctl(descriptor, 0x40047211, struct.pack("I", int(sys.argv[3])))
else:
    print(struct.unpack("I", fcntl.ioctl(descriptor, 0x80047210, bytes(4)))[0] & 0x27)
PY
fat() { python3 fat.py "$@"; }

mkdir -p one/t/folder/deep one/t/secret
head -c 100000 "$from/blob" >one/t/data
for name in plain hidden system archive all readonly folder/hidden "A long name with Blanks.txt"; do echo "$name" >"one/t/$name"; done
touch -d '2024-02-29 12:34:56 UTC' one/t/data one/t/folder/deep
fat set one/t/plain 0
fat set one/t/hidden 34
fat set one/t/folder/hidden 2
fat set one/t/system 4
fat set one/t/archive 32
fat set one/t/all 38
fat set one/t/secret 18
chmod a-w one/t/readonly
[ "$(fat get one/t/all)$(fat get one/t/plain)$(fat get one/t/secret)" = 3802 ] || die "no attributes can be set here"

for features in "" --with=fat --with=fat-attrs --with=best "--with=2sec-time --with=flag-hidden" "--with=read-only --with=flag-system" \
  "--with=unix --with=flag-archive" "--with=fat --without=flag-hidden"; do
  # shellcheck disable=SC2086  # words
  same_archive() { casync make $features theirs.catar one/t >/dev/null && "$godwit" image make ours.catar one/t $features >/dev/null && cmp ours.catar theirs.catar; }
  check "the same archive ${features:-by default}" same_archive
done
again() {  # FOLDER: archived once more it is the same
  casync make --with=fat again.catar "$1" >/dev/null
  cmp again.catar fat.catar
}
casync make --with=fat fat.catar one/t >/dev/null
check "we extract casync's" "$godwit" image extract fat.catar two/ours --with=fat
check "  and it is the same again" again two/ours
check "  hidden, system, archive" [ "$(fat get two/ours/all)" = 38 ]
check "  and nothing" [ "$(fat get two/ours/plain)" = 0 ]
check "  of a folder as well" [ "$(fat get two/ours/secret)" = 2 ]
check "  read-only" [ $(($(fat get two/ours/readonly) & 1)) = 1 ]
"$godwit" image make ours.catar one/t --with=fat >/dev/null
check "casync extracts ours" casync extract --with=fat ours.catar two/theirs
# It leaves files writable there, so not all is the same again.
check "  with the same attributes" [ "$(for name in plain hidden system archive all secret; do fat get two/theirs/$name; done | tr '\n' ' ')" = "0 34 4 32 38 2 " ]

# Blobs: a name that begins with a dot until they are whole.
check "a blob" "$godwit" image extract "$from/blob.caibx" three/blob
check "  has its bytes" cmp three/blob "$from/blob"
check "  and nothing lies beside it" [ "$(ls -A three)" = blob ]
echo "what was there" >three/old
for name in new old; do
  "$godwit" image extract "$from/blob.caibx" "three/$name" 2>killed.err &
  pid=$!
  until [ "$(find three -name '.*' -size +0 | wc -l)" -gt 0 ] || ! kill -0 $pid 2>/dev/null; do sleep 0.02; done
  kill -KILL $pid 2>/dev/null || true
  ! wait $pid 2>/dev/null || failed "it was too fast to be killed"
  if [ $name = new ]; then check "killed, there is no half of it" [ ! -e three/new ]; else check "killed, what was there is" grep -qx "what was there" three/old; fi
  check "  once more" "$godwit" image extract "$from/blob.caibx" "three/$name"
  check "  it has its bytes" cmp "three/$name" "$from/blob"
  rm -f three/.[!.]* "three/$name"
done
verdict
