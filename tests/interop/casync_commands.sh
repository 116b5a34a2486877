#!/usr/bin/env bash
# The same command lines given to the real casync and to this program under that name: what they print, what they end with and what
# they leave behind must be equal.
#
#   tests/interop/casync_commands.sh BUILD/bin/godwit
set -euo pipefail
program=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs casync openssl
real=$(command -v casync)
umask 022
cd "$work"
unset CASYNC_STORE
mkdir link
ln -s "$program" link/casync
make_ssh
export CASYNC_SSH_PATH=$work/ssh TZ=UTC GODWIT_CACHE=$work/cache

# What both work on: a blob, and a tree whose times do not depend on the run.
mkdir origin
random_bytes 700000 >origin/blob
mkdir -p origin/tree/folder
head -c 300000 origin/blob >origin/tree/folder/file
echo small >origin/tree/small
ln -s small origin/tree/link
mkfifo origin/tree/fifo
printf '*.o\n' >origin/tree/.caexclude
echo object >origin/tree/left-out.o
find origin -exec touch -h -d '2024-03-01 12:00:00.123456789 UTC' {} +

# What is there afterwards: every name but chunks' with its kind, mode, size of a file and content, and how many chunks there are.
contents() {
  find . -not -path '*.castr/*' -not -path '*.cacac*' -not -path './out' -not -path './err' | sort | while read -r name; do
    if [ -L "$name" ]; then echo "$name -> $(readlink "$name")"
    elif [ -f "$name" ]; then echo "$name $(stat -c %a "$name") $(sha256sum <"$name")"
    else echo "$name $(stat -c '%a %F' "$name")"; fi
  done
  find . -name '*.cacnk' | sort
}
# side NAME PROGRAM LINE…: the lines, one after the other, in a copy of the origin.
side() {
  local name=$1 line
  side_program=$2
  shift 2
  rm -rf "$name"
  cp -a origin "$name"
  (
    cd "$name"
    export CASYNC_REMOTE_PATH=$side_program
    casync() { "$side_program" "$@"; }
    for line; do
      printf '%s\n' "$line" >>out
      eval "$line" >>out 2>>err </dev/null && echo "ended with 0" >>out || echo "ended with $?" >>out
    done
    contents >contents
  )
}
# same TITLE LINE…
same() {
  local title=$1
  shift
  side theirs "$real" "$@"
  side ours "$work/link/casync" "$@"
  if ! diff -u --label casync --label ours <(sed "s|$work/theirs|HERE|g" theirs/out) <(sed "s|$work/ours|HERE|g" ours/out) >out.diff; then
    failed "$title: other words"
    cat out.diff
    tail -n 3 theirs/err ours/err
  elif ! diff -u --label casync --label ours theirs/contents ours/contents >contents.diff; then
    failed "$title: other files"
    cat contents.diff
  else echo "ok   $title"; fi
}

blob='casync make i.caibx blob'
tree='casync make t.caidx tree'
catar='casync make t.catar tree'
same "make a blob" "$blob" "casync make --chunk-size=32K two.caibx blob" "casync make --digest=sha256 --compression=gzip --store=s.castr three.caibx blob"
same "make of standard input" "casync make i.caibx <blob"
same "what comes from standard input" "$blob" "$tree" "$catar" \
  "casync extract --what=archive - copy1 <t.catar" "casync extract --what=archive-index --store=default.castr - copy2 <t.caidx" \
  "mkdir copy3" "casync extract --what=archive - copy3 folder <t.catar" "casync extract --what=blob-index --store=default.castr - copy4 <i.caibx" \
  "casync list --what=archive - <t.catar" "casync list - <t.catar" "casync list --what=archive <t.catar" "casync mtree - <t.catar" \
  "casync stat - <t.catar" "casync list --what=archive-index --store=default.castr - <t.caidx" "casync digest - <t.catar" \
  "casync digest --what=archive-index --store=default.castr - <t.caidx" "casync digest --what=blob-index --store=default.castr - <i.caibx" \
  "casync digest --what=blob - <blob" "casync digest --what=blob <blob"
same "make a tree" "$tree" "$catar" "casync make --with=unix unix.catar tree" "casync make --without=user-names --exclude-nodump=no all.catar tree"
same "make of where we are" "(cd tree && casync make ../t.caidx --store=../default.castr)"
same "options behind operands" "casync make i.caibx blob --store=behind.castr --chunk-size 32K"
same "extract a blob" "$blob" "casync extract i.caibx copy" "casync extract i.caibx >printed" "casync extract --seed=blob --store=default.castr i.caibx seeded"
same "extract a tree" "$tree" "$catar" "casync extract t.caidx copy" "casync extract t.catar copy2" "casync extract --punch-holes=no --with=unix t.catar copy3"
same "extract over a tree" "$catar" "mkdir copy && echo other >copy/other" "casync extract --delete=no t.catar copy" "casync extract t.catar copy"
same "extract a part" "$catar" "mkdir copy" "casync extract t.catar part folder"
same "a tree that is replaced is a seed" "$tree" "casync extract t.caidx copy" "mkdir empty.castr" "casync extract --store=empty.castr t.caidx copy" \
  "casync extract --store=empty.castr --seed-output=no t.caidx copy"
same "list" "$tree" "$catar" "casync list tree" "casync list t.caidx" "casync list t.catar" "casync list t.catar folder" "casync list t.catar folder/file" "casync list --what=directory tree" "(cd tree && casync list)"
same "mtree" "$tree" "$catar" "casync mtree t.caidx" "casync mtree t.catar folder" "casync mtree tree"
same "stat" "$tree" "$catar" "casync stat t.caidx" "casync stat t.catar small" "casync stat t.caidx folder/file"
same "digest" "$blob" "$tree" "$catar" "casync digest i.caibx" "casync digest blob" "casync digest t.caidx" "casync digest t.catar" "casync digest tree" "casync digest t.catar folder" "casync digest --digest=sha256 blob"
same "gc" "$blob" "$tree" "casync gc -n i.caibx" "casync gc -n -v i.caibx t.caidx" "casync gc i.caibx" "casync extract i.caibx copy" "casync gc --store=default.castr --verbose i.caibx"
same "the store of the environment" "export CASYNC_STORE=\$PWD/other.castr" "$blob" "casync extract i.caibx copy"
same "an extra store" "casync make --store=one.castr i.caibx blob" "mkdir two.castr" "casync extract --store=two.castr --extra-store=one.castr i.caibx copy"
same "pull and push" "casync make --store=h:\$PWD/far.castr h:\$PWD/far.caibx blob" "casync extract --store=h:\$PWD/far.castr h:\$PWD/far.caibx copy" \
  "casync make h:\$PWD/far.catar tree" "casync extract h:\$PWD/far.catar copy2" "casync list h:\$PWD/far.catar" "casync digest h:\$PWD/far.catar" \
  "casync make --store=h:\$PWD/far.castr h:\$PWD/far.caidx tree" "casync list --store=h:\$PWD/far.castr h:\$PWD/far.caidx" \
  "casync extract --rate-limit-bps=100M --store=h:\$PWD/far.castr h:\$PWD/far.caidx copy3"
same "an encoder cache prints no digest" "casync make --cache-auto t.caidx tree"
same "an encoder cache in a folder" "casync make --cache=kept.cacac t.caidx tree" "casync make --cache=kept.cacac t.caidx tree" \
  "echo more >>tree/small" "touch -d @1700000000 tree/small" "casync make --cache=kept.cacac t.caidx tree" "casync digest t.caidx" \
  "casync make --cache=kept.cacac i.caibx blob" "casync make -c i.caibx blob"
same "what does not fit" "casync" "casync nonsense" "casync gc" "casync make one.caibx two three" "casync make noending blob" \
  "casync make --digest=md5 i.caibx blob" "casync make --compression=brotli i.caibx blob" "casync make --chunk-size=32k i.caibx blob" \
  "casync make --with=nonsense t.catar tree" "casync make --what=blob i.caibx blob" "casync --rate-limit-bps=0 list tree" "casync extract none.caibx copy" \
  "casync list none.caidx" "casync stat tree small" "casync --nonsense list tree" "casync make i.caibx none"

# Where casync does not do what it says, and ours does: the files of .caexclude stay out for it all the same, and a pipe is refused.
check "--exclude-file=no keeps what .caexclude names" bash -c 'link/casync make --exclude-file=no all.catar origin/tree && link/casync list all.catar | grep -q left-out.o'
check "a blob goes into a pipe" bash -c 'link/casync make --store=p.castr p.caibx origin/blob && link/casync extract --store=p.castr p.caibx | cmp - origin/blob'
check "a digest of an archive out of standard input" bash -c '[ "$(link/casync digest --what=archive - <all.catar)" = "$(link/casync digest all.catar)" ]'
# casync wants a file there.
check "a list out of a pipe" bash -c '[ "$(cat all.catar | link/casync list -)" = "$(link/casync list all.catar)" ]'
check "a part out of a pipe" bash -c 'mkdir part && cat all.catar | link/casync extract --what=archive - part folder && cmp part/folder/file origin/tree/folder/file'
check "a digest out of a pipe" bash -c '[ "$(cat all.catar | link/casync digest -)" = "$(link/casync digest --what=blob all.catar)" ]'
fails_with "what ends too early there" "" bash -c 'head -c 1000 all.catar | link/casync extract --what=archive - short'
# What only ours can say of itself.
check "the version begins as casync's" bash -c '[ "$(link/casync --version | head -n 1)" = "$('"$real"' --version)" ]'
check "the help names the verbs" bash -c 'link/casync --help | grep -q "make OUTPUT"'
fails_with "mount wants a folder" "the folder in which it is to be seen" link/casync mount x.caidx
fails_with "mkdev wants something" "name an index or a blob" link/casync mkdev
fails_with "mkdev takes no tree" "holds a tree" link/casync mkdev x.caidx
check "udev has no name for a device that has none" bash -c '[ -z "$(link/casync udev /dev/nbd15)" ]'
fails_with "mkdev takes no folder" "is a folder" link/casync mkdev origin
fails_with "an archive out of standard input is refused" "name an archive" link/casync extract
verdict
