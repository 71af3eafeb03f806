/** Writes the configuration of the load balancer, at creation and after every start, when addresses change. */
import type { NodeStatus } from '../../provider/provider.ts';
import { haproxyConfig } from '../load-balancer.ts';
import { apiServerPort, roles } from '../names.ts';
import type { Node } from '../node.ts';

export async function configureLoadBalancer(
  balancer: Node,
  statuses: readonly NodeStatus[],
  family: 'ipv4' | 'ipv6' | 'dual',
): Promise<void> {
  const servers = statuses
    .filter((status) => status.role === roles.controlPlane)
    .flatMap(({ name, ipv4, ipv6 }) => {
      const address = family === 'ipv6' ? ipv6 : (ipv4 ?? ipv6);
      return address ? [{ name, address }] : [];
    });
  const config = haproxyConfig({ servers, port: apiServerPort, ipv6: family !== 'ipv4' });
  await balancer.shell('cat >/kina/haproxy.cfg.new && mv /kina/haproxy.cfg.new /kina/haproxy.cfg && kina-reload', [], {
    input: config,
  });
}
