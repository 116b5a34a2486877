#!/usr/bin/env bash
# Archives of trees against the original casync: the same bytes for every group of features, the same text of them, and each
# extracts what the other wrote. As root with every kind of node and attribute; else with what a user may make, and says so.
#
#   tests/interop/casync_tree.sh BUILD/bin/godwit
set -euo pipefail

godwit=$1
if ! command -v casync >/dev/null; then
  echo "SKIPPED: no casync on the PATH (Debian's package casync)"
  exit 77
fi
work=$(mktemp -d)
export GODWIT_CACHE=$work/cache
cleanup() {
  chattr -R -i -a "$work" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"

failures=0
failed() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
# optional COMMAND…: what this user or file system may not allow.
optional() { "$@" 2>/dev/null || echo "not here: $*"; }

make_tree() {
  mkdir -p t/dir t/d2/sub t/dacl t/sticky t/empty
  : >t/nothing
  echo hello >t/hello
  head -c 100000 /dev/urandom >t/setuid
  chmod 4755 t/setuid
  for i in $(seq 0 36); do echo "$i" >"t/dir/f$i"; done
  ln -s hello t/link
  ln -s $'/no where\n#é\\' t/link2
  mkfifo -m 0640 t/fifo
  python3 -c 'import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' t/sock
  ln t/hello t/hard
  echo u >'t/ünï'
  echo 1 >$'t/ lead b\tx\ny'
  echo 2 >$'t/-dash\001'
  echo 3 >'t/back\slash "q'"'"
  echo 4 >'t/a#b*c?[d]~e'
  truncate -s 300000 t/zero
  chmod 1776 t/sticky
  chmod 444 t/nothing
  chmod 1644 t/d2
  printf '*.o\n!keep.o\n/sub/gone\n' >t/d2/.caexclude
  touch t/d2/a.o t/d2/keep.o t/d2/a.c t/d2/sub/gone t/d2/sub/x
  chmod 755 t/d2
  touch -d '2001-02-03 04:05:06.123456789' t/hello t/link2 -h
  optional setfattr -n user.a -v val t/hello
  optional setfattr -n user.b t/hello
  optional setfattr -n user.d -v 'on a dir' t/dir
  optional setfacl -m u:daemon:rw,u:12345:r,u:root:rwx,g:bin:x,g:54321:rwx,g::r,m::rx t/dir/f1
  optional setfacl -d -m u:daemon:rw,u:12345:r,g:bin:x,g:root:r t/dacl
  for flag in A S d; do
    echo "$flag" >"t/attr_$flag"
    optional chattr "+$flag" "t/attr_$flag"
  done
  if [ "$(id -u)" != 0 ]; then
    echo "not root: without devices, owners, capabilities, trusted attributes, immutable files"
    return
  fi
  mknod t/chr c 511 70000
  mknod t/blk b 259 300
  echo o >t/owned
  chown 1:12345 t/owned
  ln -s x t/owned-link
  chown -h 65534:2 t/owned-link
  optional setfattr -n trusted.z -v 0x000162696eff t/hello
  optional setfattr -n trusted.on-a-fifo -v 1 t/fifo
  echo c >t/caps
  optional setcap cap_net_raw+ep t/caps
  for flag in i a; do
    echo "$flag" >"t/attr_$flag"
    optional chattr "+$flag" "t/attr_$flag"
  done
}

# same_text VERB ARCHIVE [SUBPATH]
same_text() {
  casync "$@" >theirs.txt 2>/dev/null || return 0  # it cannot read all that it writes: see below
  "$godwit" image "$@" >ours.txt 2>&1 || failed "$*: $(cat ours.txt)"
  cmp -s theirs.txt ours.txt || failed "$*: $(diff theirs.txt ours.txt | head -n 4)"
}

make_tree

# Of these, casync cannot read what it wrote itself: usec-time (it wants whole milliseconds), and user-names without numbers where
# an owner has no name. The bytes are the same.
for options in "" --with={best,all,unix,fat,fuse,privileged,chattr,fat-attrs} --without=all --without={acl,privileged,nsec-time,chattr} \
  --with={16bit-uids,32bit-uids,user-names,sec-time,usec-time,nsec-time,2sec-time,read-only,permissions,symlinks,device-nodes} \
  --with={fifos,sockets,flag-append,flag-immutable,subvolume-ro,xattrs,acl,selinux,fcaps,quota-projid} \
  "--with=acl --with=user-names" "--with=unix --with=acl" "--with=unix --without=symlinks" --exclude-nodump=no \
  --exclude-submounts=yes --digest=sha256 --uid-range=10000; do
  # shellcheck disable=SC2086
  theirs=$(casync make $options theirs.catar t)
  # shellcheck disable=SC2086
  ours=$("$godwit" image make $options ours.catar t)
  [ "$theirs" = "$ours" ] || failed "make $options: digest $ours, casync's $theirs"
  cmp theirs.catar ours.catar || failed "make $options"
  for verb in list mtree stat digest; do
    # casync calls a SHA-256 digest sha512256digest; ours says what it is.
    if [ "$options$verb" != "--digest=sha256mtree" ]; then same_text $verb theirs.catar; fi
  done
done

casync make t.catar t >/dev/null
for path in hello dir dir/f1 dacl link link2 sock fifo d2/sub d2/sub/x 'ünï' zero setuid; do
  for verb in list mtree stat digest; do same_text $verb t.catar "$path"; done
done
same_text list --recursive=no t.catar  # casync's mtree does not obey this
for verb in list mtree stat digest; do same_text $verb t; done

# Each extracts the other's, into nothing, and over what is there; both give the same tree again.
"$godwit" image extract t.catar by_us
casync extract t.catar by_them
for folder in by_us by_them; do
  "$godwit" image make again.catar $folder >/dev/null
  cmp t.catar again.catar || failed "$folder is not what was archived"
done
casync make again.catar by_us >/dev/null
cmp t.catar again.catar || failed "casync finds another tree in what we extracted"
mkdir by_us/dir/more
touch by_us/dir/more/extra by_us/extra
rm by_us/link
mkdir by_us/link
"$godwit" image extract --undo-immutable=yes t.catar by_us
casync make again.catar by_us >/dev/null
cmp t.catar again.catar || failed "a tree extracted over another is not what was archived"
for path in hello dir d2/sub/x link; do
  rm -rf sub_ours sub_theirs
  "$godwit" image extract t.catar sub_ours "$path"
  casync extract t.catar sub_theirs "$path"
  (cd sub_ours && find . -mindepth 1 -printf '%P %y %m %s %T@ %l\n' | sort) >ours.txt
  (cd sub_theirs && find . -mindepth 1 -printf '%P %y %m %s %T@ %l\n' | sort) >theirs.txt
  cmp theirs.txt ours.txt || failed "extract $path"
done

# Indexes: the same bytes, each reads the other's store, whole and in part.
casync make --store=theirs.castr theirs.caidx t >theirs.txt
"$godwit" image make --store=ours.castr ours.caidx t >ours.txt
cmp theirs.txt ours.txt || failed "the digest of a .caidx"
cmp theirs.caidx ours.caidx || failed "a .caidx"
for verb in list mtree stat digest; do
  same_text $verb --store=theirs.castr theirs.caidx
  for path in hello dir link d2/sub/x zero; do same_text $verb --store=theirs.castr theirs.caidx $path; done
done
"$godwit" image extract --store=theirs.castr theirs.caidx by_us_index
casync extract --store=ours.castr ours.caidx by_them_index
for folder in by_us_index by_them_index; do
  casync make again.catar $folder >/dev/null
  cmp t.catar again.catar || failed "$folder is not what was archived"
done
rm -rf sub_ours
"$godwit" image extract --store=theirs.castr theirs.caidx sub_ours d2/sub
cmp sub_ours/sub/x t/d2/sub/x || failed "a part of a .caidx"
chunk=$(find theirs.castr -name '*.cacnk' | head -n 1)
rm -f "$chunk"
if "$godwit" image extract --store=theirs.castr theirs.caidx lacking 2>error.txt; then failed "extract without a chunk"; fi
grep -q "$(basename "$chunk" .cacnk)" error.txt || failed "a missing chunk is not named: $(cat error.txt)"

# A time before 1970, which casync reads as one of the 26th century.
mkdir old
touch -d '1955-10-05 05:55:55.5' old/f
casync make old.catar old >/dev/null
"$godwit" image extract old.catar old_ours
[ "$(stat -c %y old_ours/f)" = "$(stat -c %y old/f)" ] || failed "a time before 1970: $(stat -c %y old_ours/f)"

# --exclude-file=no, which casync takes and does not obey.
"$godwit" image make --exclude-file=no all.catar t >/dev/null
"$godwit" image list all.catar | grep -q 'd2/a\.o$' || failed "--exclude-file=no leaves d2/a.o out"

[ "$failures" = 0 ] || exit 1
echo "casync and godwit agree"
