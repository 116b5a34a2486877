#!/usr/bin/env bash
# Runs every fuzzer (they lie in build/asan/bin), two at a time, within a total number of seconds: scripts/fuzz.sh [SECONDS].
# Each starts from fuzz/corpus/NAME and leaves what is new in build/fuzz/corpus/NAME; an input that breaks it stays in
# build/fuzz/found, to be turned into a test and a file of the corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
total=${1:-120}
at_once=2
# By the sources: a program whose source has gone may still lie in the build folder.
fuzzers=()
while IFS= read -r source; do
  name=${source##*/}
  fuzzers+=("build/asan/bin/fuzz_${name%_fuzz.cc}")
done < <(find src -name '*_fuzz.cc' | sort)
if [ ${#fuzzers[@]} -eq 0 ]; then
  echo "fuzz: no fuzzer is built yet"
  exit 0
fi
each=$((total * at_once / ${#fuzzers[@]}))
[ "$each" -ge 2 ] || each=2

run_one() {
  local program=$1 name=${1##*/fuzz_}
  local found=build/fuzz/corpus/$name log=build/fuzz/log/$name
  mkdir -p "$found" "build/fuzz/found/$name" build/fuzz/log
  local seeds=()
  [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
  if "$program" -max_total_time="$2" -timeout=10 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/found/$name/" "$found" "${seeds[@]}" >"$log" 2>&1; then
    printf 'fuzz: %s: %s inputs in %s s\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$2"
  else
    printf 'fuzz: %s FAILED, the input is in build/fuzz/found/%s\n' "$name" "$name"
    tail -n 40 "$log"
    return 1
  fi
}

status=0 running=()
for program in "${fuzzers[@]}"; do
  if [ ${#running[@]} -eq $at_once ]; then
    wait "${running[0]}" || status=1
    running=("${running[@]:1}")
  fi
  run_one "$program" "$each" &
  running+=($!)
done
for job in "${running[@]}"; do
  wait "$job" || status=1
done
exit $status
