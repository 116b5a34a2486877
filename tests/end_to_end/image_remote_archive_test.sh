#!/usr/bin/env bash
# Archives that lie elsewhere, behind a web server with ranges, behind one without, and at a host that ssh reaches (a command on this
# machine): extracted, listed and mounted, whole and in part, and how much of them travels for it. Mounts need root and /dev/fuse.
#
#   tests/end_to_end/image_remote_archive_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_remote_archive_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
clean_up_more() { ! mountpoint -q "$work/mnt" || umount -l "$work/mnt"; }
needs openssl python3 mountpoint
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache TMPDIR=$work/tmp
umask 022
cd "$work"
make_ssh
ln -s "$godwit" casync
export CASYNC_SSH_PATH=$work/ssh CASYNC_REMOTE_PATH=$work/casync

mkdir -p tmp www tree/large tree/sub/deep
for number in 1 2 3 4; do
  openssl enc -aes-128-ctr -K "0$number" -iv 0 -in /dev/zero 2>/dev/null | head -c 6000000 >"tree/large/$number" || true
done
echo hello >tree/sub/deep/file
ln -s deep/file tree/sub/link
"$godwit" image make www/t.catar tree --without privileged >digest
"$godwit" image make www/t.caidx tree --without privileged --no-sync --no-digest >/dev/null

"$godwit" image serve www --listen 127.0.0.1:0 >serve.log 2>&1 &
pids+=($!)
wait_for serve.log 'serving'
with_ranges=$(sed -n 's/.* at \(http[^ ]*\)/\1/p' serve.log)
port=$(free_port)
(cd www && exec python3 -m http.server "$port" --bind 127.0.0.1) >python.log 2>&1 &
pids+=($!)
without_ranges="http://127.0.0.1:$port/"
wait_until "python's server" curl -sf "${without_ranges}t.caidx" -o got
ssh="h:$work/www/"

# fetched LEAST MOST: by the events
fetched() {
  local bytes
  bytes=$(sed -n 's/.*"event":"read","bytes_fetched":\([0-9]*\).*/\1/p' events)
  [ -n "$bytes" ] && [ "$bytes" -ge "$1" ] && [ "$bytes" -le "$2" ] || die "fetched ${bytes:-nothing}, not $1 to $2: $(cat events)"
}
same_digest() { [ "$("$godwit" image digest "$1")" = "$(cat digest)" ]; }
same_list() { diff <("$godwit" image mtree www/t.catar "${@:2}") <("$godwit" image mtree "$1" "${@:2}"); }
size=$(stat -c %s www/t.catar)
for place in "$with_ranges" "$without_ranges" "$ssh"; do
  echo "- $place"
  rm -rf out
  "$godwit" --json image extract "${place}t.catar" out --without privileged >events
  diff -r tree out || die "another tree"
  fetched "$size" "$size"
  [ "$place" = "$with_ranges" ] || grep -q "\"event\":\"fetched\",\"from\":.*\"bytes\":$size" events || die "what was fetched is not told: $(cat events)"
  check "its digest" same_digest "${place}t.catar"
  check "its list" same_list "${place}t.catar"
  check "the list of a part" same_list "${place}t.catar" sub
  rm -rf out
  "$godwit" --json image extract "${place}t.catar" out sub --without privileged >events
  diff -r tree/sub out/sub || die "another part"
  [ "$place" = "$with_ranges" ] && fetched 1 1000000 || fetched "$size" "$size"
  fails_with "a part that it has not" "the archive has no 'sub/none'" "$godwit" image extract "${place}t.catar" out sub/none
  fails_with "one that is not there" "none.catar" "$godwit" image extract "${place}none.catar" new
  [ -z "$(ls -A tmp)" ] || die "left over: $(ls -A tmp)"
done
echo "- a part of an index's tree"
for place in "$with_ranges" "$ssh" www/; do
  rm -rf out
  "$godwit" --json image extract "${place}t.caidx" out sub --without privileged >events
  diff -r tree/sub out/sub || die "another part"
  fetched 1 2000000
done

if [ "$(id -u)" -ne 0 ] || [ ! -e /dev/fuse ]; then
  echo "not shown: mounts, which take root and /dev/fuse"
  verdict
  exit
fi
mkdir mnt
mounted() {  # IMAGE [SUBPATH]
  : >mount.log
  "$godwit" image mount "$1" mnt ${2:+"$2"} --cache 4MiB >mount.log 2>&1 &
  pids+=($!)
  wait_for mount.log '^Mounted: mnt'
}
ended() {
  local code=0
  kill "${pids[-1]}"
  wait "${pids[-1]}" || code=$?
  unset 'pids[-1]'
  [ "$code" -eq 0 ] && ! mountpoint -q mnt || die "a mount ends with $code: $(cat mount.log)"
}
for place in "$with_ranges" "$without_ranges" "$ssh"; do
  mounted "${place}t.catar"
  check "mounted: $place" diff -r tree mnt
  ended
  mounted "${place}t.catar" sub
  check "a part of it" diff -r tree/sub mnt
  ended
done
for image in "${with_ranges}t.caidx" www/t.caidx www/t.catar; do
  mounted "$image" sub/deep
  check "a part of $image" diff -r tree/sub/deep mnt
  ended
done
fails_with "a file is no folder" "'sub/deep/file' is no folder" "$godwit" image mount www/t.catar mnt sub/deep/file
fails_with "nothing of that name" "the archive has no 'sub/none'" "$godwit" image mount "${with_ranges}t.catar" mnt sub/none
echo "- no room for what comes as a stream"
mkdir small
if mount -t tmpfs -o size=8m none small; then
  TMPDIR=$work/small fails_with "it says so, and what to do" "TMPDIR" "$godwit" image extract "${ssh}t.catar" new
  TMPDIR=$work/small fails_with "over HTTP too" "TMPDIR" "$godwit" image extract "${without_ranges}t.catar" new
  [ ! -e new ] && [ -z "$(ls -A small)" ] || die "something stays behind"
  umount small
else echo "not shown: no file system can be mounted here, so none is small"; fi
verdict
