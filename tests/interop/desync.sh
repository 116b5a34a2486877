#!/usr/bin/env bash
# Beside desync: each reads what the other made, in one store; over HTTP and over ssh in both roles. desync is $DESYNC, or `desync`
# on the PATH; without it: skipped (77).
#
#   tests/interop/desync.sh BUILD/bin/godwit
set -euo pipefail
program=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
desync=${DESYNC:-$(command -v desync || true)}
[ -n "$desync" ] && [ -x "$desync" ] || skip "interop with desync needs its program, as \$DESYNC or as desync on the PATH"
needs openssl curl python3
umask 022
cd "$work"
unset CASYNC_STORE
export HOME=$work  # no configuration of this user's
mkdir link
ln -s "$program" link/casync
random_bytes 3000000 >blob
seq 300000 >>blob
mkdir ours.castr theirs.castr

echo "== stores and indexes"
check "we make" "$program" image make ours.caibx blob --store ours.castr --no-sync
check "desync makes" "$desync" make -s theirs.castr theirs.caibx blob
# All but the flags in the head, where desync leaves out one that casync sets.
check "  the same chunks" cmp -i 64 ours.caibx theirs.caibx
check "desync extracts ours" "$desync" extract -s ours.castr ours.caibx back.theirs
check "  the blob is whole" cmp back.theirs blob
check "we extract desync's" "$program" image extract theirs.caibx back.ours --store theirs.castr --no-sync
check "  the blob is whole" cmp back.ours blob
check "desync finds no fault with our store" bash -c '[ -z "$("$1" verify -s ours.castr 2>&1)" ]' _ "$desync"
check "we find no fault with desync's" "$program" image verify theirs.caibx --store theirs.castr
cp -r theirs.castr both.castr
check "desync's chunks are not stored again" bash -c '"$1" image make again.caibx blob --store both.castr --no-sync --json | grep -q "\"new_chunks\":0,"' _ "$program"
check "our gc leaves what desync's index names" "$program" image gc theirs.caibx --store both.castr
check "  all of it" "$desync" extract -s both.castr theirs.caibx back.gc
check "desync prunes by our index" "$desync" prune -y -s both.castr ours.caibx
check "  and leaves all of it" "$program" image verify ours.caibx --store both.castr
check "in sha256, we make" "$program" image make ours256.caibx blob --store ours256.castr --digest sha256 --no-sync
check "  desync extracts it" "$desync" extract --digest sha256 -s ours256.castr ours256.caibx back.256
check "  the blob is whole" cmp back.256 blob
check "the empty blob of desync" bash -c ': >empty && "$1" make -s theirs.castr empty.caibx empty && "$2" image extract empty.caibx out.empty --store theirs.castr --no-sync && [ ! -s out.empty ]' _ "$desync" "$program"

echo "== archives"
mkdir -p tree/folder
cp blob tree/folder/file
echo small >tree/small
ln -s small tree/link
check "desync packs" "$desync" tar theirs.catar tree
check "we read it" bash -c '"$1" image list theirs.catar | grep -q "folder/file"' _ "$program"
check "we extract it" "$program" image extract theirs.catar tree.ours
check "  the tree is whole" diff -r tree tree.ours
check "we pack what desync can read" "$program" image make ours.catar tree --with=unix --with=nsec-time --with=32bit-uids --without=fifos --without=sockets
check "desync extracts it" bash -c 'mkdir tree.theirs && "$1" untar --no-same-owner ours.catar tree.theirs' _ "$desync"
check "  the tree is whole" diff -r tree tree.theirs
check "desync packs into chunks" "$desync" tar -i -s theirs.castr theirs.caidx tree
check "we extract these" "$program" image extract theirs.caidx tree.chunks --store theirs.castr
check "  the tree is whole" diff -r tree tree.chunks

echo "== HTTP"
port=$(free_port)
"$desync" chunk-server -s theirs.castr -l "127.0.0.1:$port" >server.log 2>&1 &
pids+=($!)
indexes=$(free_port)
"$desync" index-server -s . -l "127.0.0.1:$indexes" >indexes.log 2>&1 &
pids+=($!)
raw=$(free_port)
"$desync" chunk-server -u -s theirs.castr -l "127.0.0.1:$raw" >raw.log 2>&1 &
pids+=($!)
wait_until "desync's chunk-server answers" curl -s "http://127.0.0.1:$port/" -o /dev/null
wait_until "desync's index-server answers" curl -s "http://127.0.0.1:$indexes/" -o /dev/null
wait_until "desync's second chunk-server answers" curl -s "http://127.0.0.1:$raw/" -o /dev/null
check "we extract from its servers" "$program" image extract "http://127.0.0.1:$indexes/theirs.caibx" back.http --store "http://127.0.0.1:$port/" --no-sync
check "  the blob is whole" cmp back.http blob
check "from one that serves raw chunks" "$program" image extract theirs.caibx back.raw --store "http://127.0.0.1:$raw/" --no-sync
check "  the blob is whole" cmp back.raw blob
fails_with "an index that is not there" "none.caibx is not there" "$program" image info "http://127.0.0.1:$indexes/none.caibx"
"$program" image serve . --listen 127.0.0.1:0 >serve.log 2>&1 &
pids+=($!)
wait_for serve.log 'http://'
ours=$(grep -o 'http://[^ ]*' serve.log | head -n 1)
ours=${ours%/}
check "desync extracts from our server" "$desync" extract -s "$ours/ours.castr/" "$ours/ours.caibx" back.served
check "  the blob is whole" cmp back.served blob
fails_with "desync can not store there, and is told why" "only reads" "$desync" make -s "$ours/ours.castr/" new.caibx tree/small

echo "== ssh"
# desync's ssh takes its host behind -- and gives the rest as one word for a shell; casync's and ours give words.
cat >ssh <<'EOF2'
#!/bin/bash
[ "$1" = -- ] && shift
shift
[ $# -eq 1 ] && exec bash -c "$1"
exec "$@"
EOF2
chmod +x ssh
export CASYNC_SSH_PATH=$work/ssh
CASYNC_REMOTE_PATH=$work/link/casync check "desync pulls from us" "$desync" extract -s "ssh://h$work/ours.castr" ours.caibx back.ssh
check "  the blob is whole" cmp back.ssh blob
# A chunk asked for again, which a real casync never answers.
CASYNC_REMOTE_PATH=$work/link/casync check "desync pulls a tree from us" bash -c 'mkdir tree.ssh && "$1" untar -i --no-same-owner -s "ssh://h$2/theirs.castr" theirs.caidx tree.ssh' _ "$desync" "$work"
check "  the tree is whole" diff -r tree tree.ssh
CASYNC_REMOTE_PATH=$desync check "we pull from desync" "$program" image extract theirs.caibx back.pulled --store "h:$work/theirs.castr" --no-sync
check "  the blob is whole" cmp back.pulled blob
verdict
