/**
 * The image to verify, all of it in the store. Of an image in a registry everything is read from the registry now, also
 * what the store has: the question is what others would get.
 */
import { rm } from 'node:fs/promises';
import type { Artifact } from '../../artifacts/artifact.ts';
import { Fetcher } from '../../artifacts/fetch.ts';
import { KinaError } from '../../host/errors.ts';
import {
  type Descriptor,
  type Digest,
  isIndexType,
  maxManifestBytes,
  parseIndex,
  parseManifest,
} from '../../oci/descriptor.ts';
import { partsOf } from '../../oci/image/parts.ts';
import { platformName } from '../../oci/image/select.ts';
import { type ImageReference, repositoryUrl } from '../../oci/reference.ts';
import { readManifest } from '../../oci/registry/client.ts';
import { Store } from '../../oci/store/store.ts';
import type { Session } from '../../session/session.ts';
import { openSource } from '../registry/source.ts';

export interface Obtained {
  readonly descriptor: Descriptor;
  /** Where it is, when that is a registry. */
  readonly origin: ImageReference | undefined;
}

/**
 * `REF` is a name in the store, else of a registry; `docker://REF` is of a registry whatever the store has. Throws
 * `integrity` for what is not its digest's, naming the part of the image, and what reading a registry throws.
 */
export async function obtain(ref: string, tools: Session): Promise<Obtained> {
  const named = ref.replace(/^docker:\/\//, '');
  const known = named === ref ? await tools.store.resolve(ref) : undefined;
  if (known) return { descriptor: known, origin: undefined };
  const { store, transport, signal } = tools;
  const source = await naming('the index or manifest that the name stands for', () =>
    openSource({ type: 'registry', ref: named }, tools),
  );
  const origin = source.origin as ImageReference;
  const top = await store.readBytes(source.root.digest, maxManifestBytes);
  const roles = isIndexType(source.root.mediaType) ? platformsIn(top, ref) : new Map<Digest, string>();
  const fresh = {
    ...source,
    async readBytes(digest: Digest, limit: number) {
      if (digest === source.root.digest) return store.readBytes(digest, limit);
      const bytes = await naming(`the manifest${roles.get(digest) ?? ''}`, () =>
        readManifest(origin, digest, transport, signal),
      );
      await store.writeBytes(bytes, { digest });
      return bytes;
    },
  };
  const { documents, blobs } = await partsOf(fresh, source.root);
  const names = new Map<Digest, string>();
  for (const { mediaType, digest, bytes } of documents) {
    if (isIndexType(mediaType)) continue;
    const { config, layers } = parseManifest(bytes, digest);
    const of = roles.get(digest) ?? '';
    for (const [i, layer] of layers.entries()) names.set(layer.digest, `layer ${i + 1}${of}`);
    names.set(config.digest, `config${of}`);
  }
  const wanted = blobs.map(({ digest, size }) => ({
    name: `${names.get(digest) ?? 'blob'} in ${origin.repository}`,
    url: `${repositoryUrl(origin)}/blobs/${digest}`,
    size,
    digest,
    verifiedBy: 'registry manifest',
  }));
  await fetchAgain(wanted, tools);
  return { descriptor: source.root, origin };
}

/** ` of linux/arm64`, for each manifest of an index. */
function platformsIn(bytes: Buffer, ref: string): Map<Digest, string> {
  const entries = parseIndex(bytes, ref).manifests;
  return new Map(entries.map(({ digest, platform }) => [digest, platform ? ` of ${platformName(platform)}` : '']));
}

async function naming<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'integrity') throw error;
    throw new KinaError('integrity', `${what} was changed`, {
      details: [error.message, ...error.details],
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}

/**
 * What the store lacks comes into it; what it has is read into a store of its own that is thrown away, or swept by the
 * next process when this one dies. Fetching is checked, resumed and tried again as everywhere.
 */
async function fetchAgain(wanted: readonly Artifact[], tools: Session): Promise<void> {
  const { store, transport, reporter, signal, fetcher } = tools;
  const there = await Promise.all(wanted.map(({ digest, size }) => store.has(digest, size)));
  await fetcher.fetchAll(wanted.filter((_, i) => !there[i]));
  const again = wanted.filter((_, i) => there[i]);
  if (again.length === 0) return;
  const folder = store.temporaryPath();
  try {
    await new Fetcher({ store: await Store.open(folder), transport, reporter, signal }).fetchAll(again);
  } finally {
    // Work that a failure has left behind may still be ending there; what went wrong is the thing to say.
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => {});
  }
}
