# shellcheck shell=sh
# Name resolution that pods can use too. Docker's resolver on user networks listens on 127.0.0.11, which is a different
# place inside a pod. Its port is reached through the gateway's address instead, from here and from pods; the packets
# never leave the node. Podman and Apple's runtime name a real address and need nothing.

KINA_DOCKER_DNS=127.0.0.11

# Rewritten in place: runtimes mount this file, and a mount point cannot be replaced.
rewrite_resolv_conf() {
	conf=$KINA_ROOT/etc/resolv.conf
	[ -f "$conf" ] || return 0
	new=$(sed "$@" "$conf") && printf '%s\n' "$new" >"$conf"
}

# $1 protocol. Prints the port to which Docker redirects its DNS address.
docker_dns_port() {
	iptables -t nat -S DOCKER_OUTPUT 2>/dev/null |
		sed -n "s/.*-p $1 .*--to-destination $KINA_DOCKER_DNS:\([0-9]*\).*/\1/p" | head -n 1
}

forward_docker_dns() {
	grep -qs "^nameserver[[:space:]]*$KINA_DOCKER_DNS\$" "$KINA_ROOT/etc/resolv.conf" || return 0
	gateway=$(ip -4 route show default | sed -n 's/.*via \([0-9.]*\).*/\1/p' | head -n 1)
	if [ -z "$gateway" ]; then
		log_warn "no default route: pods cannot reach Docker's resolver"
		return 0
	fi
	for protocol in udp tcp; do
		port=$(docker_dns_port "$protocol")
		if [ -z "$port" ]; then
			log_warn "Docker's $protocol resolver rule was not found: pods cannot use it"
			return 0
		fi
		for chain in OUTPUT PREROUTING; do
			iptables -t nat -A "$chain" -d "$gateway" -p "$protocol" --dport 53 \
				-j DNAT --to-destination "$KINA_DOCKER_DNS:$port" || return 1
		done
	done
	log_info "resolver $KINA_DOCKER_DNS is reached as $gateway"
	rewrite_resolv_conf "s/^\(nameserver[[:space:]]*\)$KINA_DOCKER_DNS\$/\1$gateway/"
}

# KIND_DNS_SEARCH unset: as the runtime wrote it. Empty: no search domains. Otherwise exactly these.
set_dns_search() {
	[ -n "${KIND_DNS_SEARCH+set}" ] || return 0
	rewrite_resolv_conf '/^search[[:space:]]/d' || return 1
	[ -z "$KIND_DNS_SEARCH" ] || printf 'search %s\n' "$KIND_DNS_SEARCH" >>"$KINA_ROOT/etc/resolv.conf"
}

configure_dns() {
	forward_docker_dns
	set_dns_search
}
