#!/usr/bin/env bash
# What is said when something is wrong, command by command: indexes that are missing, empty, cut, too new; chunks that are missing,
# damaged, cut, of no known compression; folders and files that cannot be read or written; remotes that are something else
# altogether. Each is to end with its code, to name what and where, to say what to do where that is known, and to leave nothing.
#
#   tests/end_to_end/image_errors_test.sh GODWIT
set -euo pipefail
godwit=$(realpath "${1:?usage: image_errors_test.sh GODWIT}")
. "$(dirname "$(realpath "$0")")/../lib.sh"
clean_up_more() { ! mountpoint -q "$work/full" || umount "$work/full"; }
needs openssl python3 mountpoint
unset CASYNC_STORE
export GODWIT_CACHE=$work/cache TMPDIR=$work/tmp
umask 022
cd "$work"

# refused CODE TEXT… -- COMMAND…: of `godwit image`. It ends with that code, every text is in what it says, and neither `new` nor
# something half made stays behind.
refused() {
  local code=$1 texts=() status=0 text left
  shift
  while [ "$1" != -- ]; do
    texts+=("$1")
    shift
  done
  shift
  timeout 30 "$godwit" image "$@" >out 2>err || status=$?
  [ "$status" -eq "$code" ] || failed "$*: it ends with $status, not $code: $(cat err)"
  for text in "${texts[@]}"; do
    grep -qF -- "$text" err || failed "$*: it does not say \"$text\" but: $(cat err)"
  done
  left=$(find . -maxdepth 1 -name new -o -maxdepth 1 -name '.#*' -o -maxdepth 1 -name '*.partial'; find tmp -mindepth 1)
  [ -z "$left" ] || failed "$*: it leaves $left"
  rm -rf new
}

mkdir tmp tree
random_bytes 1500000 >blob
cp blob tree/file
echo small >tree/small
"$godwit" image make blob.caibx blob --store castr >/dev/null
"$godwit" image make tree.caidx tree --store castr --without privileged >/dev/null
"$godwit" image make tree.catar tree --without privileged >/dev/null
cp -r castr good
store=(--store castr)

echo "- what is not there"
for verb in list mtree stat digest verify info export cat; do
  refused 1 "none.caidx: No such file" -- $verb none.caidx
done
for verb in list mtree stat digest; do refused 1 "none.catar': No such file" -- $verb none.catar; done
for kind in caibx caidx; do
  refused 1 "none.$kind: No such file" -- extract none.$kind new
  refused 1 "none.$kind: No such file" -- mount none.$kind new
  refused 1 "none.$kind: No such file" -- gc none.$kind "${store[@]}"
  refused 1 "none.$kind: No such file" -- diff none.$kind blob.caibx
done
refused 1 "none: No such file" -- make new.caibx none
refused 1 "none': No such file" -- make new.caidx none
refused 1 "none': No such file" -- make new.catar none
refused 1 "blob': Not a directory" -- make new.catar blob
refused 1 "tree is a directory" -- make new.caibx tree
for verb in digest verify cat; do refused 1 "nostore: No such file" -- $verb blob.caibx --store nostore; done
refused 1 "nostore: No such file" -- extract tree.caidx new --store nostore
[ ! -e nostore ] || failed "a store that was only to be read was made"

echo "- indexes and archives that are none, or of another time"
: >empty.caidx
: >empty.caibx
: >empty.catar
head -c -40 tree.caidx >cut.caidx
head -c -1000 tree.catar >cut.catar
python3 - <<'PY'
import struct
for name, at in (("tree.caidx", 16), ("blob.caibx", 16), ("tree.catar", 16)):
    data = bytearray(open(name, "rb").read())
    struct.pack_into("<Q", data, at, struct.unpack_from("<Q", data, at)[0] | 1 << 40)
    open(name.replace("tree", "later").replace("blob", "later"), "wb").write(data)
PY
for verb in digest verify cat info; do
  refused 1 "empty.caibx: no index: 0 bytes" -- $verb empty.caibx
  refused 1 "later.caibx: index, offset 16: feature flags" "0x10000000000" -- $verb later.caibx
done
for verb in extract mount; do
  refused 1 "empty.caidx: no index: 0 bytes" -- $verb empty.caidx new "${store[@]}"
  refused 1 "cut.caidx" "without a tail" -- $verb cut.caidx new "${store[@]}"
  refused 1 "later.caidx: index, offset 16: feature flags" -- $verb later.caidx new "${store[@]}"
  refused 1 "empty.catar: archive, offset 0: the archive ends here" -- $verb empty.catar new
  refused 1 "later.catar: archive, offset 0: feature flags" -- $verb later.catar new
done
for verb in list mtree digest; do
  refused 1 "empty.catar: archive, offset 0" -- $verb empty.catar
  refused 1 "cut.catar: archive, offset" "ends here" -- $verb cut.catar
done
refused 1 "empty.caidx" -- gc empty.caidx blob.caibx "${store[@]}"
[ -z "$(diff -r castr good)" ] || failed "a gc that was refused has taken something"

echo "- chunks"
id=$(python3 -c 'print(open("blob.caibx", "rb").read()[112:144].hex())')
chunk=castr/${id:0:4}/$id.cacnk
for what in missing damaged cut empty strange; do
  rm -f "$chunk"
  case $what in
    missing) said=("is not in the store castr" "--extra-store") ;;
    damaged)
      { head -c 1000 "good/${chunk#castr/}"; head -c 3000 /dev/zero; tail -c +4001 "good/${chunk#castr/}"; } >"$chunk"
      said=("in the store castr is damaged" "hash to" "verify --repair")
      ;;
    cut)
      head -c 1000 "good/${chunk#castr/}" >"$chunk"
      said=("is damaged" "it is cut off" "verify --repair")
      ;;
    empty)
      : >"$chunk"
      said=("is damaged" "is empty" "verify --repair")
      ;;
    strange)
      echo "<html>" >"$chunk"
      said=("is damaged" "neither zstd, xz nor gzip" "verify --repair")
      ;;
  esac
  for verb in digest cat; do refused 1 "$verb blob.caibx: chunk 1 of " "at offset" "$id" "${said[@]}" -- $verb blob.caibx "${store[@]}"; done
  refused 1 "extract blob.caibx: chunk 1 of " "at offset" "$id" "${said[@]}" -- extract blob.caibx new "${store[@]}"
  refused 1 "extract tree.caidx: " "chunk " "at offset" "$id" "${said[@]}" -- extract tree.caidx new "${store[@]}" --without privileged
  refused 1 "tree.caidx: " "$id" "${said[@]}" -- mtree tree.caidx "${store[@]}"
  refused 1 -- verify blob.caibx "${store[@]}"
  grep -q "$id" out || failed "verify does not name a $what chunk: $(cat out)"
  # One that has it helps, as it is said.
  if [ "$what" = missing ]; then check "another store has it" "$godwit" image digest blob.caibx "${store[@]}" --extra-store good; fi
done
rm -rf castr && cp -r good castr

echo "- remotes that are something else"
peer() { printf '#!/bin/sh\n%s\n' "$1" >peer && chmod +x peer; }
export CASYNC_SSH_PATH=$work/peer
asked() {  # TEXT…: by each way to ask
  refused 1 "index h:/i.caibx: " "$@" -- extract h:/i.caibx new
  refused 1 "extract blob.caibx: chunk " "h:/castr: " "$@" -- extract blob.caibx new --store h:/castr
  refused 1 "archive h:/t.catar: " "$@" -- extract h:/t.catar new
  refused 1 "archive h:/t.catar: " "$@" -- mount h:/t.catar new
  refused 1 "push to h:/i.caibx: " "$@" -- make h:/i.caibx blob --store h:/castr
  refused 1 "push to h:/t.catar: " "$@" -- make h:/t.catar tree
}
peer 'exec cat'  # which may also fail, since its input does not wait
asked "the remote "
cat >echo.py <<'PY'
import os
os.set_blocking(0, True)
os.set_blocking(1, True)
while data := os.read(0, 65536):
    os.write(1, data)
PY
peer "exec python3 $work/echo.py"
asked "nor anything else" "says again what it is told"
peer 'exec yes'
asked "not the casync protocol" 'y\x0ay'
peer 'exec true'
asked "the remote ended before it said anything"
peer 'exec false'
asked "the remote ended before it said anything" "exit code 1"
peer 'echo "Welcome to this host"; shift; exec "$@"'
asked "not the casync protocol" "Welcome to this " "login banner"
peer 'exit 127'
asked "exit code 127" "CASYNC_REMOTE_PATH"
peer 'echo "Permission denied (publickey)." >&2; exit 255'
asked "Permission denied (publickey)." "exit code 255" "not let in"
CASYNC_SSH_PATH=$work/nothing refused 1 "nothing: No such file" -- extract h:/i.caibx new

echo "- web servers that answer something else"
cat >web.py <<'PY'
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = {"gone": (404, b"<html>gone"), "html": (200, b"<html><body>It works!</body></html>" * 20),
                        "closed": (403, b"no"), "broken": (500, b"oops")}[self.path.split("/")[1]]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PY
python3 web.py >port 2>web.log &
pids+=($!)
wait_for port '[0-9]'
web="http://127.0.0.1:$(cat port)"
for row in "gone|is not there" "html|no index" "closed|status 403" "broken|status 500"; do
  place="$web/${row%%|*}" said=${row#*|}
  refused 1 "$place/i.caibx" "$said" -- extract "$place/i.caibx" new
  refused 1 "$place/i.caidx" "$said" -- list "$place/i.caidx"
  [ "$said" != "no index" ] || said="archive, offset"
  refused 1 "$place/t.catar" "$said" -- extract "$place/t.catar" new
  refused 1 "$place/t.catar" "$said" -- mount "$place/t.catar" new
done
for row in "gone|is not in the store" "html|is damaged" "closed|status 403" "broken|status 500"; do
  refused 1 "chunk " "$web/${row%%|*}" "${row#*|}" -- extract blob.caibx new --store "$web/${row%%|*}"
  refused 1 "chunk " "$web/${row%%|*}" "${row#*|}" -- extract tree.caidx new --store "$web/${row%%|*}" --without privileged
done

echo "- what may not be written or read"
refused 1 "no/new.caibx" "No such file" -- make no/new.caibx blob "${store[@]}"
refused 1 "no/new.catar" "No such file" -- make no/new.catar tree
refused 1 "no/new" "No such file" -- extract blob.caibx no/new "${store[@]}"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
  # As nobody, who may not read one file of the tree, or a folder.
  chmod 755 . && mkdir open && chmod 777 open tmp
  cp "$godwit" program && chmod 755 program
  root=$godwit
  nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
  printf '#!/bin/sh\nexec %s %s/program "$@"\n' "${nobody[*]}" "$work" >as_nobody && chmod 755 as_nobody
  godwit=$work/as_nobody
  export GODWIT_CACHE=$work/open/cache
  chmod 600 tree/file
  refused 1 "file': Permission denied" -- make open/new.catar tree
  refused 1 "file': Permission denied" -- make open/new.caidx tree --store open/castr
  refused 1 "tree/file: Permission denied" -- make open/new.caibx tree/file --store open/castr
  [ ! -e open/new.catar ] && [ ! -e open/new.caidx ] && [ ! -e open/new.caibx ] || failed "something half made: $(ls open)"
  chmod 644 tree/file && mkdir -m 700 tree/closed
  refused 1 "closed': Permission denied" -- make open/new.catar tree
  refused 1 "castr" "Permission denied" -- make open/other.caibx tree/small "${store[@]}"
  rmdir tree/closed
  godwit=$root
else echo "not shown: only root can be somebody else"; fi
if [ "$(id -u)" -eq 0 ] && mkdir full && mount -t tmpfs -o size=1m none full; then
  said="No space left on device"
  refused 1 "$said" "full/t.catar" -- make full/t.catar tree
  refused 1 "$said" "full/castr" -- make full/x.caibx blob --store full/castr --no-sync
  refused 1 "$said" "full/x" -- extract blob.caibx full/x "${store[@]}"
  refused 1 "$said" "file" -- extract tree.catar full/tree --without privileged
  rm -rf full/castr full/tree
  [ -z "$(ls -A full)" ] || failed "a full disk has $(ls -A full)"
  timeout 30 "$godwit" image cat blob.caibx "${store[@]}" >/dev/full 2>err && failed "a full standard output is no error" || true
  grep -q "$said" err || failed "a full standard output: $(cat err)"
else echo "not shown: no file system can be mounted here, so none is full"; fi
verdict
