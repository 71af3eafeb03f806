# shellcheck shell=sh
# Who this node is: machine id, product UUID and name. kubelet reports the first two, and network plugins tell nodes
# apart by them. All nodes start from one image and may share one host, so each makes its own, once: it is kept
# until the node is renamed (that is, until somebody made another node out of it).

random_uuid() { cat /proc/sys/kernel/random/uuid; }

# $1: file, $2: file over it. Only where the kernel has the first.
cover() {
	[ -e "$KINA_ROOT$1" ] || return 0
	mount --bind "$KINA_ROOT$2" "$KINA_ROOT$1" && mount -o remount,bind,ro "$KINA_ROOT$1"
}

set_identity() {
	mkdir -p "$KINA_ROOT/kind" || return 1
	name=$(hostname)
	known=$(cat "$KINA_ROOT/kind/node-name" 2>/dev/null)
	if [ "$known" != "$name" ] || [ ! -s "$KINA_ROOT/etc/machine-id" ]; then
		log_info "new identity for $name"
		random_uuid | tr -d - >"$KINA_ROOT/etc/machine-id"
		random_uuid >"$KINA_ROOT/kind/product_uuid"
		printf '%s\n' "$name" >"$KINA_ROOT/kind/node-name"
	fi
	# A virtual machine has a product of its own; containers see the host's, which is the same for all of them and makes
	# cloud providers' agents believe that they run there.
	in_virtual_machine && return 0
	echo kind >"$KINA_ROOT/kind/product_name"
	cover /sys/class/dmi/id/product_name /kind/product_name
	cover /sys/class/dmi/id/product_uuid /kind/product_uuid
	cover /sys/devices/virtual/dmi/id/product_uuid /kind/product_uuid
}
