/**
 * Node images for e2e tests, built by the command line from release files and Debian's archive. All tests of a machine
 * share one store in the test cache, as a user's builds do; the test of the build itself starts from empty ones.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Architecture } from '../../src/oci/platform.ts';
import { debianMirror, testCache } from './cache.ts';
import { type CommandOptions, check, type KinaResult, kina, tail } from './command.ts';
import { mirroredVersion, startMirror } from './mirror.ts';

/** Where the store of e2e builds lies. */
export const sharedStore = join(testCache, 'store');

/** What the tests of this release need to know about the version that the mirror serves. */
export const kubernetes = {
  version: mirroredVersion,
  /** kubeadm's list for this version without CoreDNS, which the mirror lacks, and the pod network's agent. */
  images: [
    'k8s.gcr.io/etcd:3.4.13-0',
    'k8s.gcr.io/kube-apiserver:v1.20.2',
    'k8s.gcr.io/kube-controller-manager:v1.20.2',
    'k8s.gcr.io/kube-proxy:v1.20.2',
    'k8s.gcr.io/kube-scheduler:v1.20.2',
    'k8s.gcr.io/pause:3.2',
    'localhost/kina/network:v1',
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
 * mirror of release files is served while it runs.
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
        'build',
        'node-image',
        ...args,
        ...(options.output === false ? [] : ['--output', `type=oci-archive,dest=${archive}`]),
        '--debian-mirror',
        debianMirror,
        ...(mirror ? ['--mirror', mirror.url] : []),
      ],
      {
        ...options, // A test mirror may be frozen; signatures are checked all the same.
        env: { KINA_CACHE_DIR: options.store ?? sharedStore, ...options.env },
      },
    );
    if (result.code !== 0) throw new Error(`the build ended with ${result.code}:\n${tail(result.stderr)}`);
    const memory = result.peakMiB === undefined ? '' : `, peak memory ${result.peakMiB} MiB`;
    console.log(`${name}: built in ${(result.ms / 1000).toFixed(1)} s${memory}`);
    return { ...result, archive };
  } finally {
    await mirror?.stop();
  }
}

/** The Kubernetes node image of the mirror's version. */
export function buildNode(architecture: Architecture): Promise<Built> {
  return buildImage(`node-${architecture}`, [kubernetes.version, '--platform', `linux/${architecture}`]);
}

/** The `debian` recipe's image of one suite; with `runtime`, containerd, runc and kubectl come from that newer suite. */
export async function buildDebian(suite: string, runtime = 'own'): Promise<Built> {
  const settings = ['--recipe', 'debian', '--set', `suite=${suite}`, '--set', `runtime=${runtime}`];
  return buildImage(`debian-${suite}-${runtime}`, [...settings, '--platform', 'linux/amd64']);
}

/** The digest that an OCI archive's index names: of the image index, or of the manifest when there is no other. */
export async function digestOf(archive: string): Promise<string> {
  const index = JSON.parse(await check(['bsdtar', '-xOf', archive, 'index.json']));
  return index.manifests.map((one: { digest: string }) => one.digest).join(' ');
}
