# shellcheck shell=sh
# What this node runs on: a virtual machine or a container, with or without a user namespace, and the mounts PID 1 needs.
#
# Every path goes through $KINA_ROOT (empty in a node), so that the functions can be tried on a directory.

# A VM has its own kernel, so nothing in it must be hidden from a host. Apple's runtime also sets `container=…` for the
# process it starts as PID 1 of the VM, but its kernel was told to start vminitd.
in_virtual_machine() {
	[ -z "${container:-}" ] || grep -qs vminitd "$KINA_ROOT/proc/cmdline"
}

# The initial user namespace maps everything onto itself.
in_user_namespace() {
	[ -r "$KINA_ROOT/proc/self/uid_map" ] || return 1
	read -r inside outside count <"$KINA_ROOT/proc/self/uid_map" || return 1
	[ "$inside $outside $count" != '0 0 4294967295' ]
}

# $1: number of a capability. True when the bounding set (hexadecimal in /proc/self/status) has it.
has_capability() {
	set_of_all=$(sed -n 's/^CapBnd:[[:space:]]*//p' "$KINA_ROOT/proc/self/status" 2>/dev/null)
	# Unknown is not missing: the defaults are written for a node that may do everything.
	[ -n "$set_of_all" ] || return 0
	digits=$(($1 / 4))
	while [ "$digits" -gt 0 ]; do
		set_of_all=${set_of_all%?}
		digits=$((digits - 1))
	done
	digit=${set_of_all#"${set_of_all%?}"}
	[ $((0x${digit:-0} >> ($1 % 4) & 1)) -eq 1 ]
}

# A kernel that starts this as its init has mounted nothing; under a container runtime all of it is there.
mount_kernel_interfaces() {
	[ -e "$KINA_ROOT/proc/self" ] || mount -t proc -o nosuid,nodev,noexec proc "$KINA_ROOT/proc"
	[ -e "$KINA_ROOT/sys/kernel" ] || mount -t sysfs -o nosuid,nodev,noexec sysfs "$KINA_ROOT/sys"
	[ -e "$KINA_ROOT/dev/null" ] || mount -t devtmpfs -o nosuid,mode=0755 devtmpfs "$KINA_ROOT/dev"
}

# Says early what will hurt later; nothing here is a reason to stop.
check_rootless() {
	in_user_namespace || return 0
	log_info 'running in a user namespace (rootless)'
	open_files=$(awk '/^Max open files/ { print $5 }' "$KINA_ROOT/proc/self/limits")
	if [ "${open_files:-unlimited}" != unlimited ] && [ "$open_files" -lt 64000 ]; then
		log_warn "only $open_files open files are allowed; Kubernetes expects 64000"
	fi
	controllers=$KINA_ROOT/sys/fs/cgroup/cgroup.controllers
	for controller in cpu memory pids; do
		if [ -r "$controllers" ] && ! grep -qw "$controller" "$controllers"; then
			log_error "cgroup controller $controller is not delegated to this node: kubelet cannot start"
		fi
	done
}

# kubelet and CSI drivers mount in one place and expect to see it in another.
share_mounts() {
	mount --make-rshared /
}

# systemd takes a read-only /sys as the sign that devices are somebody else's (https://systemd.io/CONTAINER_INTERFACE/),
# and pods must not reach the host's. Only this mount: sysfs mounted in a pod's own network namespace is its own affair.
protect_sys() {
	in_virtual_machine && return 0
	if ! mount -o remount,bind,ro "$KINA_ROOT/sys" 2>/dev/null; then
		log_warn '/sys stays writable'
	fi
}
