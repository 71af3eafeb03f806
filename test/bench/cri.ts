/**
 * `npm run bench:cri`: kina's CRI service and containerd's on this host, in turn, through one client and with the same images:
 * how long a pod, a container and an exec take, fifty pods at once, and the memory of the service with a hundred.
 *
 * A kina pod is a system container (podman) with an init, an agent and an OCI runtime in it, containerd's a namespace with
 * one process: the targets say how much that may cost.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { type CriClient, openCri } from '../support/cri/client.ts';
import { startContainerd } from '../support/cri/containerd.ts';
import { startKinaCri } from '../support/cri/kina.ts';
import type { CriService } from '../support/cri/service.ts';
import { serveCriImages } from '../support/cri-images.ts';

/** Pods one after the other; each gets one container and some execs. */
const rounds = Number(process.env.KINA_BENCH_ROUNDS ?? 50);
const execs = 5;
const crowd = 50;
const busybox = 'registry.k8s.io/e2e-test-images/busybox:1.29-2';

/** What may be at most: kina's figure by containerd's, or MB. */
const targets: Readonly<Record<string, number>> = { 'pod start p50': 3, 'exec p50': 2, 'memory, 100 pods': 150 };

interface Side {
  readonly service: CriService;
  readonly client: CriClient;
  /** Milliseconds by what took them. */
  readonly times: Map<string, number[]>;
  /** MB by when they were counted. */
  readonly memory: Map<string, number>;
}

function podConfig() {
  const name = `bench-${randomUUID()}`;
  return { metadata: { name, namespace: 'bench', uid: name, attempt: 0 }, linux: {} };
}
type PodConfig = ReturnType<typeof podConfig>;

async function timed<T>({ times }: Side, what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  times.set(what, [...(times.get(what) ?? []), performance.now() - started]);
  return result;
}

const runPod = async ({ client }: Side, config: PodConfig): Promise<string> =>
  (await client.call('runPodSandbox', { config }, 300)).podSandboxId;

async function removePod({ client }: Side, podSandboxId: string): Promise<void> {
  await client.call('stopPodSandbox', { podSandboxId }, 300);
  await client.call('removePodSandbox', { podSandboxId }, 300);
}

/** A pod, a container in it, some execs in that, and the end of all. */
async function round(side: Side): Promise<void> {
  const { client } = side;
  const sandboxConfig = podConfig();
  const pod = await timed(side, 'pod start', () => runPod(side, sandboxConfig));
  try {
    const config = { metadata: { name: 'main', attempt: 0 }, image: { image: busybox }, command: ['sleep', '1000'] };
    const containerId = await timed(side, 'container start', async () => {
      const made = await client.call('createContainer', { podSandboxId: pod, config, sandboxConfig });
      await client.call('startContainer', { containerId: made.containerId });
      return made.containerId;
    });
    for (let i = 0; i < execs; i++) {
      const { exitCode } = await timed(side, 'exec', () =>
        client.call('execSync', { containerId, cmd: ['true'], timeout: 10 }),
      );
      if (exitCode !== 0) throw new Error(`${side.service.name}: true ended with ${exitCode}`);
    }
  } finally {
    await timed(side, 'pod stop and removal', () => removePod(side, pod));
  }
}

async function parallel(side: Side): Promise<string[]> {
  const configs = Array.from({ length: crowd }, podConfig);
  return timed(side, `${crowd} pods at once`, () => Promise.all(configs.map((config) => runPod(side, config))));
}

/** MB of what is the service's: resident in its process; and, pages that are shared divided, with all that it keeps. */
async function weigh({ service, memory }: Side, when: string): Promise<void> {
  memory.set(`memory, ${when}`, megabytes(`/proc/${service.pid}/status`, /^VmRSS:\s+(\d+) kB/m));
  const all = [service.pid, ...(await service.helpers())];
  const shares = all.map((pid) => megabytes(`/proc/${pid}/smaps_rollup`, /^Pss:\s+(\d+) kB/m));
  memory.set(
    `memory with shims, monitors and agents, ${when}`,
    shares.reduce((sum, share) => sum + share, 0),
  );
}

/** A process may have ended since it was listed. */
function megabytes(path: string, line: RegExp): number {
  try {
    return (Number(line.exec(readFileSync(path, 'utf8'))?.[1] ?? 0) * 1024) / 1e6;
  } catch {
    return 0;
  }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

async function measure(sides: readonly Side[]): Promise<void> {
  for (const side of sides) {
    await side.client.call('pullImage', { image: { image: busybox } }, 300);
    await round(side); // the first of each unpacks images
    side.times.clear();
    await weigh(side, 'no pods');
  }
  for (let i = 0; i < rounds; i++) {
    for (const side of sides) await round(side);
    if ((i + 1) % 10 === 0) console.error(`${i + 1} of ${rounds} rounds`);
  }
  for (const side of sides) {
    const first = await parallel(side);
    const pods = [...first, ...(await parallel(side))];
    await weigh(side, `${pods.length} pods`);
    await timed(side, `removal of ${pods.length} pods at once`, () =>
      Promise.all(pods.map((pod) => removePod(side, pod))),
    );
  }
}

function printTable(kina: Side, peer: Side): void {
  console.log(
    `${cpus().length} × ${cpus()[0]?.model}, Linux ${release()}, ${rounds} rounds, ${rounds * execs} execs\n`,
  );
  console.log(`| | kina | ${peer.service.name} | ratio | target |\n| --- | --- | --- | --- | --- |`);
  const row = (what: string, own: number, other: number, unit: string): void => {
    const target = targets[what];
    const reached = unit === 'MB' ? own : own / other;
    const most = unit === 'MB' ? `${target} MB` : `${target}`;
    const word = target === undefined ? '' : `at most ${most}: ${reached <= target ? 'met' : 'missed'}`;
    const [a, b] = [own, other].map((value) => `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`);
    console.log(`| ${what} | ${a} | ${b} | ${(own / other).toFixed(2)} | ${word} |`);
  };
  for (const [what, values] of kina.times) {
    const others = peer.times.get(what) ?? [];
    if (values.length < rounds) row(what, quantile(values, 0.5), quantile(others, 0.5), 'ms');
    else
      for (const share of [0.5, 0.99])
        row(`${what} p${share * 100}`, quantile(values, share), quantile(others, share), 'ms');
  }
  for (const [what, value] of kina.memory) row(what, value, peer.memory.get(what) ?? Number.NaN, 'MB');
}

async function withServices(services: readonly (CriService | { skip: string })[]): Promise<void> {
  const sides = services.flatMap((service): Side[] =>
    service.skip === undefined
      ? [{ service, client: openCri(service.socket), times: new Map(), memory: new Map() }]
      : [],
  );
  try {
    const [kina, peer] = sides;
    if (!kina || !peer) throw new Error('both services are needed for a comparison');
    await measure(sides);
    printTable(kina, peer);
  } finally {
    for (const { client, service } of sides) {
      client.close();
      await service.stop();
    }
  }
}

const images = await serveCriImages();
if (images.skip !== undefined) {
  console.log(`not measured: ${images.skip}`);
} else {
  try {
    await withServices([await startKinaCri(images.host, []), await startContainerd(images.host)]);
  } finally {
    await images.stop();
  }
}
