/**
 * `--cache-from` and `--cache-to`: the work of other machines, kept in any registry. A cache has images (`cache-image.ts`) for
 * builds of the same image, and layers (`cache-layer.ts`) for builds that share some layers. The keys are made from recipe and
 * lock, so nothing is fetched to look an entry up.
 *
 * The claims of an entry are checked before it is used, so damage, mistakes and truncation are found. Only a rebuild shows
 * whether the content is what the recipe would have made: writers of a cache are trusted like those who may push the image.
 *
 * A rejected entry costs a warning and the work, and is replaced when this machine may write. A cache that is down costs one
 * warning, and is not asked again.
 */
import type { FoundLayer, WorkCache } from '../../build/cache.ts';
import { KinaError } from '../../host/errors.ts';
import { formatReference, type ImageReference, parseReference } from '../../oci/reference.ts';
import type { Session } from '../../session/session.ts';
import { hasEntry } from './cache-entry.ts';
import { imageEntry, readImageEntry, writeImageEntry } from './cache-image.ts';
import { layerEntry, readLayerEntry, writeLayerEntry } from './cache-layer.ts';

/** The repository of a cache. Throws `usage` for a tag or digest, because kina tags entries itself. */
export function cacheReference(flag: string, value: string): ImageReference {
  const parsed = parseReference(value);
  if (parsed.digest !== undefined || parsed.tag !== 'latest' || value.endsWith(':latest'))
    throw new KinaError('usage', `${flag} ${value}: a cache is a repository, without tag and digest`, {
      hint: 'Write HOST/NAME, e.g. ghcr.io/example/cache.',
    });
  return parsed;
}

/** Errors of a cache that do not stop the build. */
const passing: ReadonlySet<string> = new Set(['network', 'not-found', 'offline', 'archive', 'integrity', 'platform']);
/** Those that the next entry would run into as well. */
const down: ReadonlySet<string> = new Set(['network', 'offline']);

export function registryCache(
  from: readonly ImageReference[],
  to: readonly ImageReference[],
  session: Session,
): WorkCache {
  const { uploads: writing } = session;
  const attempt = tolerating(session);
  const notUsed = (name: string): string => `the cache ${name} is not used`;
  const notKept = (name: string): string => `nothing is kept in the cache ${name}`;
  /** Keys of layers with a rejected entry. */
  const rejected = new Set<string>();
  /** The repositories that need this layer. */
  const lacking = async (key: string): Promise<ImageReference[]> => {
    const without: ImageReference[] = [];
    for (const repository of to) {
      const there = await attempt(repository, notKept, () => hasEntry(layerEntry(repository, key), session, writing));
      if (there === false || (there && rejected.has(key))) without.push(repository);
    }
    return without;
  };
  const noteRejection = (key: string) => (error: unknown) => {
    if (error instanceof KinaError && !down.has(error.code) && error.code !== 'not-found') rejected.add(key);
    throw error;
  };
  return {
    async findImage(key, platform) {
      for (const repository of from) {
        const read = () => readImageEntry(imageEntry(repository, key), platform, session);
        const found = await attempt(repository, notUsed, read);
        if (found) return found;
      }
      return undefined;
    },
    async keepImage(key, built) {
      for (const repository of to)
        await attempt(repository, notKept, () => writeImageEntry(imageEntry(repository, key), built, session, writing));
    },
    async findLayer(key): Promise<FoundLayer | undefined> {
      for (const repository of from) {
        const reading = <T>(work: () => Promise<T>) =>
          attempt(repository, notUsed, () => work().catch(noteRejection(key)));
        const found = await reading(() => readLayerEntry(layerEntry(repository, key), session));
        if (found) return { tar: found.tar, open: () => reading(found.open) };
      }
      return undefined;
    },
    wantsLayer: async (key) => (await lacking(key)).length > 0,
    async keepLayer(key, layer, outputs) {
      for (const repository of await lacking(key)) {
        const write = () => writeLayerEntry(layerEntry(repository, key), layer, outputs, session, writing);
        await attempt(repository, notKept, write);
      }
    },
  };
}

/**
 * Runs work on a cache; errors of the cache become warnings and the result is undefined. A cache that is down is not asked
 * again for the same purpose.
 */
function tolerating({ reporter, signal }: Session) {
  const unusable = new Set<string>();
  return async <T>(
    repository: ImageReference,
    purpose: (name: string) => string,
    work: () => Promise<T>,
  ): Promise<T | undefined> => {
    const message = purpose(formatReference({ ...repository, tag: undefined }));
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
}
