/**
 * When a cluster counts as ready: the script that waits runs here, with a kubectl that answers what API servers answered
 * in the moments that are easy to get wrong.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Node } from '../../../src/cluster/node.ts';
import { waitForCluster } from '../../../src/cluster/wait.ts';
import { run } from '../../../src/host/process.ts';
import type { NodeStatus, Provider } from '../../../src/provider/provider.ts';
import { describeWith } from '../../support/requirements.ts';

const started = new Date('2026-01-01T10:00:00.700Z');
const [before, after] = ['2026-01-01T09:59:59Z', '2026-01-01T10:00:00Z'];

const node = (ready: string, heartbeat: string) => ({
  kind: 'Node',
  metadata: { name: 'c-control-plane' },
  status: { conditions: [{ type: 'Ready', status: ready, lastHeartbeatTime: heartbeat, reason: 'KubeletNotReady' }] },
});
const pod = (ready: string, startedAt: string, owner = 'DaemonSet') => ({
  kind: 'Pod',
  metadata: { name: `a-${owner}`, namespace: 'kube-system', ownerReferences: [{ kind: owner }] },
  spec: { nodeName: 'c-control-plane' },
  status: {
    phase: 'Running',
    conditions: [{ type: 'Ready', status: ready, reason: 'ContainersNotReady' }],
    containerStatuses: [{ name: 'a', state: { running: { startedAt } } }],
  },
});

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

/** Waits a second for a cluster whose API server answers with these items, or not at all. */
function wait(items: readonly unknown[] | undefined): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'kina-wait-'));
  folders.push(folder);
  const answer = join(folder, 'answer.json');
  if (items) writeFileSync(answer, JSON.stringify({ items }));
  const kubectl = `#!/bin/sh\ncase "$*" in *deployments*) echo daemonset.apps/a ;; *\\ get\\ * | get\\ *) cat ${answer} ;; esac\n`;
  writeFileSync(join(folder, 'kubectl'), kubectl, { mode: 0o755 });
  const env = { PATH: [folder, process.env.PATH].join(delimiter) };
  const provider = { exec: (_node, argv, options) => run(argv, { ...options, env }) } as Provider;
  const control = new Node(provider, { name: 'c-control-plane', role: 'control-plane' } as NodeStatus);
  return waitForCluster(control, [{ name: 'c-control-plane', since: started }], 1);
}

describeWith('a cluster is', ['jq'], () => {
  test('ready, when nodes and system pods are, since the start', async () => {
    await wait([node('True', after), pod('True', after)]);
  });

  test('ready, although kubelet does not tell yet that static pods are', async () => {
    await wait([node('True', after), pod('True', after), pod('False', after, 'Node')]);
  });

  test.concurrent.each([
    ['a pod is not', [node('True', after), pod('False', after)], 'pod a-DaemonSet (c-control-plane) is not ready'],
    ['a node is not', [node('False', after)], 'node c-control-plane is not Ready: KubeletNotReady'],
    [
      'all that is known of a node is from before its start',
      [node('True', before)],
      'node c-control-plane has not reported since it started',
    ],
    [
      'a container is older than the node',
      [node('True', after), pod('True', before)],
      'a-DaemonSet (c-control-plane) has not been restarted with its node',
    ],
    ['a static pod has no container', [node('True', after), { ...pod('False', after, 'Node'), status: {} }], 'a-Node'],
    // jq 1.6 calls an empty answer true
    ['the API server does not answer', undefined, 'the API server does not answer'],
  ])('not ready, when %s', async (_why, items, detail) => {
    const error = await wait(items).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: 'cluster', message: 'the cluster is not ready after 1 s' });
    expect(error.details.join('\n')).toContain(detail);
  });
});
