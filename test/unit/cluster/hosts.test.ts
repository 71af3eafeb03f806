/** Names of nodes in /etc/hosts, by the real script on files that take the places of a node's. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeHosts } from '../../../src/cluster/hosts.ts';
import { Node } from '../../../src/cluster/node.ts';
import { run } from '../../../src/host/process.ts';
import type { NodeStatus, Provider } from '../../../src/provider/provider.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'kina-hosts-'));
  for (const pod of ['etcd', 'web', 'new']) mkdirSync(join(root, 'pods', pod), { recursive: true });
  write('hosts', '127.0.0.1\tlocalhost\n192.168.90.2\ta\n192.168.90.9\tb # kina\n');
  write(
    'pods/etcd/etc-hosts',
    '# Kubernetes-managed hosts file (host network).\n127.0.0.1\tlocalhost\n192.168.90.9\tb # kina\n',
  );
  write('pods/web/etc-hosts', '# Kubernetes-managed hosts file.\n10.244.0.3\tweb\n');
});
afterEach(() => rmSync(root, { recursive: true }));

const write = (name: string, text: string) => writeFileSync(join(root, name), text);
const read = (name: string) => readFileSync(join(root, name), 'utf8');
const status = (name: string, ipv4: string): NodeStatus => ({
  name,
  cluster: 'c',
  role: 'worker',
  state: 'running',
  image: '',
  labels: {},
  ports: [],
  ipv4,
});
/** Runs what a node would, with the two places of the file in a folder. */
const provider = {
  exec: (_node: string, argv: readonly string[]) =>
    run(argv.map((word) => word.replaceAll('/etc/hosts', join(root, 'hosts')).replaceAll('/var/lib/kubelet', root))),
} as unknown as Provider;

test('a node learns the others; other entries stay, those that kina wrote before go', async () => {
  const statuses = [status('a', '192.168.90.2'), status('b', '192.168.90.5')];
  await writeHosts([new Node(provider, statuses[0]!)], statuses);
  expect(read('hosts')).toBe('127.0.0.1\tlocalhost\n192.168.90.2\ta\n192.168.90.5\tb # kina\n');
});

test('pods on the node’s network learn them too, without a restart; others keep their own file', async () => {
  const statuses = [status('a', '192.168.90.2'), status('b', '192.168.90.5')];
  await writeHosts([new Node(provider, statuses[0]!)], statuses);
  expect(read('pods/etcd/etc-hosts')).toBe(`# Kubernetes-managed hosts file (host network).\n${read('hosts')}`);
  expect(read('pods/web/etc-hosts')).toBe('# Kubernetes-managed hosts file.\n10.244.0.3\tweb\n');
});

test('a cluster of one node has no others to learn', async () => {
  const statuses = [status('a', '192.168.90.2')];
  const before = read('hosts');
  await writeHosts([new Node(provider, statuses[0]!)], statuses);
  expect(read('hosts')).toBe(before);
});
