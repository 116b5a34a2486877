#!/usr/bin/env bash
# Runs one stage of a longer job and says how long it took: scripts/stage.sh NAME COMMAND...
name=$1
shift
started=$SECONDS
printf '== %s\n' "$name"
"$@"
status=$?
case $status in
  0) word=done ;;
  77) word=skipped ;;
  *) word="FAILED ($status)" ;;
esac
printf '== %s: %s, %d s\n' "$name" "$word" $((SECONDS - started))
exit $status
