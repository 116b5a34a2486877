# A small machine with Debian's kernel for tests of what this one's kernel may not have, sourced after lib.sh: QEMU without any help of
# the processor, this machine's files read-only beneath everything (9p), /dev, /proc, /sys and an empty /run of its own. What runs
# there are therefore the programs and libraries of here.

# Where scripts/test_kernel.sh has put the kernel and busybox.
vm_folder=${GODWIT_TEST_KERNEL:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/test-kernel}

needs_vm() {
  [ "$(uname -m)" = x86_64 ] || skip "needs an x86-64 machine, whose programs run in a virtual one"
  needs qemu-system-x86_64
  [ -e "$vm_folder/version" ] || skip "needs a kernel for a virtual machine: scripts/test_kernel.sh fetches Debian's, and make interop calls it"
}

# run_vm SECONDS MODULE… -- COMMAND…: boots it with these modules, runs the command there as root, prints what that says as it comes, and
# gives its exit code; a machine that has not ended after that time is a failure. Of the surroundings the command has the files alone:
# no variable, no network, /run (and $TMPDIR in it) empty. More modules lie in /run/modules, for /run/busybox insmod.
run_vm() {
  local seconds=$1 modules= command version root=$work/vm code
  shift
  while [ "$1" != -- ]; do
    modules="$modules $1"
    shift
  done
  shift
  command=$(printf ' %q' "$@")
  version=$(cat "$vm_folder/version")
  mkdir -p "$root"/{bin,dev,proc,sys,host}
  cp "$vm_folder/bin/busybox" "$root/bin/busybox"
  cp -r "$vm_folder/lib" "$root/lib"
  cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci 9pnet_virtio 9p$modules; do modprobe \$module || echo "vm: no module \$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro here /host || echo "vm: no files"
for folder in proc sys dev; do mount --bind /\$folder /host/\$folder; done
mount -t tmpfs run /host/run
mkdir -p /host/run/tmp /host/run/modules
mount --bind /lib/modules/$version/kernel /host/run/modules
cp /bin/busybox /host/run/busybox
ln -s /proc/self/fd /dev/fd
env -i HOME=/run PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run/tmp LC_ALL=C.UTF-8 chroot /host$command </dev/null 2>&1
echo "vm: ended with \$?"
poweroff -f
INIT
  chmod 755 "$root/init"
  (cd "$root" && find . | bin/busybox cpio -o -H newc 2>/dev/null) >"$work/vm.initrd"
  timeout "$seconds" qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 768 -nodefaults -no-reboot -display none -serial stdio \
    -kernel "$vm_folder/boot/vmlinuz-$version" -initrd "$work/vm.initrd" \
    -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off" \
    -virtfs local,path=/,mount_tag=here,security_model=none,readonly=on,multidevs=remap \
    </dev/null 2>&1 | sed -u 's/\r$//' | tee "$work/vm.log" || true
  code=$(sed -n 's/^vm: ended with \([0-9]*\)$/\1/p' "$work/vm.log")
  [ -n "$code" ] || { echo "the virtual machine did not come to an end within $seconds s" >&2; code=1; }
  return "$code"
}
