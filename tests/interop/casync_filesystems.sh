#!/usr/bin/env bash
# Archives of what only some file systems keep, beside the original casync: SELinux labels, quota projects, btrfs subvolumes, chattr
# flags of each kind, attributes that are large and many, ACLs, capabilities; on ext4, XFS and btrfs, each in a file behind a loop
# device. The same bytes for every group of features, each extracts what the other wrote, and the tree is the same again.
# What a file system or this kernel does not keep is told and left out.
#
#   tests/interop/casync_filesystems.sh BUILD/bin/godwit
set -euo pipefail
godwit=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs casync setfattr setfacl setcap python3 mkfs.ext4
[ "$(id -u)" = 0 ] || skip "only root mounts a loop device"
export GODWIT_CACHE=$work/cache
umask 022
point=$work/mounted
mkdir "$point"
clean_up_more() {
  cd /
  ! mountpoint -q "$point" || { chattr -R -i -a "$point" 2>/dev/null || true; umount "$point" || umount -l "$point"; }
}

# optional COMMAND…: what this file system may not keep.
optional() { "$@" >/dev/null 2>&1 || echo "     not on $system: $*"; }

make_tree() {
  mkdir -p t/folder/sub t/inherits t/acl t/many
  echo hello >t/file
  head -c 300000 /dev/urandom >t/folder/data
  ln -s file t/link
  mkfifo t/fifo
  mknod t/device c 1 3
  for i in 1 2 3 4 5; do echo "$i" >"t/folder/sub/$i"; done

  # Labels of every kind of node, with the zero byte that the kernel's own have, and without.
  optional setfattr -n security.selinux -v 0x73797374656d5f753a6f626a6563745f723a746d705f743a733000 t/file
  optional setfattr -n security.selinux -v system_u:object_r:etc_t:s0 t/folder
  optional setfattr -h -n security.selinux -v system_u:object_r:link_t:s0:c1,c1023 t/link
  optional setfattr -h -n security.selinux -v system_u:object_r:fifo_t:s0 t/fifo
  optional setfattr -n security.selinux -v system_u:object_r:null_device_t:s0 t/device

  # Quota projects of files and folders; a folder that gives its own to what is made in it.
  case $system in
    xfs)
      xfs_io -c 'chproj 77' t/folder/data
      xfs_io -c 'chproj 4294967294' t/folder/sub
      xfs_io -c 'chproj 5' -c 'chattr +P' t/inherits
      ;;
    *) optional chattr -p 77 t/folder/data ;;
  esac
  echo inherited >t/inherits/file

  for flag in A S i a d D c C m P; do
    mkdir "t/flags-$flag"
    echo "$flag" >"t/flags-$flag/in-it"
    : >"t/flag-$flag"
    optional chattr "+$flag" "t/flag-$flag"
    [ "$flag" = S ] || [ "$flag" = P ] || [ "$flag" = i ] || optional chattr "+$flag" "t/flags-$flag"
  done
  mkdir t/flags-together
  optional chattr +AdS t/flags-together

  # Large ones and many; an empty one; bytes of every value.
  for size in 1000 3000 15000 65000; do
    python3 - t/folder/data "$size" <<'PY' 2>/dev/null || echo "     not on $system: an attribute of $size bytes"
import os, sys
os.setxattr(sys.argv[1], "user.large" + sys.argv[2], bytes(i * 7 & 255 for i in range(int(sys.argv[2]))))
PY
  done
  python3 - t/many <<'PY'
import os, sys
os.setxattr(sys.argv[1], "user.empty", b"")
for i in range(500):
    try:
        os.setxattr(sys.argv[1], "user.%d.%s" % (i, "n" * (i % 40)), bytes([i & 255]) * (i % 9))
        os.setxattr(sys.argv[1], "trusted.%d" % i, b"t")
    except OSError:
        print("     not on this file system: more than %d attributes" % (2 * i))
        for j in range(i // 2, i + 1):  # one that was full to the brim may not take them in another order
            if "user.%d.%s" % (j, "n" * (j % 40)) in os.listxattr(sys.argv[1]):
                os.removexattr(sys.argv[1], "user.%d.%s" % (j, "n" * (j % 40)))
        break
PY
  optional setfattr -n trusted.of-a-fifo -v 1 t/fifo

  setfacl -m u:daemon:rw,u:12345:r,u:root:rwx,g:bin:x,g:54321:rwx,g::r,m::rx t/folder/sub/1
  setfacl -m u:1:r t/folder/sub/2
  setfacl -d -m u:daemon:rw,u:12345:r,g:bin:x,g:root:r,m::rw t/acl
  setfacl -m g:3:rwx t/acl
  setfacl -d -m o::- t/folder/sub
  setcap cap_net_raw,cap_net_admin+ep t/folder/sub/3
  optional setcap -n 100000 cap_chown+ei t/folder/sub/4
  if [ "$system" = btrfs ]; then
    btrfs subvolume create t/subvolume >/dev/null
    mkdir t/subvolume/folder
    echo in-it >t/subvolume/folder/file
    btrfs subvolume create t/subvolume/nested >/dev/null
    setfattr -n user.of-a-subvolume -v 1 t/subvolume
    chmod 1777 t/subvolume
    echo n >t/subvolume/nested/file
    btrfs subvolume create t/read-only >/dev/null
    mkdir t/read-only/folder
    echo r >t/read-only/folder/file
    chown 12:34 t/read-only
    btrfs property set t/read-only ro true
  fi
}

tree_of() {  # FOLDER: what a program of neither says of it
  (
    cd "$1"
    find . -mindepth 1 -printf '%P %y %m %U %G %T@ %l\n' | sort
    find . -print0 | sort -z | xargs -0 getfattr -h -d -e hex -m - 2>/dev/null
    lsattr -R -p . 2>/dev/null | sort
  )
}

on() {  # SYSTEM MKFS…
  system=$1
  shift
  echo "== $system"
  if ! command -v "$1" >/dev/null; then
    echo "SKIPPED: no $1"
    return
  fi
  rm -f image
  truncate -s 400M image
  "$@" image >/dev/null 2>&1 || die "$* makes no file system"
  if ! mount -o loop image "$point" 2>/dev/null; then
    echo "SKIPPED: this kernel mounts no $*"
    return
  fi
  cd "$point"
  make_tree
  for options in "" --with={best,all,unix,fat,fuse,privileged,chattr,fat-attrs} --without={all,acl,privileged,chattr,selinux} \
    --with={flag-append,flag-noatime,flag-compr,flag-nocow,flag-nodump,flag-dirsync,flag-immutable,flag-sync,flag-nocomp} \
    --with={flag-hidden,flag-system,flag-archive,flag-projinherit,subvolume,subvolume-ro,xattrs,acl,selinux,fcaps,quota-projid} \
    "--with=acl --with=16bit-uids" "--with=all --without=subvolume" "--exclude-nodump=no" \
    "--exclude-nodump=no --with=flag-nodump --with=xattrs"; do
    # shellcheck disable=SC2086
    theirs=$(casync make $options "$work/theirs.catar" t) || { failed "$system: casync make $options"; continue; }
    # shellcheck disable=SC2086
    ours=$("$godwit" image make $options "$work/ours.catar" t) || { failed "$system: make $options"; continue; }
    [ "$theirs" = "$ours" ] || failed "$system: make $options: digest $ours, casync's $theirs"
    cmp "$work/theirs.catar" "$work/ours.catar" || failed "$system: make $options: other bytes"
    for verb in list mtree digest; do
      casync $verb "$work/theirs.catar" >"$work/theirs.txt" 2>/dev/null || continue
      "$godwit" image $verb "$work/theirs.catar" >"$work/ours.txt" || failed "$system: $verb of make $options"
      cmp -s "$work/theirs.txt" "$work/ours.txt" ||
        failed "$system: $verb of make $options: $(diff "$work/theirs.txt" "$work/ours.txt" | head -n 4)"
    done
  done

  # Nodes with the nodump flag are in none of these.
  casync make --with=all "$work/all.catar" t >/dev/null
  extracted all.catar by_us "$godwit" image extract
  extracted all.catar by_them casync extract
  if [ "$system" = btrfs ]; then
    # A tree without it: a read-only subvolume in the way goes only when that was asked for.
    mkdir -p nothing over
    btrfs subvolume create over/subvolume >/dev/null
    mkdir over/subvolume/folder
    touch over/subvolume/folder/file
    btrfs property set over/subvolume ro true
    "$godwit" image make "$work/nothing.catar" nothing >/dev/null
    ! "$godwit" image extract "$work/nothing.catar" over 2>"$work/extract.log" || failed "btrfs: a read-only subvolume was removed"
    grep -q 'Read-only' "$work/extract.log" || failed "btrfs: a read-only subvolume in the way: $(cat "$work/extract.log")"
    "$godwit" image extract --undo-immutable=yes "$work/nothing.catar" over || failed "btrfs: a read-only subvolume is in the way"
    [ -z "$(ls over)" ] || failed "btrfs: there is still $(ls over)"
  fi
  chattr -R -i -a by_us by_them 2>/dev/null || true
  cd "$work"
  umount "$point"
}

# extracted ARCHIVE FOLDER COMMAND…: into nothing; both programs find in it what was archived, and so does everybody else.
extracted() {
  local archive=$work/$1 folder=$2 program
  shift 2
  "$@" "$archive" "$folder" >"$work/extract.log" 2>&1 || { failed "$system: $* $(cat "$work/extract.log")"; return; }
  for program in "$godwit image" casync; do
    $program make --with=all "$work/again.catar" "$folder" >/dev/null || failed "$system: $program make $folder"
    cmp "$archive" "$work/again.catar" || failed "$system: $folder is not what was archived, says $program"
  done
  tree_of "$folder" >"$work/$folder.txt"
  # The first of them is the one that the second is compared with.
  cmp "$work/by_us.txt" "$work/$folder.txt" || failed "$system: $(diff "$work/by_us.txt" "$work/$folder.txt" | head -n 6)"
  if [ "$folder" = by_us ]; then
    # Over what is there, some of it changed.
    chattr -i by_us/flag-i 2>/dev/null || true
    echo changed >by_us/file
    chattr +i by_us/flag-i 2>/dev/null || true
    "$@" --undo-immutable=yes "$archive" by_us >"$work/extract.log" 2>&1 || failed "$system: again: $(cat "$work/extract.log")"
    casync make --with=all "$work/again.catar" by_us >/dev/null
    cmp "$archive" "$work/again.catar" || failed "$system: extracted over a tree, it is not what was archived"
  fi
}

cd "$work"
on ext4 mkfs.ext4 -q -O ea_inode
on ext4-with-projects mkfs.ext4 -q -O project,quota
on xfs mkfs.xfs -q
on btrfs mkfs.btrfs -q
grep -qw vfat /proc/filesystems || echo "FAT attributes: no vfat in this kernel; the tests of the codec have their bytes"
verdict
