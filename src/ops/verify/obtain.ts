/**
 * The image to verify, all of it in the store. Of an image in a registry everything is read from the registry now, also
 * what the store has: the question is what others would get.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Fetcher } from '../../artifacts/fetch.ts';
import type { Toolbox } from '../../layers/toolbox.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { partsOf } from '../../oci/parts.ts';
import { readManifest } from '../../oci/registry.ts';
import { type ImageReference, repositoryUrl } from '../../oci/registry-reference.ts';
import { Store } from '../../oci/store.ts';
import { openSource } from '../registry/source.ts';

export interface Obtained {
  readonly descriptor: Descriptor;
  /** Where it is, when that is a registry. */
  readonly origin: ImageReference | undefined;
}

/**
 * `REF` is a name in the store, else of a registry; `docker://REF` is of a registry whatever the store has. Throws
 * `integrity` for what is not its digest's, and what reading a registry throws.
 */
export async function obtain(ref: string, tools: Toolbox): Promise<Obtained> {
  const named = ref.replace(/^docker:\/\//, '');
  const known = named === ref ? await tools.store.resolve(ref) : undefined;
  if (known) return { descriptor: known, origin: undefined };
  const { store, transport, signal } = tools;
  const source = await openSource({ type: 'registry', ref: named }, tools);
  const origin = source.origin as ImageReference;
  const fresh = {
    ...source,
    async readBytes(digest: Descriptor['digest'], limit: number) {
      if (digest === source.root.digest) return store.readBytes(digest, limit);
      const bytes = await readManifest(origin, digest, transport, signal);
      await store.writeBytes(bytes, { digest });
      return bytes;
    },
  };
  const { blobs } = await partsOf(fresh, source.root);
  const there = await Promise.all(blobs.map(({ digest, size }) => store.has(digest, size)));
  await source.keep(blobs.filter((_, i) => !there[i]));
  await readAgain(
    blobs.filter((_, i) => there[i]),
    origin,
    tools,
  );
  return { descriptor: source.root, origin };
}

/** Into a store of its own that is thrown away: fetching is checked, resumed and tried again as everywhere. */
async function readAgain(blobs: readonly Descriptor[], origin: ImageReference, tools: Toolbox): Promise<void> {
  if (blobs.length === 0) return;
  const folder = await mkdtemp(join(tools.store.root, 'verify-'));
  try {
    const { transport, reporter, signal } = tools;
    const fetcher = new Fetcher({ store: await Store.open(folder), transport, reporter, signal });
    await fetcher.fetchAll(
      blobs.map(({ digest, size }) => ({
        name: `${origin.repository} ${digest.slice(7, 19)}`,
        url: `${repositoryUrl(origin)}/blobs/${digest}`,
        size,
        digest,
        verifiedBy: 'registry manifest',
      })),
    );
  } finally {
    // Work that a failure has left behind may still be ending there; what went wrong is the thing to say.
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => {});
  }
}
