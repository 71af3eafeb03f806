#!/bin/sh
# Makes /kubelet and /kubelet.slice with every controller, on cgroup v2. kubelet refuses to start when its root or one
# of the controllers is missing. Runs before kubelet does: by then systemd has moved every process out of the root
# group, without which the kernel accepts no controller there ("no internal processes", cgroup-v2.rst). Only the root of
# the whole hierarchy, which has no cgroup.type, is free of that rule and always holds the kernel's threads: that is
# what a virtual machine without a cgroup namespace sees.

root=${KINA_ROOT:-}/sys/fs/cgroup

fail() {
	printf 'ERROR: %s\n' "$*" >&2
	exit 1
}

# $1: group. Hands all of its controllers on to its children.
delegate() {
	# One by one: a controller that cannot be enabled (a real-time process holds cpu back) must not take the others along.
	tr ' ' '\n' <"$1/cgroup.controllers" | while IFS= read -r controller; do
		echo "+$controller" >"$1/cgroup.subtree_control" || echo "WARN: $1: controller $controller stays off" >&2
	done
}

[ -f "$root/cgroup.controllers" ] || fail 'this node has no cgroup v2'
[ ! -e "$root/cgroup.type" ] || [ -z "$(cat "$root/cgroup.procs")" ] || fail 'the root cgroup still has processes'

delegate "$root"
for group in kubelet kubelet.slice; do
	mkdir -p "$root/$group" || fail "cannot make the cgroup /$group"
	delegate "$root/$group"
done
