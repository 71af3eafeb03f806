/**
 * Verifies an image by building it again from its lock. Everything is built again with the image's timestamp and
 * compression; only verified downloads come from the store, and the compressed copy of a layer with the same content.
 *
 * If the digests differ, the images are compared as in `kina image diff`, and the first layer and file are reported.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buildNodeImage } from '../../build/image.ts';
import type { Lock } from '../../build/lock.ts';
import { writeLock } from '../../build/lock-file.ts';
import { resolveRecipe } from '../../build/resolve.ts';
import { diffImages, type ImageDiff } from '../../layers/image/diff.ts';
import type { Compression } from '../../oci/compress.ts';
import type { Digest } from '../../oci/descriptor.ts';
import { type ImageContents, readContents } from '../../oci/image/contents.ts';
import { labels } from '../../oci/node-conventions.ts';
import { parsePlatform } from '../../oci/platform.ts';
import { type Session, withoutUnpacked } from '../../session/session.ts';
import { labelOf, lockName } from './statement.ts';

export interface Rebuilt {
  /** Digest of the rebuilt index. */
  readonly digest: Digest;
  /** `same`: equal digests. `compression`: equal configs, so every layer unpacks to the same content. */
  readonly result: 'same' | 'compression' | 'different';
  /** The first difference; empty unless `different`. */
  readonly differences: readonly string[];
}

/** `recipe`: name or file. Throws the errors of building from a lock. */
export async function rebuild(image: ImageContents, lock: Lock, recipe: string, known: Session): Promise<Rebuilt> {
  const folder = known.store.temporaryPath();
  await mkdir(folder);
  const tools = withoutUnpacked(known, join(folder, 'unpacked'));
  try {
    const path = join(folder, 'kina.lock');
    await writeLock(path, lock);
    const platforms = image.platforms.map((platform) => parsePlatform(lockName(platform)));
    const request = { recipe, source: undefined, sourceType: undefined, platforms, set: {}, lock: path, strict: false };
    const resolved = await resolveRecipe(request, tools);
    const options = { compression: compressionOf(image), noCache: true, epoch: epochOf(image) };
    const built = await buildNodeImage(resolved, options, tools);
    // A name can refer to the manifest of one platform, without an index.
    const [only] = built.platforms;
    const digest = image.index || !only ? built.index.digest : only.manifest.digest;
    if (digest === image.descriptor.digest) return { digest, result: 'same', differences: [] };
    const made = await readContents(tools.store, built.index);
    if (configsOf(image) === configsOf(made)) return { digest, result: 'compression', differences: [] };
    const diff = await diffImages(tools.store, image.platforms, made.platforms, { signal: tools.signal });
    return { digest, result: 'different', differences: [...otherVersion(image, tools.version), ...firstOf(diff)] };
  } finally {
    // Work that a failure left behind may still be ending there; the failure is the error to report.
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => {});
  }
}

function compressionOf({ platforms }: ImageContents): Compression | undefined {
  const types = platforms.flatMap(({ manifest }) => manifest.layers.map((layer) => layer.mediaType));
  if (types.some((type) => type.endsWith('zstd'))) return { kind: 'zstd' };
  return types.some((type) => type.endsWith('gzip')) ? { kind: 'gzip' } : undefined;
}

function epochOf({ platforms }: ImageContents): number {
  return Math.floor(Date.parse(platforms[0]?.config.created ?? '1970-01-01T00:00:00Z') / 1000);
}

/** A config lists the digests of the unpacked layers, so equal configs mean equal images. */
function configsOf({ platforms }: ImageContents): string {
  return platforms.map(({ manifest }) => manifest.config.digest).join();
}

function otherVersion({ platforms }: ImageContents, version: string): string[] {
  const by = platforms[0] && labelOf(platforms[0], labels.kina);
  return by === version
    ? []
    : [`the image was built by kina ${by ?? 'of an unknown version'}, this is kina ${version}`];
}

/** For each platform, the first layer that differs, and the first file in it. */
export function firstOf({ platforms }: ImageDiff): string[] {
  return platforms.map(({ platform, layers, files, config }) => {
    const [layer] = layers;
    if (!layer)
      return `${platform}: the layers are the same, the config differs in ${config[0]?.name ?? 'its encoding'}`;
    if (layer.a === undefined) return `${platform}: the image lacks the layer ${layer.name}`;
    if (layer.b === undefined) return `${platform}: the layer ${layer.name} does not come from the lock`;
    const file = files.find(({ a, b }) => a?.layer === layer.name || b?.layer === layer.name);
    if (!file) return `${platform}: the layer ${layer.name} differs in timestamps, order or encoding, not in its files`;
    const how =
      file.a === undefined
        ? 'is missing in the image'
        : file.b === undefined
          ? 'does not come from the lock'
          : `differs in ${file.what.map((one) => (one === 'digest' ? 'content' : one)).join(', ')}`;
    return `${platform}: the layer ${layer.name} differs first in /${file.name}, which ${how}`;
  });
}
