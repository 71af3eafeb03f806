#!/run/vm-agent/busybox sh
# shellcheck shell=dash
# Runs what the test asks for. One request per line on a virtio-serial port: ID SECONDS BASE64-COMMAND; one answer per
# line: ID CODE BASE64-STDOUT BASE64-STDERR. The first line says that the machine listens. Output goes through files,
# so that a command which leaves a process behind does not hold up the answer.
busybox=/run/vm-agent/busybox
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = vm.agent ] && device=/dev/${port##*/}
done
exec 3<>"$device"
echo ready >&3
cd /
while read -r id seconds command <&3; do
    echo "$command" | $busybox base64 -d >/run/vm-agent/command
    $busybox timeout -k 5 "$seconds" /bin/sh /run/vm-agent/command \
        >/run/vm-agent/stdout 2>/run/vm-agent/stderr </dev/null 3>&-
    code=$?
    printf '%s %s %s %s\n' "$id" "$code" \
        "$($busybox base64 -w 0 /run/vm-agent/stdout)" "$($busybox base64 -w 0 /run/vm-agent/stderr)" >&3
done
