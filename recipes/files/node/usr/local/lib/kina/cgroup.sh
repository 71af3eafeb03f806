# shellcheck shell=sh
# Control groups. On v2 there is nothing to do before systemd: the root group is not empty yet, so no controller can be
# enabled; kubelet's unit does it later. On v1 kubelet's own root has to exist in every hierarchy before systemd starts.
#
# kubelet gets a root of its own (/kubelet, which the systemd driver spells /kubelet.slice), because it would otherwise
# manage pods of another kubelet that shares the hierarchy.

# $1: mount point of a v1 hierarchy. Makes kubelet's roots in it.
make_kubelet_groups() {
	for group in kubelet kubelet.slice; do
		mkdir -p "$1/$group" || return 1
		# A new cpuset is empty, and an empty cpuset takes no process (ENOSPC).
		for file in cpuset.cpus cpuset.mems; do
			[ ! -e "$1/$file" ] || cat "$1/$file" >"$1/$group/$file"
		done
		# systemd removes groups it does not know; a mount point it cannot.
		mount --bind "$1/$group" "$1/$group" || return 1
	done
}

# Podman mounts the host's own systemd hierarchy over ours (v1, --systemd=always): every node's systemd would then share
# /init.scope and /system.slice with all others, and sweep out the groups that podman needs for `exec`. A mount whose root
# lies outside our cgroup namespace starts with "/..": below it is the right one. (Lazy, because that takes only the upper
# mount and what is mounted in it; --recursive would take both.)
uncover_own_hierarchies() {
	awk -v root="$KINA_ROOT/sys/fs/cgroup/" \
		'$4 ~ "^/[.][.]" && index($5, root) == 1 && substr($5, length(root) + 1) !~ "/" { print $5 }' \
		"$KINA_ROOT/proc/self/mountinfo" | while IFS= read -r foreign; do
		umount --lazy "$foreign" || log_warn "$foreign is the host's: nodes will disturb each other"
	done
}

# Since 258 systemd exits when it finds v1, and takes the node with it. The v2 hierarchy of such a host has few
# controllers or none, so limits do not hold and kubelet will complain, but the node boots.
needs_cgroup_v2() {
	version=$(systemctl --version 2>/dev/null | sed -n 's/^systemd \([0-9]*\).*/\1/p')
	[ "${version:-0}" -ge 258 ]
}

replace_v1() {
	log_warn 'systemd 258 and later need cgroup v2, this host has v1: mounting v2 without its controllers; use an older suite for Kubernetes here'
	umount --lazy "$1" && mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$1"
}

prepare_cgroups() {
	root=$KINA_ROOT/sys/fs/cgroup
	if [ -e "$root/cgroup.controllers" ]; then
		log_info 'detected cgroup v2'
		return 0
	fi
	hierarchies=$(awk -v root="$root/" \
		'$3 == "cgroup" && index($2, root) == 1 && substr($2, length(root) + 1) !~ "/" { print $2 }' \
		"$KINA_ROOT/proc/self/mounts" | sort -u)
	if [ -z "$hierarchies" ]; then
		log_info 'no cgroups are mounted: leaving them to systemd'
		return 0
	fi
	if needs_cgroup_v2; then
		replace_v1 "$root"
		return
	fi
	# kind waits for these very words on hosts with v1, where it may go on before systemd is up.
	log_info 'detected cgroup v1'
	if ! grep -Eq '^[0-9]+:([^:]*,)?cpu(,[^:]*)?:/$' "$KINA_ROOT/proc/self/cgroup"; then
		log_warn 'no private cgroup namespace: start nodes with --cgroupns=private'
	fi
	mount --make-rprivate "$root"
	uncover_own_hierarchies
	for hierarchy in $hierarchies; do
		make_kubelet_groups "$hierarchy" || log_warn "no group for kubelet in $hierarchy"
	done
}
