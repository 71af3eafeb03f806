/**
 * Addresses of Services inside a sandbox. On Linux its packets leave by the gateway, which is this host, so that what
 * kube-proxy writes there applies to them: a rule of its kind is made here, used from a container, and removed.
 */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check, run } from '../../command.ts';
import { missing, testUnless } from '../../requirements.ts';
import type { CriHouse } from '../house.ts';
import { type TestPod, until } from '../pods.ts';

/** Of TEST-NET-2 (RFC 5737): not assigned. */
const service = { address: '198.51.100.77', port: 80 };
const routed = '198.51.100.0/24';

/** Two pods on one bridge: the answer has to pass by the rules as well, which Kubernetes therefore asks of nodes. */
function unfilteredBridges(): string | undefined {
  const setting = '/proc/sys/net/bridge/bridge-nf-call-iptables';
  const is = existsSync(setting) ? readFileSync(setting, 'utf8').trim() : 'absent';
  return is === '1' ? undefined : `net.bridge.bridge-nf-call-iptables is ${is}`;
}

export function services(house: () => CriHouse): void {
  describe('a Service’s address', () => {
    const reason = missing(['iptables', 'root']) ?? unfilteredBridges();
    const rules: string[][] = [];
    let [server, client]: TestPod[] = [];
    let inClient: string;
    let gateway: string;

    beforeAll(async () => {
      const { host, pods } = house();
      gateway = await host.gateway();
      await house().restart('SIGTERM', ['--route', `${routed}=${gateway}`]);
      server = await pods.sandbox('backend');
      await pods.run(server, 'web', 'mkdir /www; hostname >/www/name; exec httpd -f -p 8080 -h /www');
      client = await pods.sandbox('client');
      inClient = await pods.run(client, 'main', 'sleep 1000');
    });
    afterAll(async () => {
      for (const rule of rules) await run(['iptables', '-w', '-t', 'nat', '-D', ...rule]);
      await house().pods.remove(...[server, client].filter((pod) => pod !== undefined));
      await house().restart('SIGTERM');
    });

    test('that was given with --route has a route in the sandbox', async () => {
      const table = await house().pods.output(inClient, 'ip route');
      expect(table.split('\n').map((line) => line.trim())).toContainEqual(
        expect.stringMatching(
          new RegExp(`^${routed.replaceAll('.', '\\.')} via ${gateway.replaceAll('.', '\\.')} dev eth0`),
        ),
      );
    });

    testUnless(reason, 'is translated by rules as kube-proxy writes them', async () => {
      const { pods } = house();
      const { ip } = (await pods.sandboxStatus(server!.id)).network!;
      const fetched = () => pods.exec(inClient, `wget -q -T 5 -O - http://${service.address}/name`);
      expect((await fetched()).exitCode).not.toBe(0);
      const comment = ['-m', 'comment', '--comment', 'kina test: default/web'];
      const match = ['-d', `${service.address}/32`, '-p', 'tcp', '--dport', String(service.port)];
      const rule = ['PREROUTING', ...match, ...comment, '-j', 'DNAT', '--to-destination', `${ip}:8080`];
      await check(['iptables', '-w', '-t', 'nat', '-I', ...rule]);
      rules.push(rule);
      const answer = await until('the service answers', 10, async () => {
        const { exitCode, stdout } = await fetched();
        return exitCode === 0 ? stdout : undefined;
      });
      expect(answer).toBe('backend\n');
    });
  });
}
