import { expect, test } from 'vitest';
import { describeUnless } from '../../support/requirements.ts';
import { NodeRoot, noShell } from './support.ts';

const conf = 'etc/resolv.conf';

describeUnless(noShell, 'resolver', () => {
  const docker = (): NodeRoot => {
    const node = new NodeRoot({ [conf]: 'search lan\nnameserver 127.0.0.11\noptions ndots:0\n' });
    node.program('ip', 'echo "default via 172.18.0.1 dev eth0 "');
    const rule = (protocol: string, port: number): string =>
      `-A DOCKER_OUTPUT -d 127.0.0.11/32 -p ${protocol} -m ${protocol} --dport 53 -j DNAT --to-destination 127.0.0.11:${port}`;
    node.program(
      'iptables',
      `case "$*" in *"-S DOCKER_OUTPUT") echo '${rule('tcp', 34689)}\n${rule('udp', 35417)}' ;; esac`,
    );
    return node;
  };

  test("Docker's becomes the gateway's address, for this node and for its pods", async () => {
    using node = docker();
    const { calls } = await node.run('configure_dns');
    expect(node.read(conf)).toBe('search lan\nnameserver 172.18.0.1\noptions ndots:0\n');
    const added = calls.filter((call) => call.includes(' -A '));
    expect(added).toEqual(
      [
        ['udp', 35417],
        ['tcp', 34689],
      ].flatMap(([protocol, port]) =>
        ['OUTPUT', 'PREROUTING'].map(
          (chain) =>
            `iptables -t nat -A ${chain} -d 172.18.0.1 -p ${protocol} --dport 53 -j DNAT --to-destination 127.0.0.11:${port}`,
        ),
      ),
    );
  });

  test('stays where the rules are not found: a resolver that answers here beats none', async () => {
    using node = docker();
    node.program('iptables', 'exit 1');
    const { messages } = await node.run('configure_dns');
    expect(node.read(conf)).toContain('nameserver 127.0.0.11');
    expect(messages.join()).toContain('WARN');
  });

  test.each(['nameserver 10.89.0.1\n', 'nameserver 192.168.64.1\nnameserver 127.0.0.110\n', ''])(
    'others are left alone: %j',
    async (text) => {
      using node = new NodeRoot({ [conf]: text });
      const { calls } = await node.run('configure_dns');
      expect(node.read(conf)).toBe(text);
      expect(calls).toEqual([]);
    },
  );
});

describeUnless(noShell, 'KIND_DNS_SEARCH', () => {
  const text = 'search lan corp\nnameserver 10.89.0.1\n';
  test.each([
    ['unset keeps', {}, text],
    ['empty removes', { KIND_DNS_SEARCH: '' }, 'nameserver 10.89.0.1\n'],
    ['a list replaces', { KIND_DNS_SEARCH: 'a.test b.test' }, 'nameserver 10.89.0.1\nsearch a.test b.test\n'],
  ])('%s the search domains', async (_name, env, expected) => {
    using node = new NodeRoot({ [conf]: text });
    await node.run('configure_dns', env);
    expect(node.read(conf)).toBe(expected);
  });
});
