#!/bin/bash
# The remote protocol beside the real casync, both ways: casync as client of our `pull` and `push`, and our client against casync's,
# for all operations of the protocol. Wants the program as its first argument; beside it lies casync_test_client.
set -euo pipefail
program=$(realpath "$1")
client=$(dirname "$program")/casync_test_client
source "$(dirname "$0")/../lib.sh"
needs casync openssl
casync=$(command -v casync)
export GODWIT_CACHE=$work/cache
cd "$work"
say() { echo "== $*"; }

make_ssh
mkdir link
ln -s "$program" link/casync
export CASYNC_SSH_PATH=$work/ssh

# 3 MB that compress somewhat, and a tree with some kinds of nodes.
random_bytes 2000000 > blob
yes "a line that repeats itself" | head -c 1000000 >> blob || true
mkdir -p tree/folder
cp blob tree/folder/file
echo small > tree/small
ln -s small tree/link
casync make --store=store reference.caibx blob > digest
casync make reference.catar tree > /dev/null

for role in "our server" "our client"; do
  say "$role"
  rm -rf far near
  mkdir far near
  cp -r store far/store
  cp reference.caibx far/i.caibx
  cp reference.catar far/a.catar
  if [ "$role" = "our server" ]; then
    export CASYNC_REMOTE_PATH=$work/link/casync
    pull_both() { timeout 60 "$casync" extract h:"$work"/far/i.caibx --store=h:"$work"/far/store near/blob --seed-output=no; }
    pull_chunks() { timeout 60 "$casync" extract reference.caibx --store=h:"$work"/far/store near/blob2 --seed-output=no; }
    pull_index() { timeout 60 "$casync" extract h:"$work"/far/i.caibx --store=store near/blob3 --seed-output=no; }
    pull_archive() { timeout 60 "$casync" extract h:"$work"/far/a.catar near/tree && "$casync" make near/again.catar near/tree; }
    push_both() { timeout 60 "$casync" make --store=h:"$work"/far/new.castr h:"$work"/far/new.caibx blob; }
    push_index() { timeout 60 "$casync" make --store=near/new.castr h:"$work"/far/alone.caibx blob; }
    push_archive() { timeout 60 "$casync" make h:"$work"/far/new.catar tree; }
    # casync does not wait for the other side's word, and now and then ends with 0 before it comes: our server is to have said it.
    printf '#!/bin/sh\nexec "%s" "$@" 2>>"%s"\n' "$work/link/casync" "$work/refusal.err" > telling
    chmod +x telling
    push_chunks_refused() {
      CASYNC_REMOTE_PATH=$work/telling timeout 60 "$casync" make --store=h:"$work"/far/only.castr near/only.caibx blob || true
      wait_for refusal.err "chunks alone can not be pushed"
    }
  else
    export CASYNC_REMOTE_PATH=$casync
    pull_both() { timeout 60 "$client" pull-both h:"$work"/far/i.caibx h:"$work"/far/store near/blob; }
    pull_chunks() { timeout 60 "$client" pull-chunks h:"$work"/far/store reference.caibx near/blob2; }
    pull_index() { timeout 60 "$client" pull-index h:"$work"/far/i.caibx near/i.caibx && cmp near/i.caibx reference.caibx && cp blob near/blob3; }
    pull_archive() { timeout 60 "$client" pull-archive h:"$work"/far/a.catar near/again.catar; }
    push_both() { timeout 60 "$client" push-both reference.caibx store h:"$work"/far/new.caibx h:"$work"/far/new.castr; }
    push_index() { timeout 60 "$client" push-index reference.caibx h:"$work"/far/alone.caibx; }
    push_archive() { timeout 60 "$client" push-archive reference.catar h:"$work"/far/new.catar; }
    push_chunks_refused() { ! timeout 60 "$client" push-chunks store h:"$work"/far/only.castr 2> refusal.err && grep "can not be pushed" refusal.err; }
  fi
  check "pull index and chunks" pull_both
  check "  the blob is whole" cmp near/blob blob
  check "pull chunks" pull_chunks
  check "  the blob is whole" cmp near/blob2 blob
  check "pull index" pull_index
  check "  the blob is whole" cmp near/blob3 blob
  check "pull archive" pull_archive
  check "  the archive is equal" cmp near/again.catar reference.catar
  check "push index and chunks" push_both
  check "  the index is equal" cmp far/new.caibx reference.caibx
  check "  every chunk is there" timeout 60 "$casync" extract --store=far/new.castr far/new.caibx near/back
  check "  and the blob whole" cmp near/back blob
  check "push again, nothing to send" push_both
  check "push index alone" push_index
  check "  the index is equal" cmp far/alone.caibx reference.caibx
  check "push archive" push_archive
  check "  the archive is equal" cmp far/new.catar reference.catar
  check "push chunks alone is refused" push_chunks_refused
  check "  nothing was stored" test ! -e far/only.castr
done

say "commands"
fails_with "gc of somebody else's store is refused" "gc works on stores of this machine" "$program" image gc --store=h:"$work"/x reference.caibx
rm -rf far near
mkdir far near
cp -r store far/store
cp reference.caibx far/i.caibx
for remote in "$casync" "$work/link/casync"; do
  export CASYNC_REMOTE_PATH=$remote
  rm -rf far/made* near/*
  check "image extract, all remote" "$program" image extract h:"$work"/far/i.caibx near/a --store h:"$work"/far/store
  check "  the blob is whole" cmp near/a blob
  check "image extract, remote index" "$program" image extract h:"$work"/far/i.caibx near/b --store store
  check "  the blob is whole" cmp near/b blob
  check "image make, all remote" "$program" image make h:"$work"/far/made.caibx blob --store h:"$work"/far/made.castr
  check "  the index is equal" cmp far/made.caibx reference.caibx
  check "  every chunk is there" timeout 60 "$casync" extract --store=far/made.castr far/made.caibx near/c
  check "image make, remote index" "$program" image make h:"$work"/far/made2.caibx blob --store near/made.castr
  check "  the index is equal" cmp far/made2.caibx reference.caibx
  fails_with "image make, remote store alone" "can not be pushed" "$program" image make near/i.caibx blob --store h:"$work"/far/x.castr
done

say "one peer, and pushes that are cut"
export CASYNC_REMOTE_PATH=$work/link/casync
# An ssh that notes each start, and in its `cut` mode kills the remote as soon as some chunks have come.
cat > noting << 'EOF2'
#!/bin/bash
shift
echo start >> starts
if [ -e cut ]; then
  "$@" <&0 &
  until [ "$(find far/cut.castr -name '*.cacnk' 2> /dev/null | wc -l)" -ge 5 ]; do sleep 0.01; done
  kill -9 $!
  find far/cut.castr -name '*.cacnk' | sort > before
  rm cut
  exit 1
fi
exec "$@"
EOF2
chmod +x noting
export CASYNC_SSH_PATH=$work/noting
rm -rf near/*
check "image extract, all remote" "$program" image extract h:"$work"/far/i.caibx near/a --store h:"$work"/far/store
check "  one child gave both" test "$(wc -l < starts)" = 1
check "  the blob is whole" cmp near/a blob
random_bytes 30000000 > large
casync make --store=large.castr large.caibx large > /dev/null
rm -f starts
touch cut
check "image make, cut in its midst" "$program" image make h:"$work"/far/cut.caibx large --store h:"$work"/far/cut.castr
check "  it went on once" test "$(wc -l < starts)" = 2
check "  the index is equal" cmp far/cut.caibx large.caibx
find far/cut.castr -name '*.cacnk' | sort > after
check "  some chunks were there before" test "$(wc -l < before)" -ge 5
# A chunk that is sent again would be written again, under a new inode or not at all; its time tells.
check "  and were not sent again" test -z "$(xargs -a before -I{} find {} -newer starts -print)"
check "  every chunk is there" timeout 60 "$casync" extract --store=far/cut.castr far/cut.caibx near/cut
check "  and the blob whole" cmp near/cut large
# Killed together with its client: what the far end has stays, and the next push sends the rest.
rm -rf far/cut.castr far/cut.caibx starts
"$program" image make h:"$work"/far/cut.caibx large --store h:"$work"/far/cut.castr > client.log 2>&1 &
maker=$!
until [ "$(find far/cut.castr -name '*.cacnk' 2> /dev/null | wc -l)" -ge 5 ]; do sleep 0.01; done
fails_with "gc beside a push is refused" "is adding to the store" "$program" image gc --store=far/cut.castr reference.caibx
kill -9 $maker
wait $maker 2> /dev/null || true
sleep 0.5
check "a killed push installs no index" test ! -e far/cut.caibx
find far/cut.castr -name '*.cacnk' | sort > before
touch mark
check "pushed again" "$program" image make h:"$work"/far/cut.caibx large --store h:"$work"/far/cut.castr
check "  what was there was not sent again" test -z "$(xargs -a before -I{} find {} -newer mark -print)"
check "  the index is equal" cmp far/cut.caibx large.caibx
# 3 MB at 1 MB/s, by either end's wish.
begun=$(date +%s%N)
check "image extract at a rate" "$program" image extract --rate-limit-bps=1M h:"$work"/far/i.caibx near/r --store h:"$work"/far/store
lasted=$((($(date +%s%N) - begun) / 1000000))
check "  the blob is whole" cmp near/r blob
# The million random bytes of it and more travel as they are.
check "  it kept to it ($lasted ms)" test "$lasted" -ge 1500
export CASYNC_SSH_PATH=$work/ssh

say "complaints"
rm -rf far/store/*/*
export CASYNC_REMOTE_PATH=$work/link/casync
fails_with "casync: a missing index" "No such file or directory" casync extract h:"$work"/far/none.caibx --store=h:"$work"/far/store near/x
fails_with "casync: a missing chunk" "No such file or directory" casync extract reference.caibx --store=h:"$work"/far/store near/x
fails_with "ours: a missing index" "none.caibx: No such file" "$client" pull-index h:"$work"/far/none.caibx near/x
fails_with "ours: a missing chunk" "is not in the store" "$client" pull-chunks h:"$work"/far/store reference.caibx near/x
export CASYNC_REMOTE_PATH=$casync
fails_with "ours at casync: a missing index" "exit code 1" "$client" pull-index h:"$work"/far/none.caibx near/x
fails_with "ours at casync: a missing chunk" "is not in the store" "$client" pull-chunks h:"$work"/far/store reference.caibx near/x
for file in $(cd store && find . -name '*.cacnk'); do
  mkdir -p "far/store/$(dirname "$file")"
  head -c 100 /dev/urandom > "far/store/$file"
done
fails_with "ours at casync: a damaged chunk" "exit code 1" "$client" pull-chunks h:"$work"/far/store reference.caibx near/x
export CASYNC_REMOTE_PATH=$work/link/casync
fails_with "ours: a damaged chunk" "is damaged" "$client" pull-chunks h:"$work"/far/store reference.caibx near/x
fails_with "casync: a damaged chunk" "Bad message" casync extract reference.caibx --store=h:"$work"/far/store near/x
export CASYNC_REMOTE_PATH=/bin/echo
fails_with "a peer that speaks something else" "not the casync protocol" "$client" pull-index h:/x near/x
export CASYNC_REMOTE_PATH=/nonexistent/casync
fails_with "no such program at the remote" "exit code" "$client" pull-index h:/x near/x
export CASYNC_SSH_PATH=/nonexistent/ssh
fails_with "no ssh" "/nonexistent/ssh" "$client" pull-index h:/x near/x

verdict
