#!/usr/bin/env bash
# The library as others use it: installed into an empty folder, found by CMake and by pkg-config, and the example programs built
# outside of the tree and run. The first argument is the program, beside whose build folder the library lies.
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$(dirname "$1")/.." && pwd)
source "$(dirname "$0")/../lib.sh"

cmake --install "$build" --prefix "$work/prefix" --component homa >"$work/install.log" || { cat "$work/install.log"; die "not installed"; }
for file in include/godwit/homa.h include/godwit/homa.hpp share/man/man1/godwit-homa.1 share/man/man3/godwit_homa.3 share/man/man7/godwit_homa.7; do
  [ -s "$work/prefix/$file" ] || die "$file was not installed"
done
library=$(find "$work/prefix" -name 'libgodwit-homa.so.0')
[ -n "$library" ] || die "libgodwit-homa.so.0 was not installed"
foreign=$(nm -D --defined-only -C "$library" | grep -vE ' (homa_|godwit::homa::|(vtable|typeinfo|typeinfo name) for )' |
  grep -E ' T ' || true)
[ -z "$foreign" ] || die "symbols that are not of the interface: $foreign"

cp -r "$source/examples/homa" "$work/examples"
cmake -S "$work/examples" -B "$work/built" -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_BUILD_TYPE=Debug >"$work/cmake.log" 2>&1 &&
  cmake --build "$work/built" >>"$work/cmake.log" 2>&1 || { tail -30 "$work/cmake.log"; die "the examples were not built with CMake"; }

PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name godwit-homa.pc)")
export PKG_CONFIG_PATH
# shellcheck disable=SC2046
cc -std=c11 -Wall -Wextra -Wpedantic -Werror -o "$work/word_count" "$work/examples/word_count.c" $(pkg-config --cflags --libs godwit-homa)
LD_LIBRARY_PATH=$(dirname "$library")
export LD_LIBRARY_PATH

# What a server says when it is ready; it says nothing else.
await() { for _ in $(seq 200); do [ -s "$1" ] && return; sleep 0.05; done; die "the server did not start: $(cat "$1".err)"; }

"$work/built/key_value" serve 127.0.0.1:0 >"$work/store" 2>"$work/store.err" & pids+=($!)
await "$work/store"
at=$(sed -n 's/^serving at //p' "$work/store")
[ "$("$work/built/key_value" "$at" get colour)" = nothing ] || die "an empty store has something"
[ "$("$work/built/key_value" "$at" set colour light blue)" = ok ] || die "set"
[ "$("$work/built/key_value" "$at" get colour)" = "= light blue" ] || die "get"

port=$((20000 + RANDOM % 10000))
"$work/word_count" serve "127.0.0.1:$port" >"$work/words" 2>"$work/words.err" & pids+=($!)
await "$work/words"
[ "$("$work/word_count" "127.0.0.1:$port" "four words to count")" = "4 words" ] || die "word_count"
echo "homa_library: installed, found, built against and used"
