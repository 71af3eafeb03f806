/**
 * `--cache-from` and `--cache-to`: what other machines have finished, kept in any registry, no service of our own. Images
 * (`cache-image.ts`) for whoever builds the same, layers (`cache-layer.ts`) for whoever builds something that shares some.
 * Both are found by keys that recipe and lock give, so nothing has to be fetched to ask.
 *
 * What an entry claims is checked before it is believed, so damage, mistakes and truncation are found. Whether the content
 * is what the recipe would have made, only a rebuild can tell: who may write to a cache is trusted like who may push the
 * image.
 *
 * An entry that is refused costs a warning and the work, and is written anew where this machine may write. A cache that
 * is down costs one warning, and is not asked again.
 */
import type { FoundLayer, WorkCache } from '../../build/cache.ts';
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { formatReference, type ImageReference, parseReference } from '../../oci/reference.ts';
import type { Session } from '../../session/session.ts';
import { hasEntry } from './cache-entry.ts';
import { imageEntry, readImageEntry, writeImageEntry } from './cache-image.ts';
import { layerEntry, readLayerEntry, writeLayerEntry } from './cache-layer.ts';

/** The repository of a cache. Throws `usage` for a tag or digest: kina tags entries itself. */
export function cacheReference(flag: string, value: string): ImageReference {
  const parsed = parseReference(value);
  if (parsed.digest !== undefined || parsed.tag !== 'latest' || value.endsWith(':latest'))
    throw new KinaError('usage', `${flag} ${value}: a cache is a repository, without tag and digest`, {
      hint: 'Write HOST/NAME, e.g. ghcr.io/example/cache.',
    });
  return parsed;
}

/** What a cache may do wrong without an end to the build. */
const passing: ReadonlySet<string> = new Set(['network', 'not-found', 'offline', 'archive', 'integrity', 'platform']);
/** Of these, what will not be otherwise for the next entry. */
const down: ReadonlySet<string> = new Set(['network', 'offline']);

/** `writing` is the transport for what is kept. */
export function registryCache(
  from: readonly ImageReference[],
  to: readonly ImageReference[],
  tools: Session,
  writing: Transport,
): WorkCache {
  const { reporter, signal } = tools;
  const unusable = new Set<string>();
  const forgiving = async <T>(
    repository: ImageReference,
    what: (name: string) => string,
    work: () => Promise<T>,
  ): Promise<T | undefined> => {
    const name = formatReference({ ...repository, tag: undefined });
    const message = what(name);
    if (unusable.has(message)) return undefined;
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted || !(error instanceof KinaError) || !passing.has(error.code)) throw error;
      if (error.code === 'not-found') return undefined;
      reporter.warn(`${message}: ${error.message}`);
      if (down.has(error.code)) unusable.add(message);
      return undefined;
    }
  };
  const notUsed = (name: string): string => `the cache ${name} is not used`;
  const notKept = (name: string): string => `nothing is kept in the cache ${name}`;
  /** Layers that some repository has, but not such that they can be believed. */
  const bad = new Set<string>();
  const lacking = async (key: string): Promise<ImageReference[]> => {
    const without: ImageReference[] = [];
    for (const repository of to) {
      const there = await forgiving(repository, notKept, () => hasEntry(layerEntry(repository, key), tools, writing));
      if (there === false || (there && bad.has(key))) without.push(repository);
    }
    return without;
  };
  return {
    async findImage(key, platform) {
      for (const repository of from) {
        const found = await forgiving(repository, notUsed, () =>
          readImageEntry(imageEntry(repository, key), platform, tools),
        );
        if (found) return found;
      }
      return undefined;
    },
    async keepImage(key, built) {
      for (const repository of to)
        await forgiving(repository, notKept, () => writeImageEntry(imageEntry(repository, key), built, tools, writing));
    },
    async findLayer(key): Promise<FoundLayer | undefined> {
      for (const repository of from) {
        const doubtful = async <T>(work: () => Promise<T>): Promise<T | undefined> =>
          forgiving(repository, notUsed, () =>
            work().catch((error) => {
              if (error instanceof KinaError && !down.has(error.code) && error.code !== 'not-found') bad.add(key);
              throw error;
            }),
          );
        const found = await doubtful(() => readLayerEntry(layerEntry(repository, key), tools));
        if (found) return { tar: found.tar, open: () => doubtful(found.open) };
      }
      return undefined;
    },
    wantsLayer: async (key) => (await lacking(key)).length > 0,
    async keepLayer(key, layer, brought) {
      for (const repository of await lacking(key))
        await forgiving(repository, notKept, () =>
          writeLayerEntry(layerEntry(repository, key), layer, brought, tools, writing),
        );
    },
  };
}
