/**
 * Builds an image from layers: config, manifest and index as canonical JSON (sorted keys, no white space), so that equal
 * content has equal bytes. The time comes from the caller; nothing reads a clock.
 */
import { KinaError } from '../../host/errors.ts';
import { canonicalJson } from '../../host/json.ts';
import { type Annotations, type Descriptor, type DescriptorPlatform, type Digest, mediaType } from '../descriptor.ts';
import type { Platform } from '../platform.ts';
import type { Store } from '../store/store.ts';

/** A layer: its uncompressed form, and the blob that contains it. */
interface ImageLayer {
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** The blob: uncompressed, or a compressed copy. */
  readonly descriptor: Descriptor;
  readonly history: {
    /** One line. */
    readonly createdBy: string;
    readonly comment?: string | undefined;
  };
}

/** The process that a runtime starts (OCI image configuration, `config`). There is no `Cmd`: PID 1 would get it as arguments. */
export interface ExecutionConfig {
  readonly Entrypoint?: readonly string[];
  /** `NAME=value`. */
  readonly Env?: readonly string[];
  readonly Labels?: Annotations;
  readonly StopSignal?: string;
  readonly WorkingDir?: string;
  /** `UID`, `UID:GID` or names of the image's own accounts. */
  readonly User?: string;
}

export interface ImageInput {
  readonly platform: Platform;
  readonly layers: readonly ImageLayer[];
  readonly config: ExecutionConfig;
  /** Seconds since the epoch: the lock's or `SOURCE_DATE_EPOCH`. */
  readonly created: number;
  /** On the manifest. */
  readonly annotations?: Annotations;
}

export interface BuiltImage {
  /** With `platform`, ready for `buildIndex`. */
  readonly manifest: Descriptor;
  readonly config: Descriptor;
}

/** containerd mounts one overlay with a lower directory per layer; the kernel's page of options holds about 127. */
const maxLayers = 127;

/** Writes config and manifest into the store. The blobs of the layers are in the store. */
export async function buildImage(store: Store, input: ImageInput): Promise<BuiltImage> {
  const { layers, config } = input;
  if (layers.length > maxLayers)
    throw new KinaError(
      'recipe',
      `the image has ${layers.length} layers, more than the ${maxLayers} that containerd can mount`,
      {
        hint: 'Join layers in the recipe.',
      },
    );
  const created = isoTime(input.created);
  const platform = ociPlatform(input.platform);
  const configBlob = await writeJson(store, mediaType.config, {
    ...platform,
    created,
    config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map(({ history }) => ({ created, created_by: history.createdBy, comment: history.comment })),
  });
  const manifest = await writeJson(store, mediaType.manifest, {
    schemaVersion: 2,
    mediaType: mediaType.manifest,
    config: configBlob,
    layers: layers.map(({ descriptor: { mediaType, digest, size } }) => ({ mediaType, digest, size })),
    annotations: orNone(input.annotations),
  });
  return { manifest: { ...manifest, platform }, config: configBlob };
}

/**
 * Writes an index, the thing that gets a name: also for a single platform, because Apple's store wraps bare manifests
 * and so changes their digest.
 */
export async function buildIndex(
  store: Store,
  manifests: readonly Descriptor[],
  annotations?: Annotations,
): Promise<Descriptor> {
  return { mediaType: mediaType.index, ...(await store.writeBytes(indexJson(manifests, annotations))) };
}

/** An index of these manifests, ordered by platform. Throws `platform` when two are for the same one. */
export function indexJson(manifests: readonly Descriptor[], annotations?: Annotations): string {
  const name = ({ platform: p }: Descriptor) => `${p?.os}/${p?.architecture}/${p?.variant ?? ''}`;
  const sorted = [...manifests].sort((a, b) => (name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : 0));
  const twice = sorted.find((manifest, i) => i > 0 && name(manifest) === name(sorted[i - 1] as Descriptor));
  if (twice) throw new KinaError('platform', `an index cannot hold two images for ${name(twice)}`);
  return canonicalJson({
    schemaVersion: 2,
    mediaType: mediaType.index,
    manifests: sorted.map(({ mediaType, digest, size, platform }) => ({ mediaType, digest, size, platform })),
    annotations: orNone(annotations),
  });
}

/** arm64 carries its variant: containerd normalises to `v8`, and Apple treats absence and `v8` alike. */
function ociPlatform(platform: Platform): DescriptorPlatform {
  const { os, architecture } = platform;
  return architecture === 'arm64' ? { os, architecture, variant: 'v8' } : { os, architecture };
}

function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

async function writeJson(store: Store, type: string, value: unknown): Promise<Descriptor> {
  return { mediaType: type, ...(await store.writeBytes(canonicalJson(value))) };
}

function orNone(annotations: Annotations | undefined): Annotations | undefined {
  return annotations && Object.keys(annotations).length ? annotations : undefined;
}
