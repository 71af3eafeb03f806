#!/bin/sh
# OCI hook (createContainer) of every container: shows the node's product name and UUID instead of the host's. Gets the
# container's state as JSON on stdin. A failing hook fails the container, so this one never does; and since it runs for
# every container, it starts no program when there is nothing to hide, as in a virtual machine.

[ -e /kind/product_name ] || exit 0

bundle=$(sed -n 's/.*"bundle" *: *"\([^"]*\)".*/\1/p')

# $1: file in /kind, $2: path in the container.
cover() {
	[ ! -e "$bundle/rootfs$2" ] || mount -o bind,ro "/kind/$1" "$bundle/rootfs$2" 2>/dev/null
}

if [ -d "$bundle/rootfs" ]; then
	cover product_name /sys/class/dmi/id/product_name
	cover product_uuid /sys/class/dmi/id/product_uuid
	cover product_uuid /sys/devices/virtual/dmi/id/product_uuid
fi
exit 0
