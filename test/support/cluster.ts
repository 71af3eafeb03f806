/**
 * Clusters as users make and use them: the command line, a kubeconfig of their own, the release's own kubectl on the host.
 * A cluster has a name that no other run has, and `close` deletes it after any failure.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { appleStandIn } from './apple.ts';
import { type CommandResult, check, kina, run, tail } from './command.ts';
import { type EngineName, engineRequirements, startDockerDaemon } from './engine.ts';
import { buildImage, kubernetes, sharedStore } from './images.ts';
import { releaseFile } from './mirror.ts';
import { podmanEnvironment } from './requirements.ts';

/** The requirements of `describeWith` for clusters on an engine. */
export const clusterRequirements = (engine: ClusterEngine): string[] => [
  ...engineRequirements[engine === 'apple' ? 'podman' : engine],
  'release files',
];

/** What clusters run on; Apple's runtime is the stand-in, whose nodes run on podman. */
export type ClusterEngine = EngineName | 'apple';

export interface TestCluster {
  readonly name: string;
  readonly engine: ClusterEngine;
  /** Seconds from the command to its end. */
  readonly seconds: number;
  /** Runs kina against this cluster's engine; throws when it fails. */
  kina(args: readonly string[]): Promise<CommandResult>;
  /** kubectl on the host, through the merged kubeconfig. */
  kubectl(args: readonly string[], options?: { input?: string; timeout?: number }): Promise<string>;
  /** The same, where failing is a result. */
  tryKubectl(args: readonly string[], options?: { input?: string; timeout?: number }): Promise<CommandResult>;
  /** Runs the engine's own program. */
  engineCall(args: readonly string[]): Promise<string>;
  readonly kubectlPath: string;
  readonly kubeconfig: string;
  readonly env: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

export interface ClusterOptions {
  readonly engine: ClusterEngine;
  /** A configuration, as YAML would have it; absent: one node. */
  readonly config?: unknown;
  readonly flags?: readonly string[];
}

/** The release's kubectl, from the mirror that the images are built from. */
export async function findKubectl(): Promise<string> {
  const folder = releaseFile('');
  const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const files = await readdir(folder, { recursive: true });
  const found = files.find((file) => file.endsWith(`${kubernetes.version}/bin/linux/${architecture}/kubectl`));
  if (!found) throw new Error(`no kubectl of ${kubernetes.version} in ${folder}`);
  return join(folder, found);
}

export async function createTestCluster({ engine, config, flags = [] }: ClusterOptions): Promise<TestCluster> {
  await buildImage('node-cluster', [kubernetes.version], { output: false });
  const folder = await mkdtemp(join(tmpdir(), 'kina-cluster-'));
  const daemon = engine === 'docker' ? await startDockerDaemon() : undefined;
  const apple = engine === 'apple' ? appleStandIn({ engine: true }) : undefined;
  const name = `e2e-${process.pid}-${randomBytes(2).toString('hex')}`;
  const kubeconfig = join(folder, 'kubeconfig');
  const env: Record<string, string> = {
    KINA_CACHE_DIR: sharedStore,
    KINA_PROVIDER: engine,
    KINA_CLUSTER_NAME: name,
    KUBECONFIG: kubeconfig,
    ...(daemon ? { DOCKER_HOST: daemon.socket } : {}),
    ...apple?.env,
    ...(engine !== 'docker' ? podmanEnvironment() : {}),
  };
  const call = async (args: readonly string[]): Promise<CommandResult> => {
    const result = await kina(args, { env });
    if (result.code !== 0) throw new Error(`kina ${args.join(' ')}\nended with ${result.code}\n${tail(result.stderr)}`);
    return result;
  };
  const close = async (): Promise<void> => {
    await kina(['delete', 'cluster'], { env });
    await daemon?.stop();
    if (apple) {
      const listed = await run(['container', 'image', 'list', '--format=json'], { env });
      const images = JSON.parse(listed.stdout || '[]') as { configuration: { name: string } }[];
      for (const { configuration } of images)
        await run(['container', 'image', 'delete', '--force', configuration.name], { env });
      apple.close();
    }
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const file = join(folder, 'cluster.yaml');
    if (config) await writeFile(file, stringify(config));
    const created = await call([
      'create',
      'cluster',
      '--image',
      `localhost/kina/node:${kubernetes.version}`,
      ...flags,
      ...(config ? ['--config', file] : []),
    ]);
    const kubectlPath = await findKubectl();
    const kubectl = (args: readonly string[], options = {}) =>
      run([kubectlPath, ...args], { env, timeout: 120, ...options });
    return {
      name,
      engine,
      env,
      kubeconfig,
      kubectlPath,
      close,
      seconds: created.ms / 1000,
      kina: call,
      tryKubectl: kubectl,
      kubectl: async (args, options) => {
        const result = await kubectl(args, options);
        if (result.code !== 0)
          throw new Error(`kubectl ${args.join(' ')}\nended with ${result.code}\n${result.stdout}${result.stderr}`);
        return result.stdout.trimEnd();
      },
      // What is left of nodes on the stand-in would be on podman, under names that end in their own.
      engineCall: (args) =>
        check(
          engine === 'apple'
            ? ['podman', ...args.map((arg) => arg.replace('label=dev.kina.cluster=', 'name='))]
            : [engine, ...args],
          { env },
        ),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The name of an image with a shell and a web server, made of one Debian package; it is nowhere but in kina's store. */
export const webImage = 'localhost/kina-test/web:1';

/** Builds the web image; another `content` changes its last layer alone. */
export async function buildWebImage(content = 'hello', reference = webImage): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-web-'));
  try {
    const recipe = join(folder, 'web.yaml');
    const archives = [{ archive: 'debian', suite: 'trixie', components: ['main'] }];
    await writeFile(
      recipe,
      stringify({
        name: 'web',
        image: { entrypoint: ['/usr/bin/busybox', 'httpd', '-f', '-p', '8080', '-h', '/www'] },
        layers: [
          { name: 'base', steps: [{ debian: { archives, packages: ['busybox-static'] } }] },
          { name: 'site', steps: [{ file: { path: 'www/index.html', content: `${content}\n` } }] },
        ],
      }),
    );
    await buildImage('web', ['--recipe', recipe, '--tag', reference], { output: false });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
