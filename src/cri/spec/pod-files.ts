/** The files of a pod in its containers' /etc, except where a volume is mounted instead. */
import type { DNSConfig } from '../api/messages.ts';

/** resolv.conf; undefined when the pod has no DNS settings: the sandbox's file is used. */
export function resolverConfiguration(dns: DNSConfig | null): string | undefined {
  if (!dns || dns.servers.length + dns.searches.length + dns.options.length === 0) return undefined;
  const lines = [
    ...(dns.searches.length > 0 ? [`search ${dns.searches.join(' ')}`] : []),
    ...dns.servers.map((server) => `nameserver ${server}`),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(' ')}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

export function hostsFile(addresses: readonly string[], hostname: string): string {
  const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback'];
  if (hostname) lines.push(...addresses.map((address) => `${address}\t${hostname}`));
  return `${lines.join('\n')}\n`;
}
