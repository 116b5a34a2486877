#!/usr/bin/env bash
# `godwit homa simulate` as a user runs it: a short run says what it found, in JSON, CSV and SVG; the same seed says the same again;
# what can not be simulated is refused with exit code 2. Usage: homa_simulate_test.sh GODWIT
set -euo pipefail
godwit=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

simulate() {
  timeout 60 "$godwit" --json homa simulate --setup rack16 --workload w3 --warmup-ms 0.5 --end-ms 2 "$@"
}
simulate --csv "$work/a.csv" --svg "$work/a.svg" >"$work/a.json"
simulate --csv "$work/b.csv" >"$work/b.json"
cmp "$work/a.csv" "$work/b.csv"
grep -q '<polyline' "$work/a.svg"
grep -q '^# throughput: 0\.[0-9]' "$work/a.csv"
grep -q '^# host_downlinks_mean_bytes: [1-9]' "$work/a.csv"
grep -q '^# resends: ' "$work/a.csv"
grep -q '^# granted_unused_mean_bytes: [1-9]' "$work/a.csv"

# The oracle has neither packets nor queues; it says so by silence, and what it carried is counted.
simulate --transport oracle --csv "$work/o.csv" >"$work/o.json"
timeout 60 "$godwit" homa simulate --setup rack16 --workload w3 --warmup-ms 0.5 --end-ms 2 --transport oracle >"$work/o.txt"
for word in packets queues trace wasted; do
  ! grep -q "$word" "$work/o.csv" "$work/o.json" "$work/o.txt" || { echo "the oracle speaks of $word"; exit 1; }
done
grep -q 'received [1-9][0-9.]* % of the link' "$work/o.txt"
timeout 60 "$godwit" homa simulate --setup rack16 --workload w3 --warmup-ms 0.5 --end-ms 1 --load 0.5 --no-srpt >"$work/a.txt"
grep -Eq 'granted and not used, mean and most bytes of a receiver: [1-9][0-9]* [1-9][0-9]*$' "$work/a.txt"
grep -q 'load 0.5, 8 priorities, overcommitment 4, SRPT off, FIFO share 0 of 1000; measured from 0.5 to 1 ms' "$work/a.txt"

python3 - "$work/a.json" "$work/b.json" <<'PYTHON'
import json
import sys

a, b = (json.load(open(name)) for name in sys.argv[1:])
for result in (a, b):
    for key in ("wall_seconds", "cpu_seconds", "packets_per_cpu_second"):
        assert result.pop(key) > 0, key
assert a == b, "the same seed gave another result"
assert a["seed"] == 1 and a["measured"] > 1000 and len(a["tenths"]) == 10, a
assert 1 <= a["shortest_half"]["slowdown_p50"] <= a["shortest_half"]["slowdown_p99"] < 5, a["shortest_half"]
assert 0 < a["granted_unused_mean_bytes"] <= a["granted_unused_most_bytes"], a
said = dict(setup="rack16", transport="homa", workload="w3", load=0.8, priorities=8, overcommitment=4, srpt=True, fifo_permille=0,
            warmup_ms=0.5, end_ms=2)
assert {key: a[key] for key in said} == said, a
PYTHON

# Several runs over each other; names of files are text, not markup.
simulate --priorities 1 --csv "$work/one.csv" >/dev/null
cp "$work/one.csv" "$work/<b> & c.csv"
"$godwit" homa plot "$work/all.svg" "$work/a.csv" "$work/one.csv" "$work/<b> & c.csv" >"$work/plotted"
python3 - "$work/all.svg" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

root = tree.parse(sys.argv[1]).getroot()
svg = "{http://www.w3.org/2000/svg}"
assert len(root.findall(svg + "polyline")) == 3
texts = [text.text for text in root.findall(svg + "text")]
for text in ("priorities 8", "priorities 1, one.csv", "priorities 1, <b> & c.csv"):
    assert text in texts, texts
PYTHON
fails() {  # exit code, words of the message, arguments
  local code=0
  "$godwit" homa plot "${@:3}" >/dev/null 2>"$work/error" || code=$?
  [ "$code" = "$1" ] && grep -q "$2" "$work/error" || { echo "plot ${*:3}: exit code $code: $(cat "$work/error")"; exit 1; }
}
fails 2 'must end in .svg' "$work/a.csv" "$work/one.csv"
fails 1 'no-such.csv' "$work/none.svg" "$work/no-such.csv"
fails 1 'what .godwit homa simulate --csv. wrote' "$work/none.svg" "$work/a.svg"
head -c -300 "$work/a.csv" >"$work/cut.csv"
fails 1 'cut.csv' "$work/none.svg" "$work/cut.csv"
[ ! -e "$work/none.svg" ] || { echo "a plot of nothing was written"; exit 1; }

refused() {
  local code=0
  timeout 60 "$godwit" homa simulate "$@" >/dev/null 2>"$work/error" || code=$?
  [ "$code" = 2 ] || { echo "simulate $*: exit code $code, expected 2"; exit 1; }
  [ -s "$work/error" ] || { echo "simulate $*: refused without a word"; exit 1; }
}
refused --setup moon
refused --workload w9
refused --priorities 9
refused --transport pigeon
refused --setup atc21 --workload w1
echo "homa simulate: ok"
