#!/usr/bin/env bash
# What tests in a virtual machine boot (tests/virtual_machine.sh): Debian's kernel, with what these need of its modules, and its static
# busybox. The packages are downloaded and unpacked into FOLDER; nothing is installed, since a machine's own kernel and busybox are its
# own affair. Without apt, without the packages or without the network it says so and succeeds: those tests then skip.
#
#   scripts/test_kernel.sh [FOLDER]     (default: build/test-kernel)
set -euo pipefail
folder=${1:-$(dirname "$0")/../build/test-kernel}
[ ! -e "$folder/version" ] || exit 0

say() { printf 'test kernel: %s\n' "$*" >&2; }
give_up() { say "$@; tests in a virtual machine will be skipped"; exit 0; }

[ "$(uname -m)" = x86_64 ] || give_up "only for x86-64"
for program in apt-get apt-cache dpkg-deb; do
  command -v "$program" >/dev/null || give_up "no $program here"
done
package=$(apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$package" ] || give_up "apt knows no package linux-image-amd64"
version=${package#linux-image-}

mkdir -p "$(dirname "$folder")"
partial=$(mktemp -d "$folder.partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT
chmod 755 "$partial"
say "downloading $package and busybox-static"
(cd "$partial" && timeout 240 apt-get -qq -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o APT::Sandbox::User=root \
  download "$package" busybox-static) || give_up "they can not be downloaded"
modules=./lib/modules/$version/kernel
dpkg-deb --fsys-tarfile "$partial"/linux-image-*.deb | tar -x -C "$partial" --wildcards "./boot/vmlinuz-$version" \
  "$modules"/drivers/virtio "$modules"/drivers/block/{nbd,loop}.ko "$modules"/net/9p "$modules"/lib "$modules/crypto/crc32c*" \
  "$modules"/fs/{9p,ext4,fat,fscache,jbd2,netfs,nls,squashfs} "$modules"/fs/mbcache.ko || give_up "the kernel's package is not laid out as expected"
dpkg-deb --fsys-tarfile "$partial"/busybox-static_*.deb | tar -x -C "$partial" ./bin/busybox || give_up "there is no busybox in its package"
"$partial/bin/busybox" depmod -b "$partial" "$version"
rm "$partial"/*.deb
echo "$version" >"$partial/version"
rm -rf "$folder"
mv -T "$partial" "$folder"
trap - EXIT
