/**
 * The pod network's agent, with the real ip and iptables in a network namespace of its own. What API servers answer is
 * in files: the agent's own `wget` is replaced.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeUnless, missing } from '../../support/requirements.ts';
import { NodeRoot, noShell, recipes } from './support.ts';

const files = join(recipes, 'files/network');

interface TestNode {
  readonly name: string;
  readonly ranges?: readonly string[];
  readonly addresses: readonly string[];
}

const nodeObject = ({ name, ranges, addresses }: TestNode) => ({
  kind: 'Node',
  metadata: { name },
  spec: ranges ? { podCIDR: ranges[0], podCIDRs: ranges } : {},
  status: {
    addresses: [{ type: 'Hostname', address: name }, ...addresses.map((address) => ({ type: 'InternalIP', address }))],
  },
});

const list = (...nodes: readonly TestNode[]) =>
  JSON.stringify({ kind: 'NodeList', metadata: { resourceVersion: '7' }, items: nodes.map(nodeObject) });

const me: TestNode = { name: 'me', ranges: ['10.244.0.0/24'], addresses: ['10.9.0.2'] };
const other: TestNode = { name: 'other', ranges: ['10.244.1.0/24'], addresses: ['10.9.0.3'] };
const dual = (node: TestNode, n: number): TestNode => ({
  ...node,
  ranges: [...node.ranges!, n === 0 ? 'fd00:10:244::/64' : `fd00:10:244:${n}::/64`],
  addresses: [`fd00:9::${n + 2}`, ...node.addresses],
});

function agentRoot(answer: string): NodeRoot {
  const root = new NodeRoot({
    'var/run/secrets/kubernetes.io/serviceaccount/token': 'a-token',
    'nodes.json': answer,
  });
  mkdirSync(join(root.path, 'etc/cni/net.d'), { recursive: true });
  root.program('wget', `cat "${root.path}/nodes.json"`);
  return root;
}

/** Runs shell with the agent's functions, as the node `me` with its addresses on an interface of 1400 bytes. */
const inNamespace = (root: NodeRoot, script: string) =>
  root.exec(
    [
      'unshare',
      '--net',
      'dash',
      '-c',
      `ip link set lo up
       ip link add eth0 type veth peer name peer0; ip link set peer0 mtu 1400 up; ip link set eth0 mtu 1400 up
       ip addr add 10.9.0.2/24 dev eth0; ip addr add fd00:9::2/64 dev eth0 nodad
       set -- --functions; . ${files}/agent; prepare; backend=legacy
       ${script}`,
    ],
    { NODE_NAME: 'me', KINA_LIB: files, KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' },
  );

const show = `ip -4 route show proto 107; ip -6 route show proto 107
  for tables in iptables-legacy ip6tables-legacy; do $tables -t nat -S POSTROUTING; $tables -t nat -S KINA-POSTROUTING; done 2>&1; true`;

const noNamespace = noShell ?? missing(['root', 'unshare', 'ip', 'jq', 'iptables-legacy', 'ip6tables-legacy']);

describeUnless(noNamespace, 'the pod network', () => {
  test('one family: route, rules and configuration, and nothing of the other family', async () => {
    using root = agentRoot(list(other, me));
    const { stdout, code } = await inNamespace(root, `list_nodes && apply || exit 1\n${show}`);
    expect(code).toBe(0);
    expect(stdout.split('\n').map((l) => l.trim())).toEqual([
      '10.244.1.0/24 via 10.9.0.3 dev eth0',
      '-P POSTROUTING ACCEPT',
      '-A POSTROUTING -j KINA-POSTROUTING',
      '-N KINA-POSTROUTING',
      '-A KINA-POSTROUTING -d 10.244.0.0/24 -j RETURN',
      '-A KINA-POSTROUTING -d 10.244.1.0/24 -j RETURN',
      '-A KINA-POSTROUTING -s 10.244.0.0/24 -j MASQUERADE',
      '-P POSTROUTING ACCEPT',
      'ip6tables: No chain/target/match by that name.',
      '',
    ]);
    const { plugins } = JSON.parse(root.read('etc/cni/net.d/10-kina.conflist'));
    expect(plugins[0]).toMatchObject({
      type: 'ptp',
      mtu: 1400,
      ipam: { ranges: [[{ subnet: '10.244.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    });
  });

  // The order of a node's addresses is not that of its ranges.
  test('two families: each range through an address of its own', async () => {
    using root = agentRoot(list(dual(me, 0), dual(other, 1)));
    const { stdout } = await inNamespace(root, `list_nodes && apply\n${show}`);
    expect(stdout).toContain('10.244.1.0/24 via 10.9.0.3');
    expect(stdout).toContain('fd00:10:244:1::/64 via fd00:9::3');
    expect(stdout).toContain('-A KINA-POSTROUTING -s fd00:10:244::/64 -j MASQUERADE');
    const { plugins } = JSON.parse(root.read('etc/cni/net.d/10-kina.conflist'));
    expect(plugins[0].ipam.routes).toEqual([{ dst: '0.0.0.0/0' }, { dst: '::/0' }]);
  });

  test('IPv6 alone: no rule of the other family is asked for', async () => {
    using root = agentRoot(
      list(
        { name: 'me', ranges: ['fd00:10:244::/64'], addresses: ['fd00:9::2'] },
        { name: 'other', ranges: ['fd00:10:244:1::/64'], addresses: ['fd00:9::3'] },
      ),
    );
    const { stdout, code } = await inNamespace(root, `list_nodes && apply || exit 1\n${show}`);
    expect(code).toBe(0);
    expect(stdout).toContain('fd00:10:244:1::/64 via fd00:9::3');
    expect(stdout).toContain('\niptables: No chain/target/match by that name.');
    expect(stdout).toContain('-A KINA-POSTROUTING -d fd00:10:244:1::/64 -j RETURN');
    const { plugins } = JSON.parse(root.read('etc/cni/net.d/10-kina.conflist'));
    expect(plugins[0]).toMatchObject({ mtu: 1400, ipam: { routes: [{ dst: '::/0' }] } });
  });

  test('a second look changes nothing and says nothing', async () => {
    using root = agentRoot(list(dual(me, 0), dual(other, 1)));
    const twice = await inNamespace(root, 'list_nodes && apply; echo again >&2; apply');
    expect(twice.messages.slice(twice.messages.indexOf('again') + 1)).toEqual([]);
    expect(twice.messages.length).toBeGreaterThan(4);
  });

  test('a node that left, one with a new address, and tables that were flushed', async () => {
    using root = agentRoot(list(me, other, { ...other, name: 'third', ranges: ['10.244.2.0/24'] }));
    const moved = list(me, { ...other, addresses: ['10.9.0.33'] }).replaceAll('"', '\\"');
    const { stdout } = await inNamespace(
      root,
      `list_nodes && apply; iptables-legacy -t nat -F; ip route add 192.0.2.0/24 via 10.9.0.9
       echo "${moved}" >"$KINA_ROOT/nodes.json"; list_nodes && apply; ip route; iptables-legacy -t nat -S`,
    );
    expect(stdout).toContain('10.244.1.0/24 via 10.9.0.33');
    expect(stdout).not.toContain('10.9.0.3 ');
    expect(stdout).not.toContain('10.244.2.0/24');
    expect(stdout, 'routes of other programs stay').toContain('192.0.2.0/24');
    expect(stdout).toContain('-A POSTROUTING -j KINA-POSTROUTING');
    expect(stdout).toContain('-s 10.244.0.0/24 -j MASQUERADE');
  });

  // With a configuration pods start: they would have no way out.
  test('no configuration before the node has a range', async () => {
    using root = agentRoot(list({ name: 'me', addresses: me.addresses }, other));
    const { code, messages } = await inNamespace(root, 'list_nodes; apply');
    expect(code).toBe(1);
    expect(messages).toEqual(['the node me has no pod range yet']);
    expect(root.has('etc/cni/net.d/10-kina.conflist')).toBe(false);
  });

  test('rules go where Kubernetes has its own', async () => {
    using root = agentRoot(list(me));
    const { messages } = await inNamespace(
      root,
      'choose_backend; iptables-legacy -t nat -N KUBE-SERVICES; choose_backend',
    );
    expect(messages.at(-1)).toBe('iptables backend: legacy (lines about Kubernetes: nft 0, legacy 1)');
  });
});

describeUnless(noShell ?? missing(['jq']), 'the API server', () => {
  const run = (root: NodeRoot, script: string, env: Readonly<Record<string, string>> = {}) =>
    root.exec(['dash', '-c', `set -- --functions; . ${files}/agent; prepare; ${script}`], {
      NODE_NAME: 'me',
      KINA_LIB: files,
      KUBERNETES_SERVICE_HOST: 'fd00:10:96::1',
      KUBERNETES_SERVICE_PORT: '443',
      ...env,
    });

  test('is asked by the name of the control plane, else by the address of its Service, which may be IPv6', async () => {
    using root = agentRoot(list(me));
    root.program('wget', `case "$*" in *name:6443*) exit 4 ;; *) cat "${root.path}/nodes.json" ;; esac`);
    const { calls, code } = await run(root, 'list_nodes', { CONTROL_PLANE_ENDPOINT: 'name:6443' });
    expect(code).toBe(0);
    expect(calls.map((call) => call.split(' ').at(-1))).toEqual([
      'https://name:6443/api/v1/nodes',
      'https://[fd00:10:96::1]:443/api/v1/nodes',
    ]);
  });

  // Arguments of every process are public in the node.
  test('gets the token from a file that only root reads', async () => {
    using root = agentRoot(list(me));
    const { calls, stdout } = await run(root, 'list_nodes; stat -c %a "$KINA_ROOT/run/kina/wgetrc"');
    expect(stdout.trim()).toBe('600');
    expect(calls.join()).not.toContain('a-token');
    expect(root.read('run/kina/wgetrc')).toBe('header = Authorization: Bearer a-token\n');
  });

  const event = (type: string, node: TestNode) => JSON.stringify({ type, object: nodeObject(node) });

  // Every kubelet reports its status each five minutes and more: not a reason to look at tables.
  test.each([
    ['a status report', [event('MODIFIED', other)], 'quiet'],
    ['another address', [event('MODIFIED', other), event('MODIFIED', { ...other, addresses: ['10.9.0.44'] })], 'news'],
    ['a new node', [event('ADDED', { ...other, name: 'new' })], 'news'],
    ['a node that is deleted', [event('DELETED', other)], 'news'],
    ['a watch that is too old', [JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410 } })], 'quiet'],
  ])('%s in the watch', async (_, events, expected) => {
    using root = agentRoot(list(me, other));
    root.write('events.json', `${events.join('\n')}\n`);
    const { stdout } = await run(
      root,
      `list_nodes; query 'first(inputs | news($known)) | "news"' -n --argjson known "$nodes" <"$KINA_ROOT/events.json" | grep . || echo quiet`,
    );
    expect(stdout.trim()).toBe(expected);
  });

  test('waiting ends with the first news, though the watch goes on', async () => {
    using root = agentRoot(list(me, other));
    root.write('events.json', `${event('DELETED', other)}\n`);
    // A watch that is waited for outlasts the test.
    const { code } = await run(
      root,
      `list_nodes; request() { cat "$KINA_ROOT/events.json"; exec sleep 600; }; await_change`,
    );
    expect(code).not.toBe(-1);
  });
});
