/**
 * The configuration of HAProxy in front of several control planes. It forwards TLS unchanged, so clients see the
 * certificates of the API servers, and checks over TLS whether each server is ready.
 *
 * Servers are listed by address where it is known, because the resolver of the container may not know the names yet. A new
 * configuration is written to /kina/haproxy.cfg in the container; `kina-reload` validates it and starts a new worker, while
 * the old worker serves its open connections.
 */

import { apiServerPort } from './names.ts';

/** One control plane. */
interface BalancedServer {
  /** Name of the node. */
  readonly name: string;
  /** Without an address HAProxy resolves the name when it loads; if that fails, the server counts as down. */
  readonly address?: string | undefined;
}

/**
 * HAProxy listens on `port` in its container, and with `ipv6` also on IPv6. `servers` may be empty, for a load balancer
 * that starts before the nodes.
 */
export function haproxyConfig(options: {
  readonly servers: readonly BalancedServer[];
  readonly port: number;
  readonly ipv6: boolean;
}): string {
  const { servers, port, ipv6 } = options;
  return `${[
    'global',
    // The default follows the limit of open files, and would allocate memory for a million connections.
    '  maxconn 4096',
    '  log stdout format raw daemon notice',
    '',
    'defaults',
    '  mode tcp',
    '  log global',
    '  timeout connect 5s',
    '  timeout check 5s',
    // Watches and `kubectl exec` may be idle for hours.
    '  timeout client 24h',
    '  timeout server 24h',
    '  option tcpka',
    '',
    'listen control-plane',
    `  bind *:${port}`,
    // One socket per family: an IPv6 socket for both fails with net.ipv6.bindv6only=1.
    ...(ipv6 ? [`  bind :::${port} v6only`] : []),
    '  balance roundrobin',
    // Servers count as up until their first check; a connection to a dead server is redispatched.
    '  retries 3',
    '  option redispatch 1',
    // Unlike healthz, readyz fails as soon as an API server shuts down.
    '  option httpchk GET /readyz',
    '  http-check expect status 200',
    // Clients verify the certificate; the check only tests readiness.
    '  default-server check check-ssl verify none inter 2s fastinter 500ms fall 3 rise 1 init-addr last,libc,none',
    ...servers.map(({ name, address }) => `  server ${name} ${target(address ?? name)}`),
  ].join('\n')}\n`;
}

/** HAProxy reads the part after the last colon as the port; IPv6 addresses need brackets. */
function target(host: string): string {
  return host.includes(':') ? `[${host}]:${apiServerPort}` : `${host}:${apiServerPort}`;
}
