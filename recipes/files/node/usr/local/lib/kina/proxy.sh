# shellcheck shell=sh
# Proxy variables for every unit. systemd does not pass on the environment of PID 1, and a container runtime gives
# the variables to PID 1 only.

KINA_PROXY_CONF=/etc/systemd/system.conf.d/10-kina-proxy.conf

# $1 name, $2 value: one quoted item of DefaultEnvironment=, where backslash and quote escape and % starts a specifier.
proxy_item() {
	printf ' "%s=%s"' "$1" "$(printf '%s' "$2" | tr -d '\n' | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g')"
}

write_proxies() {
	items=
	for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
		eval "value=\${$name:-}"
		# The image declares the upper-case names empty: that is "none", not a proxy without a name.
		[ -z "$value" ] || items=$items$(proxy_item "$name" "$value")
	done
	if [ -z "$items" ]; then
		rm -f "$KINA_ROOT$KINA_PROXY_CONF"
		return 0
	fi
	mkdir -p "$KINA_ROOT${KINA_PROXY_CONF%/*}" &&
		printf '[Manager]\nDefaultEnvironment=%s\n' "${items# }" >"$KINA_ROOT$KINA_PROXY_CONF"
}
