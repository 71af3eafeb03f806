# shellcheck shell=sh
# Which of the two iptables backends this kernel has, found by trying: kernels without nf_tables answer every nft
# command with EINVAL (exit status 4), newer ones may have dropped the legacy tables. Backends must not be mixed, so the
# choice is made once, before kubelet and CNI plugins write rules; images that bring their own iptables follow those rules.

# $1: nft or legacy. -t nat makes the kernel show that it can really hold the table that Services need. A refusal comes
# at once; the time is for machines so slow (emulated, overloaded) that loading the module alone takes many seconds.
backend_works() { timeout 60 "iptables-$1" -t nat -S >/dev/null 2>&1; }

# $1: nft or legacy. Number of rules there.
count_rules() { timeout 60 "iptables-$1-save" 2>/dev/null | grep -c '^-A'; }

use_backend() {
	for tool in iptables ip6tables; do
		update-alternatives --set "$tool" "/usr/sbin/$tool-$1" >/dev/null || return 1
	done
}

choose_iptables() {
	if backend_works nft; then
		backend=nft
		# A runtime whose host still uses legacy tables has put its DNS rules there before we started.
		if [ "$(count_rules nft)" -eq 0 ] && backend_works legacy && [ "$(count_rules legacy)" -gt 0 ]; then
			backend=legacy
		fi
	elif backend_works legacy; then
		backend=legacy
	else
		log_warn "kernel $(uname -r) has neither nf_tables nor legacy iptables: Services and most networks will not work; use a kernel with nf_tables"
		return 0
	fi
	log_info "iptables backend: $backend"
	use_backend "$backend"
}
