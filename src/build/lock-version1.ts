/**
 * Reads locks of version 1, in which artifacts did not say what they are: the type was in the URL, the layers of an image
 * were artifacts whose order was in their names (`busybox:1.35 layer 2/11`), and its manifest was an input.
 */
import type { ArtifactType, RemoteFile } from '../artifacts/artifact.ts';
import { KinaError } from '../host/errors.ts';

interface OldLock {
  readonly version: 1;
  readonly kubernetes?: string;
  readonly images?: object;
  readonly platforms?: Readonly<Record<string, Readonly<Record<string, OldStep>>>>;
}
interface OldStep {
  readonly inputs?: Readonly<Record<string, string>>;
  readonly artifacts?: readonly RemoteFile[];
}

/** Converts a lock of version 1; other values pass through. Throws `lock` when the parts of an image are incomplete. */
export function fromVersion1(value: unknown, from: string): unknown {
  if (!isVersion1(value)) return value;
  const { images: settings, platforms = {}, ...rest } = value;
  try {
    const steps = Object.values(platforms).flatMap((all) => Object.values(all));
    const isRelease = steps.some(({ artifacts = [] }) =>
      artifacts.some(({ url }) => url.startsWith(`https://dl.k8s.io/${value.kubernetes}/bin/`)),
    );
    return {
      ...rest,
      version: 2,
      ...(isRelease ? { source: 'release' } : {}),
      ...(settings ? { settings } : {}),
      platforms: Object.fromEntries(
        Object.entries(platforms).map(([platform, all]) => [
          platform,
          Object.fromEntries(Object.entries(all).map(([id, step]) => [id, convertStep(step)])),
        ]),
      ),
    };
  } catch (error) {
    throw new KinaError('lock', `${from} has an old form that cannot be read: ${(error as Error).message}`, {
      hint: 'Write it again with `kina lock`.',
      cause: error,
    });
  }
}

function isVersion1(value: unknown): value is OldLock {
  return value !== null && typeof value === 'object' && 'version' in value && value.version === 1;
}

function convertStep({ inputs = {}, artifacts = [], ...rest }: OldStep): object {
  const [first] = artifacts;
  const layerName = / layer \d+(\/\d+)?$/;
  if (first && inputs.manifest && artifacts.every(({ name }) => layerName.test(name))) {
    const { manifest, ...others } = inputs;
    const layers = inOrder(artifacts).map((layer) => typed(layer, isLocal(layer) ? 'local' : 'layer'));
    return { ...rest, ...some('inputs', others), base: { name: first.name.replace(layerName, ''), manifest, layers } };
  }
  const manifests = new Map(artifacts.filter(isManifest).map((artifact) => [artifact.digest as string, artifact]));
  const images: object[] = [];
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(inputs)) {
    const manifest = manifests.get(value);
    if (manifest) images.push(imageOf(name, manifest, artifacts));
    else own[name] = value;
  }
  const others = artifacts.filter((artifact) => !isManifest(artifact) && !isBlob(artifact));
  return {
    ...rest,
    ...some('inputs', own),
    ...(others.length > 0 ? { artifacts: others.map((artifact) => typed(artifact, typeOf(artifact))) } : {}),
    ...(images.length > 0 ? { images } : {}),
  };
}

/** The parts of an image have its short name and its repository's URL. */
function imageOf(name: string, manifest: RemoteFile, artifacts: readonly RemoteFile[]): object {
  const short = manifest.name.replace(/ manifest$/, '');
  const repository = manifest.url.replace(/manifests\/[^/]+$/, 'blobs/');
  const parts = artifacts.filter((a) => a.url.startsWith(repository) && a.name.startsWith(`${short} `));
  const configs = parts.filter((part) => part.name === `${short} config`);
  const layers = inOrder(parts.filter((part) => part.name.startsWith(`${short} layer `)));
  const [config] = configs;
  const count = Number(/\/(\d+)$/.exec(layers[0]?.name ?? '')?.[1] ?? 0);
  if (!config || configs.length > 1 || layers.length !== count) throw new Error(`the parts of ${name} are not clear`);
  return {
    name,
    manifest: typed(manifest, 'manifest'),
    config: typed(config, 'config'),
    layers: layers.map((layer) => typed(layer, 'layer')),
  };
}

function inOrder(layers: readonly RemoteFile[]): RemoteFile[] {
  const position = ({ name }: RemoteFile): number => Number(/ layer (\d+)(?:\/\d+)?$/.exec(name)?.[1] ?? 0);
  return [...layers].sort((a, b) => position(a) - position(b));
}

const isManifest = ({ url }: RemoteFile): boolean => /\/v2\/.+\/manifests\/sha256:[0-9a-f]{64}$/.test(url);
const isBlob = ({ url }: RemoteFile): boolean => /\/v2\/.+\/blobs\/sha256:[0-9a-f]{64}$/.test(url);
const isLocal = ({ url }: RemoteFile): boolean => url.startsWith('local:');

function typeOf(artifact: RemoteFile): ArtifactType {
  const { url } = artifact;
  if (isLocal(artifact)) return 'local';
  if (url.startsWith('debian:')) return 'deb';
  if (/^https?:.*\/-\/[^/]+\.tgz$/.test(url)) return 'npm';
  return /\.(tar|tgz|zip|tar\.\w+)$/.test(url) ? 'archive' : 'binary';
}

function typed(artifact: RemoteFile, type: ArtifactType): object {
  return { ...artifact, type };
}

function some(key: string, record: Readonly<Record<string, string>>): object {
  return Object.keys(record).length > 0 ? { [key]: record } : {};
}
