/**
 * What every cluster has to do, whatever it is made of and runs on: the list of issue and documentation, once. Each
 * topology is a call; what only makes sense with several nodes is asked only of those.
 */

import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildWebImage, type ClusterOptions, createTestCluster, type TestCluster, webImage } from './cluster.ts';
import { kubernetes } from './images.ts';

interface Topology extends ClusterOptions {
  readonly nodes: number;
  readonly controlPlanes: number;
}

export function clusterSuite(title: string, topology: Topology): void {
  describe(title, () => {
    let cluster: TestCluster;
    beforeAll(async () => {
      await buildWebImage();
      cluster = await createTestCluster(topology);
      console.log(`${title}: created and ready in ${cluster.seconds.toFixed(1)} s`);
    });
    afterAll(() => cluster?.close());

    test('has all nodes Ready when the command returns', async () => {
      expect(await readyNodes(cluster)).toHaveLength(topology.nodes);
      const { stdout } = await cluster.kina(['get', 'nodes']);
      const balancer = topology.controlPlanes > 1 ? 1 : 0;
      expect(stdout.trim().split('\n')).toHaveLength(topology.nodes + balancer);
      expect((await cluster.kina(['get', 'clusters'])).stdout.split('\n')).toContain(cluster.name);
    });

    test('a loaded image runs with imagePullPolicy: Never', async () => {
      await cluster.kina(['load', 'image', webImage]);
      await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(web) });
      await cluster.kubectl(['rollout', 'status', 'daemonset/web', '--timeout=180s'], { timeout: 200 });
      expect(await webPods(cluster)).toHaveLength(topology.nodes);
    });

    test('pods reach each other on every node, and a Service', async () => {
      await expectNetwork(cluster);
    });

    test('kubectl logs, exec and port-forward work from the host', async () => {
      const [pod] = await webPods(cluster);
      await cluster.kubectl(['exec', pod!.name, '--', 'busybox', 'sh', '-c', 'echo said >/proc/1/fd/1']);
      await until(async () => (await cluster.kubectl(['logs', pod!.name])).includes('said'));
      await expectPortForward(cluster, pod!.name);
    });

    test('a claim is bound and its data survives stop and start', async () => {
      await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(storage(topology.nodes === 1)) });
      if (topology.nodes === 1) {
        await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/keeper', '--timeout=120s'], { timeout: 130 });
        await cluster.kubectl(['exec', 'keeper', '--', 'busybox', 'sh', '-c', 'echo kept >/data/file']);
      }
      const before = await nodeAddresses(cluster);
      await cluster.kina(['stop', 'cluster']);
      await withOldAddressesTaken(cluster, topology.nodes, () => cluster.kina(['start', 'cluster']));
      const after = await nodeAddresses(cluster);
      // what a start has to repair must really happen here
      expect(Object.values(after)).not.toEqual(Object.values(before));
      expect(await readyNodes(cluster)).toHaveLength(topology.nodes);
      if (topology.nodes === 1) {
        await cluster.kubectl(['wait', '--for=condition=Ready', 'pod/keeper', '--timeout=120s'], { timeout: 130 });
        expect(await cluster.kubectl(['exec', 'keeper', '--', 'busybox', 'cat', '/data/file'])).toBe('kept');
      }
    });

    test('workloads and their network are back after the start', async () => {
      await cluster.kubectl(['rollout', 'status', 'daemonset/web', '--timeout=180s'], { timeout: 200 });
      await expectNetwork(cluster);
      const [pod] = await webPods(cluster);
      await expectPortForward(cluster, pod!.name);
    });

    test('delete leaves nothing behind', async () => {
      const volumes = await volumesOf(cluster);
      expect(volumes).toHaveLength(topology.nodes);
      await cluster.kina(['delete', 'cluster']);
      expect(await containersOf(cluster)).toEqual([]);
      const left = (await cluster.engineCall(['volume', 'ls', '--quiet'])).split('\n');
      expect(left.filter((name) => volumes.includes(name))).toEqual([]);
      expect(await cluster.engineCall(['network', 'ls', '--format', '{{.Name}}'])).not.toContain(cluster.name);
      expect(await cluster.kubectl(['config', 'get-contexts', '--output=name'])).toBe('');
      expect(await cluster.kubectl(['config', 'view', '--output=json'])).not.toContain(cluster.name);
    });
  });
}

async function containersOf(cluster: TestCluster): Promise<string[]> {
  const filter = `label=dev.kina.cluster=${cluster.name}`;
  const listed = await cluster.engineCall(['ps', '--all', '--quiet', '--no-trunc', '--filter', filter]);
  return listed.split('\n').filter(Boolean);
}

/** They have no names that tell whose they are. */
async function volumesOf(cluster: TestCluster): Promise<string[]> {
  const format = '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}} {{end}}{{end}}';
  const found = await cluster.engineCall(['inspect', '--format', format, ...(await containersOf(cluster))]);
  return found.split(/\s+/).filter(Boolean);
}

async function readyNodes(cluster: TestCluster): Promise<string[]> {
  const path = '{range .items[*]}{.metadata.name} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}';
  const lines = (await cluster.kubectl(['get', 'nodes', `--output=jsonpath=${path}`])).split('\n');
  return lines.filter((line) => line.endsWith(' True'));
}

async function nodeAddresses(cluster: TestCluster): Promise<Record<string, string>> {
  const nodes = JSON.parse((await cluster.kina(['get', 'nodes', '--json'])).stdout) as { name: string; ipv4: string }[];
  return Object.fromEntries(nodes.map(({ name, ipv4 }) => [name, ipv4]));
}

/** docker gives the address of a stopped node to the next container, and back to the node if there was none. */
async function withOldAddressesTaken(cluster: TestCluster, count: number, work: () => Promise<unknown>): Promise<void> {
  if (cluster.engine !== 'docker') return void (await work());
  const names = Array.from({ length: count }, (_, i) => `${cluster.name}-taker-${i}`);
  const image = `localhost/kina/node:${kubernetes.version}`;
  for (const name of names)
    await cluster.engineCall([
      'run',
      '--detach',
      '--name',
      name,
      '--network',
      `kina-${cluster.name}`,
      '--entrypoint',
      'sleep',
      image,
      '900',
    ]);
  try {
    await work();
  } finally {
    await cluster.engineCall(['rm', '--force', ...names]);
  }
}

interface WebPod {
  readonly name: string;
  readonly ip: string;
}

/** The web pods that are ready and are not going away. */
async function webPods(cluster: TestCluster): Promise<WebPod[]> {
  type Pod = {
    metadata: { name: string; deletionTimestamp?: string };
    status: { podIP?: string; conditions?: { type: string; status: string }[] };
  };
  const { items } = JSON.parse(await cluster.kubectl(['get', 'pods', '--selector=app=web', '--output=json'])) as {
    items: Pod[];
  };
  return items
    .filter(
      ({ metadata, status }) =>
        !metadata.deletionTimestamp && status.conditions?.some((one) => one.type === 'Ready' && one.status === 'True'),
    )
    .map(({ metadata, status }) => ({ name: metadata.name, ip: status.podIP! }));
}

/** Every pod fetches the page of every other one, and of the Service. */
async function expectNetwork(cluster: TestCluster): Promise<void> {
  const pods = await webPods(cluster);
  const service = await cluster.kubectl(['get', 'service', 'web', '--output=jsonpath={.spec.clusterIP}']);
  const targets = [...pods.map(({ ip }) => `${ip}:8080`), `${service}:80`];
  for (const { name } of pods)
    for (const target of targets) {
      const fetch = () =>
        cluster.tryKubectl(['exec', name, '--', 'busybox', 'wget', '-q', '-T', '5', '-O', '-', `http://${target}/`]);
      await until(async () => (await fetch()).stdout === 'hello\n', `${name} reads http://${target}/`);
    }
}

async function expectPortForward(cluster: TestCluster, pod: string): Promise<void> {
  const forward = spawn(cluster.kubectlPath, ['port-forward', `pod/${pod}`, ':8080'], {
    env: { ...process.env, ...cluster.env },
  });
  try {
    const port = await new Promise<string>((done, failed) => {
      let said = '';
      for (const stream of [forward.stdout, forward.stderr])
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text;
          const found = /127\.0\.0\.1:(\d+)/.exec(said)?.[1];
          if (found) done(found);
        });
      forward.once('exit', () => failed(new Error(`port-forward ended: ${said}`)));
    });
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('hello\n');
  } finally {
    forward.kill();
  }
}

/** Asks until the answer is yes; routes and endpoints follow pods a moment later. */
async function until(yes: () => Promise<boolean>, what = 'it'): Promise<void> {
  for (let attempt = 0; attempt < 30; attempt++) {
    if (await yes()) return;
    await sleep(1000);
  }
  throw new Error(`not within 30 tries: ${what}`);
}

const everywhere = { tolerations: [{ operator: 'Exists' }], terminationGracePeriodSeconds: 1 };

const labels = { app: 'web' };
const container = { name: 'web', image: webImage, imagePullPolicy: 'Never', ports: [{ containerPort: 8080 }] };

/** One web server on every node, control planes too, behind a Service. */
const web = {
  apiVersion: 'v1',
  kind: 'List',
  items: [
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'web' },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { ...everywhere, containers: [container] } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web' },
      spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
    },
  ],
};

/** A claim of the default class; `used`: and a pod that writes to it. */
function storage(used: boolean): unknown {
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Mi' } } },
  };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'keeper' },
    spec: {
      ...everywhere,
      containers: [
        {
          name: 'keeper',
          image: webImage,
          imagePullPolicy: 'Never',
          volumeMounts: [{ name: 'data', mountPath: '/data' }],
        },
      ],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }],
    },
  };
  return { apiVersion: 'v1', kind: 'List', items: used ? [claim, pod] : [claim] };
}
