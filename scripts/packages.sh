#!/usr/bin/env bash
# Installs what the named lists (scripts/packages/NAME.txt) ask for and this machine lacks: on Debian 12 with apt, as root or
# through sudo. It prints what it installs, asks nothing, removes nothing, and when nothing is missing it does nothing.
# On another system it installs nothing: it says which packages it wants, and succeeds if the programs and headers are there.
#
#   scripts/packages.sh build test
set -euo pipefail
# The two variables are for its own test.
cd "${GODWIT_PACKAGE_LISTS:-$(dirname "$0")/packages}"
os_release=${GODWIT_OS_RELEASE:-/etc/os-release}

say() { printf 'packages: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

[ $# -gt 0 ] || { echo "usage: scripts/packages.sh LIST..., of: $(basename -s .txt -- *.txt | xargs)" >&2; exit 2; }
names=() proofs=()
for list in "$@"; do
  [ -f "$list.txt" ] || fail "no list named $list in scripts/packages"
  while read -r name proof _; do
    case "$name" in '' | '#'*) continue ;; esac
    case " ${names[*]-} " in *" $name "*) continue ;; esac
    names+=("$name") proofs+=("$proof")
  done <"$list.txt"
done

# Is there a Boost of 1.81 or newer in a folder that CMake is told to look into (CMAKE_PREFIX_PATH)?
boost_in_prefix() {
  local prefix version
  while IFS= read -r -d ':' prefix; do
    version=$(sed -n 's/^#define BOOST_VERSION \([0-9]*\)$/\1/p' "$prefix/include/boost/version.hpp" 2>/dev/null || true)
    [ "${version:-0}" -ge 108100 ] && return 0
  done <<<"${CMAKE_PREFIX_PATH-}:"
  return 1
}

on_debian_12() {
  [ -r "$os_release" ] && command -v apt-get >/dev/null || return 1
  # shellcheck disable=SC1090
  (. "$os_release" && [ "${ID-}" = debian ] && [ "${VERSION_ID-}" = 12 ])
}

is_there() {  # command:NAME or header:NAME
  case "$1" in
    command:*) PATH="$PATH:/usr/sbin:/sbin" command -v "${1#command:}" >/dev/null ;;
    header:*) printf '#include <%s>\n' "${1#header:}" |
      CPATH="$(printf '%s' "${CMAKE_PREFIX_PATH:+${CMAKE_PREFIX_PATH//://include:}/include}")" \
        "${CXX:-g++}" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ;;
    *) return 1 ;;
  esac
}

if ! on_debian_12; then
  missing=()
  for i in "${!names[@]}"; do
    is_there "${proofs[$i]}" || missing+=("${names[$i]} (${proofs[$i]})")
  done
  [ ${#missing[@]} -eq 0 ] && exit 0
  say "this is not Debian 12, so nothing is installed. Wanted are, by their names there: ${names[*]}"
  say "not found here:"
  printf '  %s\n' "${missing[@]}" >&2
  fail "install these in your system's own way, then run the same command again"
fi

# dpkg-query fails when it does not know one of them, and lists the others all the same.
known=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${names[@]}" 2>/dev/null || true)
installed=" $(sed -n 's/^installed //p' <<<"$known" | tr '\n' ' ') "
missing=()
for name in "${names[@]}"; do
  case "$installed" in *" $name "*) continue ;; esac
  case "$name" in libboost*) boost_in_prefix && continue ;; esac
  missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0

case " ${missing[*]} " in *" libboost1.81-dev "*)
  if [ "$(dpkg-query -W -f='${db:Status-Status}' libboost1.74-dev 2>/dev/null || true)" = installed ]; then
    cat >&2 <<'EOF'
packages: libboost1.74-dev is installed here, and Debian does not let libboost1.81-dev stand beside it. Nothing was changed.
Unpack Boost 1.81 into a folder of its own, which needs no root and leaves 1.74 alone:

  mkdir -p ~/boost-1.81 && cd ~/boost-1.81
  apt-get download libboost1.81-dev libboost-json1.81-dev libboost-json1.81.0 libboost-container1.81-dev \
                   libboost-container1.81.0 libboost-system1.81-dev libboost-system1.81.0
  for package in *.deb; do dpkg -x "$package" .; done
  export CMAKE_PREFIX_PATH=~/boost-1.81/usr

and run the same command again, in the same shell. Or build in a container or chroot of Debian 12.
EOF
    exit 1
  fi ;;
esac

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "root or sudo is needed for: apt-get install ${missing[*]}"
  as_root=(sudo)
fi
say "installing ${missing[*]}"
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 \
    -o Acquire::http::Timeout=30 -qq "$@" </dev/null
}
# A hiccup of the network is common and short; three tries, and never a wait without an end. What counts is the installation:
# a source of this machine's that has nothing to do with us may be out of reach.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for try in 1 2 3; do
  apt update >"$log" 2>&1 || true
  if apt install --yes --no-remove --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
    exit 0
  fi
  # What apt refuses for the sake of other packages will be refused again.
  grep -Eq 'unmet dependencies|need to be removed|held broken' "$log" && break
  [ "$try" -lt 3 ] && say "apt did not get through (try $try of 3), again in $((try * 5)) s" && sleep $((try * 5))
done
tail -n 30 "$log" >&2
fail "not installed: ${missing[*]} (apt's own words are above)"
