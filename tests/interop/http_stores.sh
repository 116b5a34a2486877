#!/bin/bash
# Chunk stores and indexes over HTTP: a real nginx for our client, and the real casync as client of our `image serve`. Wants the
# program as its first argument. Servers listen on loopback.
set -euo pipefail
program=$(realpath "$1")
source "$(dirname "$0")/../lib.sh"
needs casync nginx curl openssl
umask 022  # nginx may serve as another user
export GODWIT_CACHE=$work/cache
chmod 755 "$work"
cd "$work"

mkdir www
random_bytes 4000000 > blob
casync make --store=www/default.castr www/i.caibx blob > /dev/null
casync make --store=www/raw.castr --compression=xz www/raw.caibx blob > /dev/null
cp www/i.caibx www/none.caibx

# Ports that are free now: nginx can not choose one itself.
port=$(free_port)
proxy=$(free_port)
echo "user:$(openssl passwd -apr1 secret)" > passwords
cat > nginx.conf << EOF
daemon off;
pid $work/nginx.pid;
error_log $work/nginx.log;
events {}
http {
  access_log off;
  client_body_temp_path $work/t1; proxy_temp_path $work/t2; fastcgi_temp_path $work/t3; uwsgi_temp_path $work/t4; scgi_temp_path $work/t5;
  server {
    listen 127.0.0.1:$port;
    root $work/www;
    location /private/ { alias $work/www/; auth_basic images; auth_basic_user_file $work/passwords; }
    location /moved/ { return 302 http://127.0.0.1:$port/\$uri; }
  }
  server { listen 127.0.0.1:$proxy; location / { proxy_pass http://127.0.0.1:$port; } }
}
EOF
PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.log" &
pids+=($!)
wait_until "nginx answers" curl -sf "http://127.0.0.1:$port/i.caibx" -o /dev/null

echo "== nginx"
check "extract by URL" "$program" image extract "http://127.0.0.1:$port/i.caibx" out1
check "  the blob is whole" cmp out1 blob
check "extract a local index from a store by URL" "$program" image extract www/i.caibx out2 --store "http://127.0.0.1:$port/default.castr/"
check "  the blob is whole" cmp out2 blob
check "another compression" "$program" image extract www/raw.caibx out3 --store "http://127.0.0.1:$port/raw.castr"
check "  the blob is whole" cmp out3 blob
check "a cache is filled" "$program" image extract www/i.caibx out.cached --store "http://127.0.0.1:$port/default.castr" --cache-store near.castr --seed-output=no
check "  every chunk lies in it" test "$(find near.castr -name '*.cacnk' | wc -l)" = "$(find www/default.castr -name '*.cacnk' | wc -l)"
rm out.cached
check "  and is enough, with nobody behind it" "$program" image extract www/i.caibx out.cached --store "http://127.0.0.1:$(free_port)/default.castr" --cache-store near.castr
check "  the blob is whole" cmp out.cached blob
check "digest by URL" "$program" image digest "http://127.0.0.1:$port/i.caibx"
fails_with "a missing index" "is not there" "$program" image extract "http://127.0.0.1:$port/nowhere.caibx" x
fails_with "a missing store" "is not in the store" "$program" image extract www/i.caibx x --store "http://127.0.0.1:$port/nowhere"
fails_with "nobody there" "http://127.0.0.1:1/" "$program" image extract http://127.0.0.1:1/i.caibx x
check "an error leaves no output" test ! -e x
fails_with "a password is wanted" "status 401: give a user and password" "$program" image extract "http://127.0.0.1:$port/private/i.caibx" x
check "a password in the URL" "$program" image extract "http://user:secret@127.0.0.1:$port/private/i.caibx" out.private --seed-output=no
check "  the blob is whole" cmp out.private blob
fails_with "a wrong one is not shown" "http://user:…@127.0.0.1:$port/private/i.caibx" "$program" image extract "http://user:Secret@127.0.0.1:$port/private/i.caibx" x
fails_with "a redirect in a circle" "redirected more than 10 times" "$program" image extract "http://127.0.0.1:$port/moved/i.caibx" x
fails_with "a host that is not there is no missing chunk" "Could not resolve host" "$program" image extract www/i.caibx x --store http://images.invalid/default.castr
check "a proxy of the environment" env http_proxy="http://127.0.0.1:$proxy" "$program" image extract http://images.invalid/i.caibx out.proxy --seed-output=no
check "  the blob is whole" cmp out.proxy blob

echo "== our server"
"$program" image serve www --listen 127.0.0.1:0 > serve.log 2>&1 &
pids+=($!)
wait_until "image serve listens" grep -q http: serve.log
url=$(grep -o 'http://[0-9.:]*' serve.log)
check "casync extracts by URL" casync extract "$url/i.caibx" out4 --seed-output=no
check "  the blob is whole" cmp out4 blob
check "we extract by URL" "$program" image extract "$url/i.caibx" out5
check "  the blob is whole" cmp out5 blob
mkdir -p tree/folder && echo one > tree/folder/file && echo two > tree/other
casync make www/t.catar tree > /dev/null
casync make www/t.caidx tree --store=www/default.castr > /dev/null
for archive in t.catar t.caidx; do
  check "a part of $archive is extracted by URL" "$program" image extract "$url/$archive" "part.$archive" folder/file
  check "  it alone is there" test "$(cd "part.$archive" && echo *)$(cat "part.$archive/file")" = fileone
  for verb in list mtree stat digest; do
    check "$verb of a part by URL is what casync says" \
      cmp <("$program" image "$verb" "$url/$archive" folder) <(casync "$verb" "www/$archive" folder --store=www/default.castr)
  done
done
check "curl reads a range" curl -sf -r 10-19 "$url/i.caibx" -o range
check "  it is that range" cmp <(tail -c +11 www/i.caibx | head -c 10) range
check "curl keeps its connection" bash -c "curl -sv $url/i.caibx $url/i.caibx -o /dev/null -o /dev/null 2>&1 | grep -q 'Re-using existing connection'"
check "curl asks only for what is new" bash -c 'curl -sf --etag-save tag "$1/i.caibx" -o got.caibx && [ "$(curl -s --etag-compare tag "$1/i.caibx" -o none -w "%{http_code}")" = 304 ]' _ "$url"
fails_with "casync: a missing index" "" casync extract "$url/nowhere.caibx" y
fails_with "other files are not given" "404" curl -sSf "$url/../serve.log" --path-as-is
fails_with "writing is refused" "405" curl -sSf -X PUT "$url/i.caibx"
fails_with "other machines only when told so" "insecure" "$program" image serve www --listen 0.0.0.0:0

echo "== HTTPS"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
  -keyout key.pem -out certificate.pem 2> openssl.log
"$program" image serve www --listen 127.0.0.1:0 --certificate certificate.pem --key key.pem > https.log 2>&1 &
pids+=($!)
wait_for https.log 'https://'
https=$(grep -o 'https://[^ ]*' https.log | head -n 1)
for version in 1.2 1.3; do
  check "curl fetches an index by TLS $version" curl -sf --tlsv$version --tls-max $version --cacert certificate.pem "${https}i.caibx" -o got.caibx
  check "  it is whole" cmp got.caibx www/i.caibx
done
check "a range" bash -c '[ "$(curl -sf --cacert certificate.pem -r 0-99 "$1i.caibx" | cmp -n 100 - www/i.caibx && echo equal)" = equal ]' _ "$https"
check "many on one connection" bash -c 'curl -sf --cacert certificate.pem $(printf "$1i.caibx -o /dev/null %.0s" $(seq 50))' _ "$https"
check "an older TLS is refused" bash -c '! curl -sf --tlsv1.1 --tls-max 1.1 --cacert certificate.pem "$1i.caibx" -o got.caibx' _ "$https"
fails_with "a certificate nobody trusts is refused" "" curl -sSf "${https}i.caibx" -o got.caibx
fails_with "plain HTTP is no answer" "" curl -sSf "http://${https#https://}i.caibx" -o got.caibx
check "all of it by our client" env SSL_CERT_FILE="$work/certificate.pem" "$program" image extract "${https}i.caibx" out.https --no-sync
check "  the blob is whole" cmp out.https blob
mkdir trusted && cp certificate.pem "trusted/$(openssl x509 -hash -noout -in certificate.pem).0"
check "  by a folder of certificates" env SSL_CERT_DIR="$work/trusted" "$program" image digest "${https}i.caibx"
fails_with "  not without" "SSL_CERT_FILE" "$program" image digest "${https}i.caibx"
fails_with "a key that is none" "no key in PEM" "$program" image serve www --listen 127.0.0.1:0 --certificate certificate.pem --key blob
fails_with "a certificate without a key" "HTTPS takes both" "$program" image serve www --listen 127.0.0.1:0 --certificate certificate.pem
verdict
