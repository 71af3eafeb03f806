# shellcheck shell=sh
# Apple's container runtime: segments that a sibling VM's network card was meant to split get lost when this node
# forwards them (large transfers through a Service stall), so this end does not promise to take them.

disable_offload() {
	grep -qs vminitd "$KINA_ROOT/proc/cmdline" || return 0
	for interface in "$KINA_ROOT"/sys/class/net/eth*; do
		[ -e "$interface" ] || continue
		ethtool -K "${interface##*/}" tso off gso off >/dev/null 2>&1 ||
			log_warn "segmentation offload stays on for ${interface##*/}"
	done
}
