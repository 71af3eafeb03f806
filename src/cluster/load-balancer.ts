/**
 * What HAProxy in front of several control planes is told. It passes TLS through untouched, so that certificates are
 * the API servers' own, and asks each of them over TLS whether it wants traffic.
 *
 * Servers are given by address where it is known: the resolver of a container may not know names, or not yet. After a
 * change the configuration is written again, to /kina/haproxy.cfg in the container, and `kina-reload` there checks it
 * and has a new worker started, while the old one serves its connections to their end.
 */

/** One control plane. */
interface BalancedServer {
  /** Name of the node. */
  readonly name: string;
  /** Its address; without one its name is resolved when HAProxy loads, and the server counts as down if that fails. */
  readonly address?: string | undefined;
}

/** Where API servers listen in their nodes. */
const API_SERVER_PORT = 6443;

/**
 * HAProxy's configuration. `port` is the one that it listens on in its container, on IPv6 as well when `ipv6`. Servers
 * keep the order given; none is allowed, for a balancer that starts before the nodes.
 */
export function haproxyConfig(options: {
  readonly servers: readonly BalancedServer[];
  readonly port: number;
  readonly ipv6: boolean;
}): string {
  const { servers, port, ipv6 } = options;
  return `${[
    'global',
    // As many as the limit of open files allows would be memory for a million.
    '  maxconn 4096',
    '  log stdout format raw daemon notice',
    '',
    'defaults',
    '  mode tcp',
    '  log global',
    '  timeout connect 5s',
    '  timeout check 5s',
    // Watches and `kubectl exec` may have nothing to say for hours.
    '  timeout client 24h',
    '  timeout server 24h',
    '  option tcpka',
    '',
    'listen control-plane',
    `  bind *:${port}`,
    // One socket for each family: an IPv6 socket for both fails where a kernel setting says so.
    ...(ipv6 ? [`  bind :::${port} v6only`] : []),
    '  balance roundrobin',
    // Until its first checks every server counts as up; who meets a dead one is sent to the next.
    '  retries 3',
    '  option redispatch 1',
    // Unlike healthz, readyz fails as soon as an API server is asked to stop.
    '  option httpchk GET /readyz',
    '  http-check expect status 200',
    // Clients check the certificate; this asks only whether the server is well.
    '  default-server check check-ssl verify none inter 2s fastinter 500ms fall 3 rise 1 init-addr last,libc,none',
    ...servers.map(({ name, address }) => `  server ${name} ${target(address ?? name)}`),
  ].join('\n')}\n`;
}

/** HAProxy reads what follows the last colon as the port, and takes brackets around IPv6 addresses. */
function target(host: string): string {
  return host.includes(':') ? `[${host}]:${API_SERVER_PORT}` : `${host}:${API_SERVER_PORT}`;
}
