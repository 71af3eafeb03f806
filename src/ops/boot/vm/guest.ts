/**
 * The programs that run in the machine besides the image: the first process of the initramfs, and an agent that executes
 * commands. Shell scripts for busybox, kept here because they are part of an initramfs and not of an image.
 */

/**
 * Does the work of a container runtime before it starts a node: kernel modules, network, file systems, host name. Then it
 * starts the image's first process with the image's environment. The image on the disk is not changed, except for one
 * file that powers off: modules stay in the initramfs, and the agent is in /run, which is a tmpfs.
 */
export const initScript = String.raw`#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev

while read -r module; do
    insmod "/modules/$module.ko" || echo "vm: cannot load $module"
done </modules/order

name=$(cat /agent/name)
hostname "$name"
read -r command_line </proc/cmdline
network=10.0.2
for word in $command_line; do
    case $word in vm.network=*) network=${'$'}{word#*=} ;; esac
done
ip link set lo up
ip link set eth0 up
ip address add "$network.15/24" dev eth0
ip route add default via "$network.2"

until [ -b /dev/vda ]; do sleep 0.1; done
mount -t ext4 /dev/vda /root || { echo "vm: no root file system"; poweroff -f; }

mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir -p /run/vm-agent /run/systemd/system/sysinit.target.wants
cp /agent/* /bin/busybox /run/vm-agent/
cp /agent/vm-agent.service /run/systemd/system/
ln -s ../vm-agent.service /run/systemd/system/sysinit.target.wants/

# As every container runtime does: these three belong to the machine, not to the image.
echo "$name" >/run/vm-agent/hostname
printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n' "$network.15" "$name" >/run/vm-agent/hosts
echo "nameserver $network.3" >/run/vm-agent/resolv.conf
for file in hostname hosts resolv.conf; do
    [ -e "/root/etc/$file" ] || : >"/root/etc/$file"
    mount --bind "/run/vm-agent/$file" "/root/etc/$file"
done

# systemd in a container leaves the disk and the power to its creator: here that is this script, run at the very end. The
# one file put on the disk, because what is mounted is gone by then.
[ -d /root/usr/lib/systemd ] && {
    mkdir -p /root/usr/lib/systemd/system-shutdown
    cp /agent/power-off /root/usr/lib/systemd/system-shutdown/
}

# An entrypoint expects what a container has; systemd would mount this by itself.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for mount in dev proc sys run; do mount --move "/$mount" "/root/$mount"; done
. /start
`;

/**
 * One request per line on a virtio-serial port: ID SECONDS BASE64-COMMAND; one answer per line: ID CODE BASE64-STDOUT
 * BASE64-STDERR. The first line tells that the agent is ready. Output goes through files, so that a command that leaves a
 * process behind does not delay the answer.
 */
export const agentScript = String.raw`#!/run/vm-agent/busybox sh
busybox=/run/vm-agent/busybox
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = vm.agent ] && device=/dev/${'$'}{port##*/}
done
exec 3<>"$device"
echo ready >&3
cd /
while read -r id seconds command <&3; do
    echo "$command" | $busybox base64 -d >/run/vm-agent/command
    $busybox timeout -k 5 "$seconds" /bin/sh /run/vm-agent/command \
        >/run/vm-agent/stdout 2>/run/vm-agent/stderr </dev/null 3>&-
    code=$?
    printf '%s %s %s %s\n' "$id" "$code" \
        "$($busybox base64 -w 0 /run/vm-agent/stdout)" "$($busybox base64 -w 0 /run/vm-agent/stderr)" >&3
done
`;

/** The disk has no journal, so it must be synced before power-off. */
export const powerOffScript = `#!/run/vm-agent/busybox sh
busybox=/run/vm-agent/busybox
$busybox sync
$busybox mount -o remount,ro /
$busybox poweroff -f
`;

/** Part of sysinit.target, so that it runs before anything in the image can fail. */
export const agentUnit = `[Unit]
Description=Commands from outside the machine
DefaultDependencies=no

[Service]
Environment=HOME=/root
ExecStart=/run/vm-agent/busybox sh /run/vm-agent/agent.sh
Restart=no
KillMode=process
`;

/** Executes the image's first process, as in its config. */
export function startScript(argv: readonly string[], env: readonly string[]): string {
  const exports = env.filter((line) => /^[A-Za-z_]\w*=/.test(line)).map((line) => `export ${assigned(line)}`);
  return `${[...exports, `exec /bin/switch_root /root ${argv.map(quoted).join(' ')}`].join('\n')}\n`;
}

function assigned(line: string): string {
  const at = line.indexOf('=');
  return `${line.slice(0, at)}=${quoted(line.slice(at + 1))}`;
}

const quoted = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;
