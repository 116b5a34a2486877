#!/usr/bin/env bash
# What the commands on images say of themselves while they run and when they end, as JSON: how far they are, what is new, what was
# there. The remote is a command on this machine, and slowed down, so that there is something to see.
#
#   tests/end_to_end/image_progress_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_progress_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
needs openssl
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache TMPDIR=$work/tmp
cd "$work"
make_ssh
ln -s "$godwit" casync
export CASYNC_SSH_PATH=$work/ssh CASYNC_REMOTE_PATH=$work/casync
image() { "$godwit" --json image "$@" >events; }
says() {  # EXPRESSION…: each is in a line of the events
  local wanted
  for wanted; do grep -qE -- "$wanted" events || die "no line has \"$wanted\": $(cat events)"; done
}

mkdir tmp far tree
random_bytes 3000000 >blob
cp blob tree/file

echo "- a push of chunks"
image make "h:$work/far/i.caibx" blob --store "h:$work/far/castr" --rate-limit-bps 1M
says '"what":"push".*"bytes_total":[1-9][0-9]*,"bytes_done":[1-9].*"note":"[0-9]+ of [0-9]+ chunks that it has not"' \
  '"event":"pushed","to":"h:.*","bytes":3[0-9]{6},"chunks":([0-9]+),"chunks_sent":\1,"chunks_there":0'
echo "- one of which the far end has all"
image make "h:$work/far/again.caibx" blob --store "h:$work/far/castr"
says '"event":"pushed".*"chunks":([1-9][0-9]*),"chunks_sent":0,"chunks_there":\1'
echo "- an archive, both ways"
image make "h:$work/far/t.catar" tree --rate-limit-bps 1M
says '"what":"push".*"bytes_total":3000[0-9]{3},"bytes_done":[1-9]' '"event":"pushed","to":"h:.*","bytes":3000[0-9]{3}'
[ -z "$(ls -A tmp)" ] || die "a push leaves $(ls -A tmp)"
echo "- archives and digests here"
image make t.catar tree
says '"event":"made","archive":"t.catar","size":3000[0-9]{3}'
cmp t.catar far/t.catar || die "another archive was pushed"
# From a pipe that takes its time: how much there will be, nobody knows.
(cat blob && sleep 1.5) | image digest -
says '"what":"digest".*"bytes_total":null,"bytes_done":[1-9]' '"event":"digest"'
echo "- what is removed"
image gc far/i.caibx --store far/castr
says '"event":"gc".*"removed_chunks":0,.*"remaining_chunks":[1-9].*"seconds"'
echo "- what is interrupted leaves nothing"
truncate -s 300G large
"$godwit" image digest large >events 2>&1 &
pids+=($!)
sleep 0.5
kill -INT "${pids[-1]}"
status=0
wait "${pids[-1]}" || status=$?
[ "$status" -eq 1 ] && [ ! -s events ] || die "an interrupted digest ends with $status and says $(cat events)"
verdict
