# shellcheck shell=sh
# Fits containerd's configuration to the machine. Only values that the image itself wrote are changed: what a user's
# patch put there stays, also over a restart.

KINA_CONTAINERD_CONFIG=/etc/containerd/config.toml

# $1 key, $2 value as TOML. Replaces the value on every line that sets the key; adds nothing.
config_set() {
	sed -i "s|^\([[:space:]]*$1[[:space:]]*=[[:space:]]*\).*|\1$2|" "$KINA_ROOT$KINA_CONTAINERD_CONFIG"
}

# $1 key. Prints the first value, without quotes.
config_get() {
	sed -n "s|^[[:space:]]*$1[[:space:]]*=[[:space:]]*\"\{0,1\}\([^\"#]*\)\"\{0,1\}.*|\1|p" \
		"$KINA_ROOT$KINA_CONTAINERD_CONFIG" | head -n 1
}

# A real overlay on the file system that will hold the snapshots, with the two things layers need: a new file, and a
# deleted one (a whiteout, which some file systems refuse although the mount itself works).
overlay_works() {
	store=$KINA_ROOT/var/lib/containerd
	mkdir -p "$store" && probe=$(mktemp -d "$store/.overlay-probe.XXXXXX") || return 1
	mkdir "$probe/lower" "$probe/upper" "$probe/work" "$probe/merged"
	echo >"$probe/lower/old"
	works=1
	if mount -t overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" \
		overlay "$probe/merged" 2>/dev/null; then
		# Not `:`, whose failing redirection would end this shell.
		if echo >"$probe/merged/new" && rm "$probe/merged/old" && [ ! -e "$probe/merged/old" ]; then
			works=0
		fi
		umount "$probe/merged"
	fi 2>/dev/null
	rm -rf "$probe"
	return $works
}

choose_snapshotter() {
	[ -f "$KINA_ROOT$KINA_CONTAINERD_CONFIG" ] || return 0
	wanted=${KINA_CONTAINERD_SNAPSHOTTER:-${KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER:-}}
	current=$(config_get snapshotter)
	if [ -z "$wanted" ]; then
		# Not ours any more, or already the fallback: the images are unpacked there.
		[ "$current" = overlayfs ] || return 0
		overlay_works && return 0
		wanted=native
		log_warn 'overlayfs does not work on /var/lib/containerd: using the native snapshotter, which is slow and large'
	fi
	case $wanted in
	*[!a-zA-Z0-9._-]*) log_error "not a snapshotter: $wanted" && return 1 ;;
	esac
	[ "$wanted" = "$current" ] && return 0
	log_info "containerd snapshotter: $wanted"
	config_set snapshotter "\"$wanted\""
}

# Lowering oom_score_adj takes CAP_SYS_RESOURCE (24) in the initial user namespace. Without it runc fails and no pod
# sandbox starts, unless containerd is told to make do with what it has.
restrict_oom_score() {
	[ -f "$KINA_ROOT$KINA_CONTAINERD_CONFIG" ] || return 0
	if in_user_namespace || ! has_capability 24; then
		log_info 'CAP_SYS_RESOURCE is missing: restricting oom_score_adj'
		config_set restrict_oom_score_adj true
	fi
}
