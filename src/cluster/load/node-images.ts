/**
 * What a node's containerd has, asked in one call, and the import that changes it, in one more. `ctr` uses containerd's own
 * store, where a blob has one digest for all images; the CRI plugin follows by events and adds a name `sha256:CONFIG` to
 * every image, which gives the image id of a name.
 */
import type { Readable } from 'node:stream';
import { parse } from 'smol-toml';
import { KinaError } from '../../host/errors.ts';
import { lastLines } from '../../host/process.ts';
import { type Platform, parsePlatform } from '../../oci/platform.ts';
import type { Provider } from '../../provider/provider.ts';

export interface NodeImages {
  readonly node: string;
  readonly platform: Platform;
  /** Of the CRI plugin. The kubelet would unpack an image again that was unpacked for a different one. */
  readonly snapshotter: string;
  /** Free bytes on the disk with containerd's store. */
  readonly free: number;
  /** `ctr` 2.x imports through a service that knows only configured snapshotters, unless it gets `--local`. */
  readonly hasLocalImport: boolean;
  /** Names and, for each image of the CRI plugin, `sha256:CONFIG`; to the digest of the manifest or index. */
  readonly names: ReadonlyMap<string, string>;
  /** Digests of all blobs. */
  readonly blobs: ReadonlySet<string>;
}

const ctr = 'ctr --namespace=k8s.io';
const separator = '%%';
const question = `set -e
uname -m
echo '${separator}'
config=$(containerd config dump)
echo "$config"
echo '${separator}'
df -Pk "$(echo "$config" | sed -n 's/^root = .\\(.*\\).$/\\1/p')"
echo '${separator}'
${ctr} images import --help | grep -c -e --local || :
echo '${separator}'
${ctr} images ls
echo '${separator}'
${ctr} content ls -q`;

/** Throws `cluster` when containerd does not answer, `platform` for a machine of an unknown architecture. */
export async function askNode(provider: Provider, node: string, signal?: AbortSignal): Promise<NodeImages> {
  const { code, stdout, stderr } = await provider.exec(node, ['sh', '-c', question], { signal });
  if (code !== 0)
    throw new KinaError('cluster', `containerd on node ${node} does not list its images`, {
      details: lastLines(stderr || stdout, 10),
      hint: `Look at \`journalctl -u containerd\` on ${node}; is the node running?`,
    });
  return parseAnswer(node, stdout);
}

export function parseAnswer(node: string, answer: string): NodeImages {
  const [machine = '', config = '', disk = '', local = '', names = '', blobs = ''] = answer.split(`${separator}\n`);
  const rows = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
  return {
    node,
    platform: parsePlatform(machine.trim()),
    snapshotter: snapshotterOf(config),
    // POSIX: file system, blocks of 1024 bytes, used, available, …
    free: Number(rows(disk).at(-1)?.[3] ?? Number.NaN) * 1024,
    hasLocalImport: Number(local) > 0,
    // REF TYPE DIGEST …, after a heading
    names: new Map(rows(names).flatMap(([name, , digest]) => (digest?.startsWith('sha256:') ? [[name!, digest]] : []))),
    blobs: new Set(blobs.trim().split('\n')),
  };
}

/** Version 2 and versions 3 and 4 of containerd's configuration. */
function snapshotterOf(config: string): string {
  type Plugins = Record<string, { snapshotter?: string; containerd?: { snapshotter?: string } } | undefined>;
  const { plugins = {} } = parse(config) as { plugins?: Plugins };
  return (
    plugins['io.containerd.grpc.v1.cri']?.containerd?.snapshotter ??
    plugins['io.containerd.cri.v1.images']?.snapshotter ??
    'overlayfs'
  );
}

/** An image of the archive under a temporary name, and the names that it gets after it is unpacked. */
export interface Arrival {
  readonly temporary: string;
  readonly config: string;
  readonly names: readonly string[];
}

/** Why an import failed. `missing`: the node has lost a blob since it was asked, so a second try makes sense. */
export interface ImportFailure {
  readonly missing: boolean;
  readonly error: KinaError;
}

/**
 * Imports an OCI archive, which may lack blobs that the node has, unpacks its images and only then names them. When that fails
 * at any point, the new images are removed and every name stands for the same image as before.
 */
export async function importOn(
  provider: Provider,
  state: NodeImages,
  archive: Readable,
  arrivals: readonly Arrival[],
  signal?: AbortSignal,
): Promise<ImportFailure | undefined> {
  const { node } = state;
  const result = await provider.exec(node, ['sh', '-c', importScript(state, arrivals)], { input: archive, signal });
  if (result.code === 0) return undefined;
  const said = lastLines(`${result.stdout}\n${result.stderr}`, 10);
  const text = said.join('\n');
  if (/no space left on device|disk quota exceeded/i.test(text)) return { missing: false, error: diskFull(node, said) };
  const error = new KinaError('cluster', `containerd on node ${node} refused the images`, {
    details: said,
    hint: 'Nothing was loaded there.',
  });
  return { missing: /content digest sha256:[0-9a-f]{64}: not found/.test(text), error };
}

export function diskFull(node: string, details: readonly string[]): KinaError {
  return new KinaError('disk-full', `not enough disk space for the images on node ${node}`, {
    details,
    hint: 'Remove images (crictl rmi --prune on the node) or give the engine more disk. Nothing was loaded there.',
  });
}

function importScript({ snapshotter, hasLocalImport, names }: NodeImages, arrivals: readonly Arrival[]): string {
  const words = (list: readonly string[]) => list.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const temporaries = arrivals.map(({ temporary }) => temporary);
  // The CRI plugin has named these by their ids in the meantime.
  const ids = arrivals.map(({ config }) => config).filter((config) => !names.has(config));
  const flags = [...(hasLocalImport ? ['--local'] : []), `--snapshotter=${snapshotter}`];
  const steps = [
    `${ctr} images import ${words(flags)} -`,
    ...arrivals.map(({ temporary, names }) => `${ctr} images tag --force ${words([temporary, ...names])}`),
    `${ctr} images rm ${words(temporaries)}`,
  ];
  return [
    `{ ${steps.join(' && ')}; } >&2 && exit 0`,
    'code=$?',
    `${ctr} images rm --sync ${words([...temporaries, ...ids])} >/dev/null 2>&1`,
    'exit $code',
  ].join('\n');
}
