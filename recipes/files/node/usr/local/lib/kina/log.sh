# shellcheck shell=sh
# Messages of the node's boot, on stderr: it is the console, and so the container's log.

log_info() { printf 'INFO: %s\n' "$*" >&2; }
log_warn() { printf 'WARN: %s\n' "$*" >&2; }
log_error() { printf 'ERROR: %s\n' "$*" >&2; }
