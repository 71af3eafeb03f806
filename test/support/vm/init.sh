#!/bin/sh
# The first process of a test machine, in the initramfs. It does what a runtime does before it starts a node: kernel
# modules, network, file systems, host name; then it hands over to the image's own init. The image on the disk stays as
# it was built: the modules come from here, and the agent lives in /run, which is a tmpfs.
export PATH=/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

option() { # NAME: the value of NAME=VALUE on the kernel's command line
    tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}

while read -r module; do
    insmod "/modules/$module.ko" || echo "vm: cannot load $module"
done </modules/order

name=$(option vm.hostname)
hostname "$name"
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

until [ -b /dev/vda ]; do sleep 0.1; done
mount -t ext4 /dev/vda /root || { echo "vm: no root file system"; poweroff -f; }

mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir -p /run/vm-agent /run/systemd/system/sysinit.target.wants
cp /agent/* /bin/busybox /run/vm-agent/
cp /agent/vm-agent.service /run/systemd/system/
ln -s ../vm-agent.service /run/systemd/system/sysinit.target.wants/

# As every container runtime does: these three belong to the machine, not to the image.
echo "$name" >/run/vm-agent/hostname
printf '127.0.0.1 localhost\n::1 localhost\n10.0.2.15 %s\n' "$name" >/run/vm-agent/hosts
echo 'nameserver 10.0.2.3' >/run/vm-agent/resolv.conf
for file in hostname hosts resolv.conf; do
    [ -e "/root/etc/$file" ] || : >"/root/etc/$file"
    mount --bind "/run/vm-agent/$file" "/root/etc/$file"
done

init=$(option vm.init | tr ',' ' ')
if [ "${init%% *}" != "/sbin/init" ]; then
    # An entrypoint expects what a container has; systemd mounts this by itself.
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
for mount in dev proc sys run; do mount --move "/$mount" "/root/$mount"; done
# shellcheck disable=SC2086 # one word per argument
exec switch_root /root $init
