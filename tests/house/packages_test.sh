#!/usr/bin/env bash
# scripts/packages.sh on machines we do not have: apt, dpkg-query, sudo and id are stand-ins that write down what they are asked.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fake() {  # NAME SCRIPT
  printf '#!/bin/bash\n%s\n' "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}
# machine DISTRIBUTION VERSION INSTALLED...: a fresh one, of a user who is root
machine() {
  rm -rf "$work/bin" && mkdir "$work/bin"
  printf 'ID=%s\nVERSION_ID="%s"\n' "$1" "$2" >"$work/os-release"
  : >"$work/asked"
  shift 2
  printf '%s\n' "$@" >"$work/installed"
  fake id 'echo 0'
  fake sleep 'echo "sleep $*" >>"'"$work"'/asked"'
  fake dpkg-query 'status=0
    for name; do case $name in -*) ;; *)
      if grep -qx "$name" "'"$work"'/installed"; then
        case "$*" in *Package*) echo "installed $name" ;; *) printf installed ;; esac
      else status=1; fi ;; esac
    done
    exit $status'
  fake apt-get 'echo "apt-get $*" >>"'"$work"'/asked"
    case "$*" in *" install "*) for name; do case $name in -*|*=*|install) ;; *) echo "$name" >>"'"$work"'/installed" ;; esac; done ;; esac'
  fake sudo 'echo "sudo" >>"'"$work"'/asked"; "$@"'
}
run() {
  PATH="$work/bin:$PATH" GODWIT_OS_RELEASE="$work/os-release" GODWIT_PACKAGE_LISTS="${lists-}" \
    CMAKE_PREFIX_PATH="${prefix-}" \
    "$root/scripts/packages.sh" "$@" >"$work/out" 2>&1 </dev/null
}
expect() {  # DESCRIPTION CONDITION...
  local what=$1
  shift
  if "$@"; then
    echo "ok: $what"
  else
    echo "FAILED: $what"
    sed 's/^/  said: /' "$work/out"
    sed 's/^/  asked: /' "$work/asked"
    failed=1
  fi
}
says() { grep -q -- "$1" "$work/out"; }
asked() { grep -q -- "$1" "$work/asked"; }
asked_nothing() { [ ! -s "$work/asked" ]; }
not() { ! "$@"; }
times_asked() { [ "$(grep -c -- "$1" "$work/asked")" -eq "$2" ]; }

machine debian 12 g++ cmake
run demo
expect "what is missing is installed" asked 'install --yes --no-remove --no-install-recommends e2fsprogs'
expect "and named before" says 'installing e2fsprogs'
expect "root needs no sudo" not asked sudo
: >"$work/asked"
run demo
expect "the second time nothing happens" asked_nothing
expect "and nothing is said" [ ! -s "$work/out" ]

machine debian 12 e2fsprogs
run demo format
expect "lists add up, without what is there" asked 'recommends clang-format-19$'

machine debian 12
fake id 'echo 1000'
run demo
expect "others go through sudo" asked sudo

machine debian 12
fake apt-get 'echo "apt-get $*" >>"'"$work"'/asked"; echo "E: Failed to fetch"; exit 100'
run demo
expect "a network that stays away ends it" [ $? -ne 0 ]
expect "after three tries" times_asked ' install ' 3
expect "with apt's own words" says 'Failed to fetch'

machine debian 12
fake apt-get 'echo "apt-get $*" >>"'"$work"'/asked"; [ "$(grep -c " install " "'"$work"'/asked")" -ge 2 ]'
run demo
expect "a hiccup passes" [ $? -eq 0 ]

machine debian 12
fake apt-get 'echo "apt-get $*" >>"'"$work"'/asked"; echo "E: Packages need to be removed but remove is disabled."; exit 100'
run demo
expect "what would remove something is not tried again" times_asked ' install ' 1

machine debian 12 libboost1.74-dev
run build
expect "Boost 1.74 is not removed" [ $? -ne 0 ]
expect "nothing is installed beside it" asked_nothing
expect "and it says what to do" says 'CMAKE_PREFIX_PATH='

mkdir -p "$work/boost/include/boost"
echo '#define BOOST_VERSION 108100' >"$work/boost/include/boost/version.hpp"
prefix=/nowhere:$work/boost run build
expect "a Boost of one's own is taken" asked 'libssl-dev'
expect "in place of the package" not asked 'libboost'

machine ubuntu 24.04
mkdir -p "$work/lists"
printf '# nothing\nbash command:bash\ncstdlib header:cstdlib\n' >"$work/lists/there.txt"
printf 'wings command:flap-wings\n' >"$work/lists/lacking.txt"
lists=$work/lists run there
expect "another system goes on with what is there" [ $? -eq 0 ]
lists=$work/lists run there lacking
expect "or stops" [ $? -ne 0 ]
expect "and says what it wants" says 'wings (command:flap-wings)'
expect "and installs nothing" asked_nothing

run no-such-list
expect "an unknown list is refused" [ $? -ne 0 ]
exit $failed
