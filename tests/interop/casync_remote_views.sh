#!/usr/bin/env bash
# Images that lie at the other end of an ssh, mounted and exported: every operation of the remote protocol with a mount of the tree
# and an NBD export of the blob on top, the far end being our program and the original casync; through a stand-in for ssh, and
# through a real ssh and sshd on loopback where there is one. A far end that dies is started again.
#
#   tests/interop/casync_remote_views.sh BUILD/bin/godwit
set -euo pipefail
program=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs casync openssl nbdcopy
[ "$(id -u)" -eq 0 ] && [ -e /dev/fuse ] || skip "only root can mount here, and only where there is /dev/fuse"
unset CASYNC_STORE GODWIT_LOG
export GODWIT_CACHE=$work/cache
cd "$work"
clean_up_more() { ! mountpoint -q "$work/mnt" || umount -l "$work/mnt"; }
mkdir mnt link far near
ln -s "$program" link/casync
casync=$(command -v casync)

mkdir -p tree/folder
random_bytes 2000000 >tree/folder/file
yes "a line that repeats itself" | head -c 1000000 >>tree/folder/file || true
for i in $(seq 50); do echo "$i" >"tree/$i"; done
ln -s folder/file tree/link
cp tree/folder/file blob
digest=$(casync make --store=store tree.caidx tree)
casync make --store=store blob.caibx blob >/dev/null
casync make tree.catar tree >/dev/null

# begun WORDS COMMAND…: in the background, until it says these.
begun() {
  local words=$1
  shift
  : >view.out
  "$@" >view.out 2>view.err &
  pids+=($!)
  for _ in $(seq 600); do
    grep -q "$words" view.out && return
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  unset 'pids[-1]'
  cat view.err
  return 1
}
# By its end nothing of it is left: no mount, no far end, no word of complaint.
ended() {
  local pid=${pids[-1]} code=0 children
  children=$(pgrep -P "$pid" || true)
  kill "$pid"
  wait "$pid" || code=$?
  unset 'pids[-1]'
  for child in $children; do
    for _ in $(seq 100); do kill -0 "$child" 2>/dev/null || break; sleep 0.05; done
    ! kill -0 "$child" 2>/dev/null || { echo "its child $child goes on"; return 1; }
  done
  [ "$code" -eq 0 ] && ! mountpoint -q mnt && ! grep -v "Got exit signal" view.err || { echo "it ended with $code and said:"; cat view.err; return 1; }
}
is_mounted_whole() {  # INDEX STORE
  begun 'Mounted: mnt' "$program" image mount "$1" mnt --store "$2" || return 1
  diff -r --no-dereference tree mnt && [ "$("$program" image digest mnt)" = "$digest" ] && ended
}
is_exported_whole() {  # INDEX STORE
  begun serving "$program" image export "$1" --store "$2" --nbd "unix:$work/socket" || return 1
  rm -f near/blob
  nbdcopy "nbd+unix:///blob?socket=$work/socket" near/blob && cmp near/blob blob && ended
}
both_views() {  # WHAT PREFIX STORE: of PREFIXtree.caidx, PREFIXblob.caibx
  check "$1: mounted" is_mounted_whole "$2tree.caidx" "$3"
  check "$1: exported" is_exported_whole "$2blob.caibx" "$3"
}
operations() {  # HOST
  local h=$1:$work/far
  rm -rf far
  mkdir -p far/new far/alone
  cp -r store far/store
  cp ./*.caidx ./*.caibx ./*.catar far
  both_views "pull index and chunks" "$h/" "$h/store"
  both_views "pull chunks" "" "$h/store"
  both_views "pull index" "$h/" store
  check "pull archive: mounted" archive_mounted "$h/tree.catar"
  check "pull archive: extracted" "$program" image extract "$h/tree.catar" "near/tree-$RANDOM$RANDOM"
  both_pushed
}
both_pushed() {
  check "push index and chunks" "$program" image make "$h/new/tree.caidx" tree --store "$h/new.castr"
  check "  of a blob" "$program" image make "$h/new/blob.caibx" blob --store "$h/new.castr"
  both_views "  and" "$h/new/" "$h/new.castr"
  check "push index" "$program" image make "$h/alone/tree.caidx" tree --store near/alone.castr
  check "  of a blob" "$program" image make "$h/alone/blob.caibx" blob --store near/alone.castr
  both_views "  and" "$h/alone/" near/alone.castr
  # More than a pipe holds, to a far end that ends at once.
  fails_with "push archive into no folder" "the remote" "$program" image make "$h/none/tree.catar" tree
  fails_with "push chunks" "can not be pushed" "$program" image make near/no.caibx blob --store "$h/no.castr"
  check "push archive" "$program" image make "$h/new/tree.catar" tree
  check "  and mounted there" archive_mounted far/new/tree.catar
}
archive_mounted() {
  begun 'Mounted: mnt' "$program" image mount "$1" mnt || return 1
  diff -r --no-dereference tree mnt && ended
}

make_ssh
export CASYNC_SSH_PATH=$work/ssh
for remote in "$work/link/casync" "$casync"; do
  echo "== ssh's stand-in, $remote"
  export CASYNC_REMOTE_PATH=$remote
  mkdir -p far
  operations h
done

echo "== a far end that dies"
export CASYNC_REMOTE_PATH=$work/link/casync
printf '#!/bin/sh\nshift\necho $$ >>"%s"\nexec "$@"\n' "$work/far.pids" >noting
chmod +x noting
lives_on() {
  begun 'Mounted: mnt' env CASYNC_SSH_PATH="$work/noting" "$program" image mount "h:$work/far/tree.caidx" mnt \
    --store "h:$work/far/store" --cache 1 || return 1
  cmp mnt/1 tree/1 || return 1
  kill -KILL "$(tail -n 1 far.pids)"
  cmp mnt/folder/file tree/folder/file && diff -r --no-dereference tree mnt || return 1
  kill "${pids[-1]}"
  wait "${pids[-1]}" || return 1
  unset 'pids[-1]'
}
check "a mount goes on over another" lives_on
fails_with "no such host" "nonexistent" env CASYNC_SSH_PATH=/nonexistent/ssh "$program" image mount "h:$work/far/tree.caidx" mnt
fails_with "no such index" "No such file" "$program" image mount "h:$work/far/none.caidx" mnt --store "h:$work/far/store"

echo "== ssh"
real_ssh() {
  local sshd port
  sshd=$(command -v sshd) && command -v ssh >/dev/null && command -v ssh-keygen >/dev/null ||
    { echo "SKIPPED: no sshd here (Debian: openssh-server)"; return; }
  if [ "$(id -u)" = 0 ]; then
    getent passwd sshd >/dev/null || { echo "SKIPPED: sshd has no user here"; return; }
    mkdir -p /run/sshd
  fi
  port=$(free_port)
  ssh-keygen -q -t ed25519 -N '' -f host_key
  ssh-keygen -q -t ed25519 -N '' -f user_key
  cat >sshd_config <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $work/host_key
PidFile none
AuthorizedKeysFile $work/user_key.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
CONFIG
  "$sshd" -D -e -f "$work/sshd_config" 2>sshd.log &
  pids+=($!)
  wait_for sshd.log "listening on 127.0.0.1"
  cat >real-ssh <<SSH
#!/bin/sh
exec ssh -q -F none -p $port -i "$work/user_key" -o BatchMode=yes -o UserKnownHostsFile="$work/known" \
  -o StrictHostKeyChecking=accept-new "\$@"
SSH
  chmod +x real-ssh
  export CASYNC_SSH_PATH=$work/real-ssh
  for remote in "$work/link/casync" "$casync"; do
    echo "== a real ssh, $remote"
    export CASYNC_REMOTE_PATH=$remote
    operations "$(id -un)@127.0.0.1"
  done
}
real_ssh
verdict
