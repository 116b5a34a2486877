#!/usr/bin/env bash
# Runs one stage of a longer job and says how long it took: scripts/stage.sh NAME COMMAND...
name=$1
shift
started=$SECONDS
printf '== %s\n' "$name"
"$@"
status=$?
if [ $status -eq 0 ]; then word=done; else word="FAILED ($status)"; fi
printf '== %s: %s, %d s\n' "$name" "$word" $((SECONDS - started))
exit $status
