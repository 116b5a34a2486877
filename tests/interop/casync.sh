#!/usr/bin/env bash
# Blobs against the original casync: indexes are the same bytes for every boundary size, kind of content, chunk size and digest, both
# print the same digest, and each extracts what the other made.
#
#   tests/interop/casync.sh BUILD/bin/godwit
set -euo pipefail

godwit=$1
if ! command -v casync >/dev/null; then
  echo "skipped: casync is not installed"
  exit 77
fi
# In memory where that is possible: it is the programs that are compared, not the disk.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
export GODWIT_CACHE=$work/cache
trap 'rm -rf "$work"' EXIT
cd "$work"
unset CASYNC_STORE

failures=0
compared=0
fail() {
  echo "FAILED  $*"
  failures=$((failures + 1))
}

# Repeatable bytes: SplitMix64, words of numbers, zeros and a constant.
python3 - <<'PY'
def splitmix64(seed, size):
    mask, state, out = (1 << 64) - 1, seed, bytearray()
    while len(out) < size:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out += (z ^ (z >> 31)).to_bytes(8, "little")
    return bytes(out[:size])

def write(name, content):
    with open(name, "wb") as file:
        file.write(content)

random = splitmix64(1, 12_000_000)
write("random", random)
for size in (0, 1, 40, 47, 48, 16384, 16385, 262144, 262145):
    write(f"random.{size}", random[:size])
write("random.300000", random[:300_000])
words, pairs = bytearray(), splitmix64(2, 4_000_000)
for a, b in zip(pairs[::2], pairs[1::2]):
    words += b"%d%s" % (a * b, b" " if a else b"\n")
write("text", bytes(words))
write("zeros", bytes(1_600_000) + b"x" * 600_000)
PY
truncate -s 9000001 sparse
dd if=random of=sparse bs=100000 count=7 seek=31 conv=notrunc status=none

# compare INPUT OPTIONS…: the index and the printed digest.
compare() {
  local input=$1 ours theirs
  shift
  rm -rf ours.caibx theirs.caibx
  if ! ours=$("$godwit" image make ours.caibx "$input" --store=ours.castr --no-sync "$@") ||
    ! theirs=$(casync make --store=theirs.castr "$@" theirs.caibx "$input" 2>err); then
    fail "make $input $*"
    return
  fi
  [ "$ours" = "$theirs" ] || fail "digest of $input $*: $ours, casync: $theirs"
  cmp -s ours.caibx theirs.caibx || fail "index of $input $*"
  compared=$((compared + 1))
}

# What a blob's index says about features means nothing for the blob, and is the same.
for options in --with=unix --with=best "--with=unix --without=sockets" --with=acl --with=nsec-time "--with=chattr --exclude-nodump=no" \
  --without=all --exclude-nodump=no --exclude-file=no --exclude-submounts=yes "--digest=sha256 --exclude-file=no"; do
  # shellcheck disable=SC2086  # words
  compare random.300000 $options
done
for digest in sha512-256 sha256; do
  for input in random.0 random.1 random.40 random.47 random.48 random.16384 random.16385 random.262144 random.262145 random text zeros sparse; do
    compare "$input" "--digest=$digest"
  done
done
for sizes in 32K 1M 10K:20K:40K 64K:64K:64K 64K:64K:256K 8M; do
  compare random "--chunk-size=$sizes"
  compare text "--chunk-size=$sizes" --digest=sha256
done
for sizes in 16:100:1000 48:64:100 1:64:100; do
  compare random.300000 "--chunk-size=$sizes" --compression=gzip
done
# The larger averages on bytes that have room for several of their chunks (casync.md 0), each cut at the edges of its sizes.
python3 -c 'import random; random.seed(1); open("random.40M", "wb").write(random.randbytes(40_000_000))'
for sizes in 4M 12M; do
  compare random.40M "--chunk-size=$sizes"
  compare text "--chunk-size=$sizes"
done
compare random.40M
for size in 4194303 4194304 4194305 16777216 16777217; do
  head -c "$size" random.40M >random.edge
  compare random.edge --chunk-size=4M
done
rm -rf ./*.castr random.40M random.edge
echo "$compared indexes and digests are the original's"

# exchange INPUT DIGEST COMPRESSION: each extracts what the other made, and knows its digest.
exchange() {
  local input=$1 digest=$2 compression=$3 printed
  rm -rf ours.* theirs.* out.*
  "$godwit" image make ours.caibx "$input" --store=ours.castr --digest="$digest" --compression="$compression" --no-sync >printed
  if [ "$compression" = none ]; then
    # A raw store is not something that casync makes, but it reads one.
    casync make --store=theirs.castr --digest="$digest" theirs.caibx "$input" >/dev/null 2>err
  else
    casync make --store=theirs.castr --digest="$digest" --compression="$compression" theirs.caibx "$input" >/dev/null 2>err
  fi
  printed=$(cat printed)
  casync extract --store=ours.castr ours.caibx out.theirs 2>err && cmp -s out.theirs "$input" || fail "casync extracts our $input, $digest, $compression: $(cat err)"
  "$godwit" image extract theirs.caibx out.ours --store=theirs.castr --no-sync && cmp -s out.ours "$input" || fail "we extract casync's $input, $digest, $compression"
  # casync's own digest command knows one digest only, whatever the index says.
  if [ "$digest" = sha512-256 ]; then
    [ "$(casync digest --store=ours.castr ours.caibx 2>err)" = "$printed" ] || fail "casync's digest of our $input, $compression"
  fi
  [ "$("$godwit" image digest theirs.caibx --store theirs.castr)" = "$printed" ] || fail "our digest of casync's $input, $digest, $compression"
  "$godwit" image verify theirs.caibx --store theirs.castr >/dev/null || fail "verify of casync's $input, $digest, $compression"
}
for digest in sha512-256 sha256; do
  exchange random "$digest" zstd
  exchange zeros "$digest" xz
  exchange random.262145 "$digest" gzip
  exchange random.0 "$digest" zstd
done
exchange text sha512-256 none
echo "each extracts what the other made"

# One store for both: nothing is stored twice, and what the other's gc keeps is enough.
rm -rf both.castr
casync make --store=both.castr theirs.caibx random >/dev/null 2>err
"$godwit" image make ours.caibx random --store=both.castr --no-sync --json | grep -q '"new_chunks":0,' || fail "chunks of casync's are stored again"
"$godwit" image make text.caibx text --store=both.castr --no-sync >/dev/null
casync gc --store=both.castr text.caibx >/dev/null 2>err || fail "casync gc: $(cat err)"
"$godwit" image verify text.caibx --store both.castr >/dev/null || fail "our chunks after casync's gc"
"$godwit" image make ours.caibx random --store=both.castr --no-sync >/dev/null
"$godwit" image gc theirs.caibx --store both.castr | grep -q '^Removed [1-9][0-9]* chunks' || fail "our gc removes nothing"
casync extract --store=both.castr theirs.caibx out 2>err && cmp -s out random || fail "casync after our gc: $(cat err)"
echo "both work in one store"

# The original often fails over an existing target; ours must not, and its seed is the target itself.
for before in random text random.1; do
  cp "$before" target
  "$godwit" image extract theirs.caibx target --store both.castr --no-sync && cmp -s target random || fail "over an existing $before"
  cp "$before" target
  "$godwit" image extract theirs.caibx target --store both.castr --no-sync --in-place && cmp -s target random || fail "in place over $before"
done
echo "an existing target is no obstacle"

[ "$failures" -eq 0 ] || exit 1
