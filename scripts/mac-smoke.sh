#!/bin/sh
# Runs kina on a Mac with Apple's container, from an empty runtime to nothing left, and writes a report to paste into an
# issue. kina has not been run on every kind of Mac: the report shows what is different on yours.
#
#   scripts/mac-smoke.sh [VERSION]           create, several nodes, load, stop and start, delete (about 15 minutes)
#   scripts/mac-smoke.sh --before-reboot     leaves a cluster; reboot the Mac, start the container service, then
#   scripts/mac-smoke.sh --after-reboot      looks whether it comes back, and deletes it
#
# It makes clusters called kina-smoke and kina-smoke-nodes, and touches nothing else: the kubeconfig is a file of its own.
# KINA names the program to run instead of the kina of this folder.
# shellcheck disable=SC2317 # functions are called through step and show
set -u

here=$(cd "$(dirname "$0")/.." && pwd)
kina=${KINA:-$here/bin/kina.js}
work=${TMPDIR:-/tmp}/kina-smoke
report=$work/report.md
export KUBECONFIG="$work/kubeconfig" KINA_PROVIDER="${KINA_PROVIDER:-apple}"
mkdir -p "$work"

say() { printf '%s\n' "$*" | tee -a "$report"; }

# $1: title; the rest: a command. Its output goes into the report when it fails, its time always.
step() {
	title=$1
	shift
	began=$(date +%s)
	if "$@" >"$work/output" 2>&1; then
		say "| $title | ok | $(($(date +%s) - began)) s |"
	else
		code=$?
		failed=1
		say "| $title | **failed, $code** | $(($(date +%s) - began)) s |"
		{
			echo "## $title"
			echo
			echo '```'
			tail -n 40 "$work/output"
			echo '```'
			echo
		} >>"$work/failures"
	fi
}

# $1: title; the rest: a command. What it prints, whatever its end, for the last part of the report.
show() {
	{
		echo "## $1"
		shift
		echo
		echo '```'
		# Paths tell the name of who runs this.
		"$@" 2>&1 | sed "s|$HOME|~|g" | tail -n 30
		echo '```'
		echo
	} >>"$work/facts"
}

has_kubectl() { command -v kubectl >/dev/null 2>&1; }

# All nodes of a cluster are Ready and every one reaches every other by name.
nodes_ready() {
	node=$("$kina" get nodes --name "$1" | grep control-plane | head -n 1) || return 1
	"$kina" exec "$node" -- kubectl --kubeconfig=/etc/kubernetes/admin.conf get nodes --output wide
	for other in $("$kina" get nodes --name "$1"); do
		"$kina" exec "$node" -- getent hosts "$other" || return 1
		"$kina" exec "$node" -- kubectl --kubeconfig=/etc/kubernetes/admin.conf wait --for=condition=Ready \
			--timeout=60s "node/$other" || return 1
	done
}

# From this Mac, through the published port.
api_answers() {
	if has_kubectl; then
		kubectl --context "kina-$1" get --raw=/readyz
	else
		server=$("$kina" get kubeconfig --name "$1" | sed -n 's/^ *server: *//p' | head -n 1)
		curl --silent --show-error --fail --insecure "$server/readyz"
	fi
}

facts() {
	node=$("$kina" get nodes --name "$1" | grep control-plane | head -n 1)
	show "Nodes of $1" "$kina" get nodes --name "$1" --json
	show "Inside $node" "$kina" exec "$node" -- sh -c 'uname -a; cat /proc/cmdline; cat /proc/filesystems | grep -w overlay;
		readlink -f /usr/sbin/iptables; grep -m1 snapshotter /etc/containerd/config.toml; ip -o addr show dev eth0;
		cat /proc/meminfo | head -n 1; nproc; systemctl is-system-running; systemctl --failed --no-legend'
}

header() {
	: >"$report"
	: >"$work/failures"
	: >"$work/facts"
	say "# kina on a Mac, $(date -u +%Y-%m-%dT%H:%MZ)"
	say
	show kina "$kina" version
	show macOS sw_vers
	show Mac sysctl -n machdep.cpu.brand_string hw.ncpu hw.memsize
	show container container --version
	show 'Its service' container system status
	show 'kina doctor' "$kina" doctor
	say "| step | result | time |"
	say "|---|---|---|"
}

footer() {
	say
	cat "$work/failures" "$work/facts" >>"$report"
	echo
	echo "The report is $report: please paste it into an issue."
	exit "${failed:-0}"
}

cri() { crictl --runtime-endpoint "unix://$work/cri.sock" --image-endpoint "unix://$work/cri.sock" --timeout 120s "$@"; }

cri_answers() {
	tries=0
	until cri version; do
		tries=$((tries + 1))
		[ "$tries" -lt 60 ] || return 1
		sleep 1
	done
}

cri_pod() {
	mkdir -p "$work/share/logs"
	printf '{"metadata":{"name":"smoke","namespace":"default","uid":"1","attempt":0},"hostname":"smoke","log_directory":"%s","linux":{}}' \
		"$work/share/logs" >"$work/pod.json"
	pod=$(cri runp "$work/pod.json")
}

# $1: name; $2: what its shell runs
cri_container() {
	printf '{"metadata":{"name":"%s"},"image":{"image":"docker.io/library/busybox:1.36"},"command":["sh","-c","%s"],"mounts":[{"container_path":"/share","host_path":"%s"}],"log_path":"%s.log","linux":{}}' \
		"$1" "$2" "$work/share" "$1" >"$work/$1.json"
	cri start "$(cri create "$pod" "$work/$1.json" "$work/pod.json")"
}

cri_containers() {
	cri_container server 'echo hello > /share/index.html; httpd -f -p 8080 -h /share' &&
		cri_container client 'sleep 1; wget -q -O - http://127.0.0.1:8080/index.html; sleep 600' &&
		sleep 3 && grep -q 'stdout F hello' "$work/share/logs/client.log" &&
		cri exec "$(cri ps --quiet --name client)" hostname | grep -q smoke
}

create() { "$kina" create cluster --name "$1" ${2:+--config "$2"} ${version:+--build "$version"}; }

version=
mode=all
case ${1:-} in
--before-reboot) mode=before ;;
--after-reboot) mode=after ;;
v*) version=$1 ;;
'') ;;
*)
	sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
	exit 2
	;;
esac

header
case $mode in
after)
	step 'service runs' container system status
	step 'start after the reboot' "$kina" start cluster --name kina-smoke
	step 'nodes are Ready' nodes_ready kina-smoke
	step 'API answers on this Mac' api_answers kina-smoke
	step 'delete' "$kina" delete cluster --name kina-smoke
	footer
	;;
esac

step 'create, one node' create kina-smoke
step 'node is Ready' nodes_ready kina-smoke
step 'API answers on this Mac' api_answers kina-smoke
facts kina-smoke
if [ $mode = before ]; then
	echo "Now reboot, start the service (container system start), and run this script with --after-reboot."
	footer
fi
step 'stop' "$kina" stop cluster --name kina-smoke
step 'start, with another address' "$kina" start cluster --name kina-smoke
step 'node is Ready again' nodes_ready kina-smoke
step 'API answers on this Mac again' api_answers kina-smoke
step 'build a small image' "$kina" build node-image --recipe load-balancer --tag localhost/kina/smoke:1
step 'load it into the node' "$kina" load image localhost/kina/smoke:1 --name kina-smoke
step 'logs' "$kina" export logs "$work/logs" --name kina-smoke
step 'delete' "$kina" delete cluster --name kina-smoke

cat >"$work/nodes.yaml" <<'YAML'
kind: Cluster
apiVersion: kina.dev/v1alpha1
nodes: [{ role: control-plane }, { role: worker }, { role: worker }]
YAML
step 'create, three nodes' create kina-smoke-nodes "$work/nodes.yaml"
step 'nodes are Ready and know each other' nodes_ready kina-smoke-nodes
step 'stop three nodes' "$kina" stop cluster --name kina-smoke-nodes
step 'start three nodes' "$kina" start cluster --name kina-smoke-nodes
step 'nodes are Ready and know each other again' nodes_ready kina-smoke-nodes
facts kina-smoke-nodes
step 'delete three nodes' "$kina" delete cluster --name kina-smoke-nodes
step 'image of pod sandboxes' "$kina" cri sandbox-image
if command -v crictl >/dev/null 2>&1; then
	mkdir -p "$work/share"
	"$kina" cri serve --socket "$work/cri.sock" --root "$work/cri" --share "$work/share" >"$work/cri.log" 2>&1 &
	service=$!
	step 'CRI service answers' cri_answers
	step 'pull an image' cri pull docker.io/library/busybox:1.36
	step 'a pod as a virtual machine' cri_pod
	step 'two containers in it, a shared folder, a program in one' cri_containers
	step 'remove the pod' cri rmp --force --all
	show 'CRI service' cat "$work/cri.log"
	kill "$service"
	wait "$service" 2>/dev/null
else
	say '| pods as virtual machines | not tried: no crictl (brew install cri-tools) | |'
fi
if container list --all --format=json | grep -Eq 'kina-(smoke|pod)'; then say '| nothing is left | **failed** | |'; else say '| nothing is left | ok | |'; fi
footer
