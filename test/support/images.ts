/**
 * Node images for e2e tests, built by the command line from the shared mirror and Debian's archive. All tests of a machine
 * share one store in the test cache, as a user's builds do; the test of the build itself starts from empty ones.
 */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { type CommandOptions, check, type KinaResult, kina, projectRoot, tail } from './command.ts';
import { startMirror } from './mirror.ts';
import { type Architecture, debianMirror, testCache } from './vm-kernel.ts';

/** Where the store of e2e builds lies. */
export const sharedStore = join(testCache, 'store');

/** What the tests of this release need to know about the version that the shared mirror serves. */
export const kubernetes = {
  version: 'v1.20.2',
  /** kubeadm's list for this version without CoreDNS, which the mirror lacks. */
  images: [
    'k8s.gcr.io/etcd:3.4.13-0',
    'k8s.gcr.io/kube-apiserver:v1.20.2',
    'k8s.gcr.io/kube-controller-manager:v1.20.2',
    'k8s.gcr.io/kube-proxy:v1.20.2',
    'k8s.gcr.io/kube-scheduler:v1.20.2',
    'k8s.gcr.io/pause:3.2',
  ],
  pause: 'k8s.gcr.io/pause:3.2',
} as const;

export interface Built extends KinaResult {
  readonly archive: string;
}

export interface BuildOptions extends CommandOptions {
  readonly umask?: string;
  /** The store's folder; the shared one when absent. */
  readonly store?: string;
  /** False: the image stays in the store, no archive is written. */
  readonly output?: boolean;
}

/**
 * Runs `kina build node-image ARGUMENTS` into an OCI archive `NAME.tar` in the test cache; throws when it fails. The
 * shared mirror is served while it runs.
 */
export async function buildImage(name: string, args: readonly string[], options: BuildOptions = {}): Promise<Built> {
  const folder = join(testCache, 'images');
  await mkdir(folder, { recursive: true });
  const archive = join(folder, `${name}.tar`);
  await rm(archive, { force: true });
  const mirror = args.includes('--recipe') ? undefined : await startMirror();
  if (mirror?.skip !== undefined) throw new Error(mirror.skip);
  try {
    const result = await kina(
      [
        ...['build', 'node-image', ...args],
        ...(options.output === false ? [] : ['--output', `type=oci-archive,dest=${archive}`]),
        ...['--debian-mirror', debianMirror, ...(mirror ? ['--mirror', mirror.url] : [])],
      ],
      { ...options, env: { KINA_CACHE_DIR: options.store ?? sharedStore, ...options.env } },
    );
    if (result.code !== 0) throw new Error(`the build ended with ${result.code}:\n${tail(result.stderr)}`);
    const memory = result.peakMiB === undefined ? '' : `, peak memory ${result.peakMiB} MiB`;
    console.log(`${name}: built in ${(result.ms / 1000).toFixed(1)} s${memory}`);
    return { ...result, archive };
  } finally {
    await mirror?.stop();
  }
}

/** The Kubernetes node image of the shared mirror's version. */
export function buildNode(architecture: Architecture): Promise<Built> {
  return buildImage(`node-${architecture}`, [kubernetes.version, '--platform', `linux/${architecture}`]);
}

/**
 * The `debian` recipe's image of one suite; with `runtime`, containerd, runc and kubectl come from that newer suite, as
 * a user's recipe would take them.
 */
export async function buildDebian(suite: string, runtime?: string): Promise<Built> {
  const recipe = runtime ? join(await recipesWithRuntime(runtime), 'debian.yaml') : 'debian';
  const settings = ['--recipe', recipe, '--set', `suite=${suite}`, '--platform', 'linux/amd64'];
  return buildImage(`debian-${suite}${runtime ? `-${runtime}` : ''}`, settings);
}

/** Copies of the shipped recipes with a second suite behind the first, and pins to it. */
async function recipesWithRuntime(suite: string): Promise<string> {
  const folder = join(testCache, `recipes-${suite}`);
  await rm(folder, { recursive: true, force: true });
  await cp(join(projectRoot, 'recipes'), folder, { recursive: true });
  const base = parse(await readFile(join(folder, 'node-base.yaml'), 'utf8'));
  const [archive] = base.layers[0].steps[0].debian.archives;
  // A mirror of testing that stands still is older than its Release file allows; packages are what they are.
  base.layers[0].steps[0].debian.archives.push({ ...archive, suite, priority: 100, checkValidUntil: false });
  await writeFile(join(folder, 'node-base.yaml'), stringify(base));
  const debian = parse(await readFile(join(folder, 'debian.yaml'), 'utf8'));
  const runtime = debian.layers[0].steps[0].debian;
  runtime.pins = { containerd: suite, runc: suite, 'kubernetes-client': suite };
  await writeFile(join(folder, 'debian.yaml'), stringify({ ...debian, extends: './node-base.yaml' }));
  return folder;
}

/** The digest that an OCI archive's index names: of the image index, or of the manifest when there is no other. */
export async function digestOf(archive: string): Promise<string> {
  const index = JSON.parse(await check(['bsdtar', '-xOf', archive, 'index.json']));
  return index.manifests.map((one: { digest: string }) => one.digest).join(' ');
}
