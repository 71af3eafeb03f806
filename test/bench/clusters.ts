/**
 * `npm run bench:clusters`: kina and kind in turn, on one engine with one node image, in one run. Both are timed by one
 * outside watcher, from the command until kubectl on the host sees the node Ready and a first pod Running; what a tool
 * itself waits for does not count. kind is found on the PATH or at `KIND=path`.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { findKubectl } from '../support/cluster.ts';
import { check, kina, run } from '../support/command.ts';
import { buildImage, kubernetes, sharedStore } from '../support/images.ts';
import { missing, pathOf, podmanEnvironment } from '../support/requirements.ts';
import { median } from './measure.ts';

const kind = process.env.KIND ?? pathOf('kind');
const reason =
  missing(['podman', 'root', 'release files']) ?? (kind ? undefined : 'kind is neither on the PATH nor at KIND');
if (reason) {
  console.log(`not measured: ${reason}`);
  process.exit(0);
}
const rounds = Number(process.env.KINA_BENCH_ROUNDS ?? 3);
const scratch = mkdtempSync(join(tmpdir(), 'kina-bench-'));
const image = `localhost/kina/node:${kubernetes.version}`;
const env: Record<string, string> = {
  KINA_CACHE_DIR: sharedStore,
  KINA_PROVIDER: 'podman',
  KIND_EXPERIMENTAL_PROVIDER: 'podman',
  KINA_DEBIAN_CHECK_VALID_UNTIL: 'false',
  ...podmanEnvironment(),
};
const kubectl = await findKubectl();

interface Tool {
  readonly name: string;
  call(args: readonly string[]): Promise<void>;
}
const tools: readonly Tool[] = [
  {
    name: 'kina',
    call: async (args) => {
      const result = await kina(args, { env });
      if (result.code !== 0) throw new Error(`kina ${args.join(' ')}: ${result.stderr}`);
    },
  },
  { name: 'kind', call: async (args) => void (await check([kind!, ...args], { env })) },
];

/** Seconds of each measured thing, by tool. */
const figures = new Map<string, Map<string, number[]>>();
function note(what: string, tool: Tool, since: number): void {
  const seconds = (performance.now() - since) / 1000;
  const row = figures.get(what) ?? new Map<string, number[]>();
  figures.set(what, row.set(tool.name, [...(row.get(tool.name) ?? []), seconds]));
  console.error(`${tool.name}: ${what} ${seconds.toFixed(1)} s`);
}

async function until(config: string, args: readonly string[], yes: (stdout: string) => boolean): Promise<void> {
  for (let attempt = 0; attempt < 3000; attempt++) {
    const answer = await run([kubectl, '--kubeconfig', config, ...args], { env });
    if (answer.code === 0 && yes(answer.stdout)) return;
    await sleep(100);
  }
  throw new Error(`never: kubectl ${args.join(' ')}`);
}

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'first' },
  spec: { containers: [{ name: 'first', image: kubernetes.pause, imagePullPolicy: 'Never' }] },
};

/** An archive with a layer of 95 MB that stays and one of 5 MB that changes. */
async function archive(version: number): Promise<string> {
  const recipe = join(scratch, 'load.yaml');
  if (version === 1) writeFileSync(join(scratch, 'big'), randomBytes(95_000_000));
  writeFileSync(join(scratch, 'small'), randomBytes(5_000_000));
  const layer = (name: string) => ({ name, steps: [{ file: { path: `data/${name}`, source: name } }] });
  writeFileSync(recipe, stringify({ name: 'load', layers: [layer('big'), layer('small')] }));
  const built = await buildImage(
    `bench-load-${version}`,
    ['--recipe', recipe, '--tag', 'localhost/kina-bench/load:1'],
    { env },
  );
  return built.archive;
}

async function measure(tool: Tool, archives: readonly string[]): Promise<void> {
  const name = `bench-${tool.name}-${process.pid}`;
  const config = join(scratch, `${tool.name}.conf`);
  const started = performance.now();
  try {
    await tool.call(['create', 'cluster', '--name', name, '--image', image, '--kubeconfig', config, '--wait', '0s']);
    note('create, until the command ends', tool, started);
    const ready = '{.items[*].status.conditions[?(@.type=="Ready")].status}';
    await until(config, ['get', 'nodes', `--output=jsonpath=${ready}`], (said) => said === 'True');
    note('create, until the node is Ready', tool, started);
    const apply = [kubectl, '--kubeconfig', config, 'create', '-f', '-'];
    while ((await run(apply, { env, input: JSON.stringify(pod) })).code !== 0) await sleep(100);
    await until(config, ['get', 'pod', 'first', '--output=jsonpath={.status.phase}'], (said) => said === 'Running');
    note('create, until a pod runs', tool, started);
    for (const [i, file] of archives.entries()) {
      const since = performance.now();
      await tool.call(['load', 'image-archive', file, '--name', name]);
      note(i === 0 ? 'load 100 MB' : 'load it again, 5 MB of it changed', tool, since);
    }
  } finally {
    const since = performance.now();
    await tool.call(['delete', 'cluster', '--name', name, '--kubeconfig', config]);
    note('delete', tool, since);
  }
}

try {
  await buildImage('node-bench', [kubernetes.version], { env, output: false });
  const archives = [await archive(1), await archive(2)];
  // The image into the engine, outside of what is timed.
  await measure(tools[0]!, []);
  figures.clear();
  for (let round = 0; round < rounds; round++) for (const tool of tools) await measure(tool, archives);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${cpus().length} × ${cpus()[0]?.model}, podman, Kubernetes ${kubernetes.version}, medians of ${rounds}\n`);
console.log('| work | kina | kind | ratio |\n| --- | --- | --- | --- |');
for (const [what, row] of figures) {
  const [own, peer] = ['kina', 'kind'].map((name) => median(row.get(name) ?? []));
  console.log(`| ${what} | ${own!.toFixed(1)} s | ${peer!.toFixed(1)} s | ${(own! / peer!).toFixed(2)} |`);
}
