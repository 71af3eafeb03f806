# shellcheck shell=sh
# Repair after a restart with another address. Runtimes give out addresses anew at every start (Apple's always a
# different one), while kubeadm wrote the old one into manifests, kubeconfigs and certificates.

# $1: 4 or 6. Prints the node's address: as its name resolves (the runtime writes /etc/hosts), else from the interface.
current_address() {
	address=$(timeout 5 getent "ahostsv$1" "$(hostname)" 2>/dev/null | awk 'NR == 1 { print $1 }')
	case $address in
	'' | 127.* | ::1 | ::ffff:*)
		address=$(ip "-$1" -o addr show scope global 2>/dev/null |
			awk 'NR == 1 { sub("/.*", "", $4); print $4 }')
		;;
	esac
	printf '%s' "$address"
}

# $1 old, $2 new address, $3 file. The characters around a match must not belong to a longer address. Two passes,
# because neighbouring matches share that character.
replace_address() {
	old=$(printf '%s' "$1" | sed 's/\./\\./g')
	case $1 in
	*:*) edge='[^0-9a-fA-F:]' ;;
	*) edge='[^0-9.]' ;;
	esac
	whole="s/(^|$edge)$old(\$|$edge)/\\1$2\\2/g"
	sed -i -E -e "$whole" -e "$whole" "$3"
}

files_with_addresses() {
	for file in "$KINA_ROOT"/etc/kubernetes/manifests/*.yaml "$KINA_ROOT"/etc/kubernetes/*.conf \
		"$KINA_ROOT/kind/kubeadm.conf" "$KINA_ROOT/var/lib/kubelet/kubeadm-flags.env" \
		"$KINA_ROOT/var/lib/kubelet/config.yaml"; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done
}

# $1 name of kubeadm's phase, $2 path of the certificate without suffix. The old one comes back if no new one can be made:
# a certificate with a wrong address still serves every client that comes by name.
renew_certificate() {
	[ -f "$2.crt" ] && [ -f "$2.key" ] || return 0
	mv "$2.crt" "$2.crt.old" && mv "$2.key" "$2.key.old" || return 1
	if kubeadm init phase certs "$1" --config "$KINA_ROOT/kind/kubeadm.conf" >/dev/null 2>&1 && [ -f "$2.crt" ]; then
		rm -f "$2.crt.old" "$2.key.old"
		log_info "new certificate: $1"
	else
		mv "$2.crt.old" "$2.crt"
		mv "$2.key.old" "$2.key"
		log_warn "kubeadm made no new $1 certificate: it still names the old address"
	fi
}

renew_certificates() {
	pki=$KINA_ROOT/etc/kubernetes/pki
	[ -f "$pki/apiserver.crt" ] || return 0
	if [ ! -f "$KINA_ROOT/kind/kubeadm.conf" ]; then
		log_warn '/kind/kubeadm.conf is missing: the certificates still name the old address'
		return 0
	fi
	renew_certificate apiserver "$pki/apiserver"
	renew_certificate etcd-server "$pki/etcd/server"
	renew_certificate etcd-peer "$pki/etcd/peer"
}

repair_addresses() {
	changed=
	mkdir -p "$KINA_ROOT/kind"
	for family in 4 6; do
		record=$KINA_ROOT/kind/old-ipv$family
		new=$(current_address "$family")
		known=$(cat "$record" 2>/dev/null)
		if [ -z "$new" ]; then
			[ -z "$known" ] || log_error "this node had the address $known and has none now"
			continue
		fi
		log_info "IPv$family address: $new"
		if [ -n "$known" ] && [ "$known" != "$new" ]; then
			log_info "the address was $known: repairing configuration"
			files_with_addresses | while IFS= read -r file; do
				replace_address "$known" "$new" "$file"
			done
			changed=1
		fi
		printf '%s' "$new" >"$record"
	done
	[ -z "$changed" ] || renew_certificates
}
