/**
 * Layers in a cache, for images that share only some: another patch of Kubernetes on the same Debian base moves the base
 * as one blob and asks no archive for its packages.
 *
 * An entry has the layer as the image has it (so that the registry holds it once, and mounts it where it was pushed), and
 * what the layer's steps brought (`layers/step-outputs.ts`). The record binds both digests and the diffID to the key; the blob
 * has to unpack to that diffID, and every file in it is hashed before the document may name it. Whether the layer of the
 * image at hand is this tar, its own entries decide: the tar writer's output is compared with it.
 */
import { z } from 'zod';
import type { FoundLayer } from '../../build/cache.ts';
import type { Transport } from '../../host/http.ts';
import type { BuiltLayer } from '../../layers/layer.ts';
import { describeOutputs, maxOutputBytes, restoreOutputs, type StepOutputs } from '../../layers/step-outputs.ts';
import { uncompressedLayer } from '../../oci/compress.ts';
import type { ImageReference } from '../../oci/reference.ts';
import type { Session } from '../../session/session.ts';
import { type CacheEntry, fetchBlobs, readEntry, refused, writeEntry } from './cache-entry.ts';
import { carriedForm, digestSchema } from './cache-image.ts';

const broughtType = 'application/vnd.kina.cache.brought.v1+json+zstd';

const recordSchema = z.strictObject({
  key: z.string(),
  name: z.string(),
  /** Of the tar, and its size in bytes. */
  diffId: digestSchema,
  size: z.number().int().nonnegative(),
  /** The blobs: what the steps brought, and the layer. */
  brought: digestSchema,
  blob: digestSchema,
});

export function layerEntry(repository: ImageReference, key: string): CacheEntry {
  return { repository, type: 'application/vnd.kina.cache.layer.v1', tag: `kina-layer-${key}`, key };
}

/** The layer's tar is in the store afterwards. `open` throws `archive` or `integrity`. Throws what `readEntry` throws. */
export async function readLayerEntry(
  entry: CacheEntry,
  tools: Session,
): Promise<Pick<FoundLayer, 'tar'> & { open(): Promise<StepOutputs> }> {
  const { store, unpacker } = tools;
  const { record, blobs } = await readEntry(entry, recordSchema, tools);
  const [document, layer] = blobs;
  if (!document || !layer || blobs.length !== 2) throw refused(entry, 'it is not complete');
  if (document.digest !== record.brought || layer.digest !== record.blob || document.size > maxOutputBytes)
    throw refused(entry, 'its parts do not match');
  await fetchBlobs(entry, [document, layer], tools);
  const tar = await uncompressedLayer(store, layer, record.diffId, record.size);
  if (tar.digest !== record.diffId || tar.size !== record.size)
    throw refused(entry, `${record.name} has different content`);
  const from = `the list of what the steps of ${record.name} bring`;
  return {
    tar,
    async open() {
      const bytes = await store.readBytes(document.digest, maxOutputBytes);
      return restoreOutputs(bytes, { tar: store.blobPath(tar.digest), key: tar.digest, unpacker }, from);
    },
  };
}

/** Throws `archive` for a layer of which too much is in other layers. */
export async function writeLayerEntry(
  entry: CacheEntry,
  { name, diffId, size, descriptor }: BuiltLayer,
  brought: StepOutputs,
  tools: Session,
  writing: Transport,
): Promise<void> {
  const { store, reporter } = tools;
  const bytes = await describeOutputs(brought, store.blobPath(diffId));
  if (!bytes) return reporter.info(`The layer ${name} is not kept in the cache: most of it is in other layers.`);
  const document = { mediaType: broughtType, ...(await store.writeBytes(bytes)) };
  const blob = await carriedForm(store, descriptor);
  const record = { key: entry.key, name, diffId, size, brought: document.digest, blob: blob.digest };
  await writeEntry(entry, record, [document, blob], tools, writing);
}
