#!/bin/bash
# Chunk stores and indexes over HTTP: a real nginx for our client, and the real casync as client of our `image serve`. Wants the
# program as its first argument. Servers listen on loopback.
set -euo pipefail
program=$(realpath "$1")
for needed in casync nginx curl; do
  PATH=$PATH:/usr/sbin command -v "$needed" > /dev/null || { echo "SKIPPED: no $needed"; exit 77; }
done
work=$(mktemp -d)
export GODWIT_CACHE=$work/cache
chmod 755 "$work"
servers=()
cleanup() {
  for server in "${servers[@]}"; do kill "$server" 2> /dev/null || true; done
  wait 2> /dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
failures=0
check() { # a name, and a command that is to succeed
  local name=$1
  shift
  if timeout 60 "$@" > out.log 2>&1; then echo "ok   $name"; else
    echo "FAIL $name: $*"
    tail -5 out.log
    failures=$((failures + 1))
  fi
}
fails_with() { # a name, words that the complaint holds, and a command that is to fail
  local name=$1 words=$2
  shift 2
  if timeout 60 "$@" > out.log 2>&1; then
    echo "FAIL $name: it succeeded"
    failures=$((failures + 1))
  elif ! grep -q -- "$words" out.log; then
    echo "FAIL $name: it does not say \"$words\":"
    tail -5 out.log
    failures=$((failures + 1))
  else echo "ok   $name"; fi
}
wait_for() { # until a command succeeds, ten seconds at most
  for _ in $(seq 100); do
    "$@" > /dev/null 2>&1 && return
    sleep 0.1
  done
  echo "FAIL: it never came up: $*"
  exit 1
}

mkdir www
openssl enc -aes-128-ctr -K 00000000000000000000000000000001 -iv 00000000000000000000000000000000 -in /dev/zero 2> /dev/null |
  head -c 4000000 > blob || true
casync make --store=www/default.castr www/i.caibx blob > /dev/null
casync make --store=www/raw.castr --compression=xz www/raw.caibx blob > /dev/null
cp www/i.caibx www/none.caibx

# A port that is free now: nginx can not choose one itself.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > nginx.conf << EOF
daemon off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
  server { listen 127.0.0.1:$port; root $work/www; }
}
EOF
PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log" &
servers+=($!)
wait_for curl -sf "http://127.0.0.1:$port/i.caibx" -o /dev/null

echo "== nginx"
check "extract by URL" "$program" image extract "http://127.0.0.1:$port/i.caibx" out1
check "  the blob is whole" cmp out1 blob
check "extract a local index from a store by URL" "$program" image extract www/i.caibx out2 --store "http://127.0.0.1:$port/default.castr/"
check "  the blob is whole" cmp out2 blob
check "another compression" "$program" image extract www/raw.caibx out3 --store "http://127.0.0.1:$port/raw.castr"
check "  the blob is whole" cmp out3 blob
check "digest by URL" "$program" image digest "http://127.0.0.1:$port/i.caibx"
fails_with "a missing index" "is not there" "$program" image extract "http://127.0.0.1:$port/nowhere.caibx" x
fails_with "a missing store" "is not in the store" "$program" image extract www/i.caibx x --store "http://127.0.0.1:$port/nowhere"
fails_with "nobody there" "http://127.0.0.1:1/" "$program" image extract http://127.0.0.1:1/i.caibx x
check "an error leaves no output" test ! -e x

echo "== our server"
"$program" image serve www --listen 127.0.0.1:0 > serve.log 2>&1 &
servers+=($!)
wait_for grep -q http: serve.log
url=$(grep -o 'http://[0-9.:]*' serve.log)
check "casync extracts by URL" casync extract "$url/i.caibx" out4 --seed-output=no
check "  the blob is whole" cmp out4 blob
check "we extract by URL" "$program" image extract "$url/i.caibx" out5
check "  the blob is whole" cmp out5 blob
check "curl reads a range" curl -sf -r 10-19 "$url/i.caibx" -o range
check "  it is that range" cmp <(tail -c +11 www/i.caibx | head -c 10) range
check "curl keeps its connection" bash -c "curl -sv $url/i.caibx $url/i.caibx -o /dev/null -o /dev/null 2>&1 | grep -q 'Re-using existing connection'"
fails_with "casync: a missing index" "" casync extract "$url/nowhere.caibx" y
fails_with "other files are not given" "404" curl -sSf "$url/../serve.log" --path-as-is
fails_with "writing is refused" "405" curl -sSf -X PUT "$url/i.caibx"
fails_with "other machines only when told so" "insecure" "$program" image serve www --listen 0.0.0.0:0

[ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
echo "all is well"
