/**
 * Finished images in a cache: an entry per platform of an image, under a key made from all inputs (lock, recipe, compression,
 * kina's version; see `build/keys.ts`). Its blobs are those of the image: manifest, config and layers, with uncompressed layers
 * compressed with zstd.
 *
 * Before it is used, the manifest is compared with the record, the config with the manifest, and the content of every layer
 * with the config.
 */
import { z } from 'zod';
import type { BuiltPlatform } from '../../build/cache.ts';
import type { Transport } from '../../host/http.ts';
import { compressLayer, contentOf, uncompressedLayer } from '../../oci/compress.ts';
import {
  asDescriptor,
  type Descriptor,
  type Digest,
  isDigest,
  maxConfigBytes,
  maxManifestBytes,
  mediaType,
  parseConfig,
  parseManifest,
} from '../../oci/descriptor.ts';
import type { ImageReference } from '../../oci/reference.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Session } from '../../session/session.ts';
import { type CacheEntry, fetchBlobs, readEntry, refused, writeEntry } from './cache-entry.ts';

// Not the types of images: registries look for those among manifests, not among blobs.
const manifestType = 'application/vnd.kina.cache.manifest.v1+json';
const configType = 'application/vnd.kina.cache.config.v1+json';

export const digestSchema = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const descriptor = z.custom<Descriptor>((value) => asDescriptor(value) !== undefined);
const recordSchema = z.strictObject({
  key: z.string(),
  platform: z.string(),
  manifest: descriptor,
  components: z.record(z.string(), z.string()),
  absent: z.array(z.string()),
  layers: z.array(z.strictObject({ name: z.string(), diffId: digestSchema, size: z.number().int().nonnegative() })),
});

export function imageEntry(repository: ImageReference, key: string): CacheEntry {
  return { repository, type: 'application/vnd.kina.cache.image.v1', tag: `kina-${key}`, key };
}

/** The form of a layer in a cache: as in the image, but with zstd when it is an uncompressed tar. */
export async function carriedForm(store: Store, layer: Descriptor): Promise<Descriptor> {
  return layer.mediaType === mediaType.layer ? compressLayer(store, layer, { kind: 'zstd' }) : layer;
}

/** Fetches all of it into the store. Throws what `readEntry` throws. */
export async function readImageEntry(entry: CacheEntry, platform: string, tools: Session): Promise<BuiltPlatform> {
  const { store } = tools;
  const { record, blobs } = await readEntry(entry, recordSchema, tools);
  const [manifestBlob, configBlob, ...layers] = blobs;
  if (!manifestBlob || !configBlob || [manifestBlob, configBlob].some(({ size }) => size > maxConfigBytes))
    throw refused(entry, 'it is not complete');
  if (record.platform !== platform) throw refused(entry, 'its record is for something else');
  await fetchBlobs(entry, [manifestBlob, configBlob], tools);
  const image = parseManifest(await store.readBytes(manifestBlob.digest, maxManifestBytes), entry.tag);
  const config = parseConfig(await store.readBytes(configBlob.digest, maxConfigBytes), entry.tag);
  const diffIds = config.rootfs.diff_ids ?? [];
  if (
    record.manifest.digest !== manifestBlob.digest ||
    image.config.digest !== configBlob.digest ||
    `${config.os}/${config.architecture}` !== platform ||
    [image.layers, layers, diffIds].some(({ length }) => length !== record.layers.length) ||
    record.layers.some(({ diffId }, i) => diffId !== diffIds[i])
  )
    throw refused(entry, 'its parts do not match');
  await fetchBlobs(entry, layers, tools);
  const built: BuiltPlatform['layers'][number][] = [];
  for (const [i, layer] of record.layers.entries()) {
    const carried = layers[i] as Descriptor;
    const wanted = image.layers[i] as Descriptor;
    // A layer that the image has compressed is in the cache unchanged; otherwise the tar is decompressed.
    const isTar = wanted.digest === layer.diffId;
    if (!isTar && carried.digest !== wanted.digest) throw refused(entry, `${layer.name} is a different layer`);
    const actual = await (isTar
      ? uncompressedLayer(store, carried, layer.diffId, layer.size)
      : contentOf(store, wanted, layer.size));
    if (actual.digest !== layer.diffId || actual.size !== layer.size)
      throw refused(entry, `${layer.name} has different content`);
    built.push({ ...layer, descriptor: wanted, cached: true, elapsed: 0 });
  }
  const { manifest, components, absent } = record;
  return { platform, manifest, components, absent, layers: built, cached: true };
}

export async function writeImageEntry(
  entry: CacheEntry,
  built: BuiltPlatform,
  tools: Session,
  writing: Transport,
): Promise<void> {
  const { store } = tools;
  const { platform, manifest, components, absent } = built;
  const image = parseManifest(await store.readBytes(manifest.digest, maxManifestBytes), manifest.digest);
  const layers: Descriptor[] = [];
  for (const layer of image.layers) layers.push(await carriedForm(store, layer));
  const record = {
    key: entry.key,
    platform,
    manifest,
    components,
    absent,
    layers: built.layers.map(({ name, diffId, size }) => ({ name, diffId, size })),
  };
  const documents = [
    { mediaType: manifestType, digest: manifest.digest, size: manifest.size },
    { mediaType: configType, digest: image.config.digest, size: image.config.size },
  ];
  await writeEntry(entry, record, [...documents, ...layers], tools, writing);
}
