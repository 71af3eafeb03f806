/**
 * How callers of the image service name an image: by its id (`sha256:` and the digest of the config; the prefix may be missing
 * and the digest may be shortened), or by a name as in `parseReference`. Names are kept in canonical form.
 */
import { KinaError } from '../../host/errors.ts';
import { type Digest, isDigest } from '../../oci/descriptor.ts';
import { canonicalReference, formatReference, parseReference } from '../../oci/reference.ts';

/** The shortest prefix of an id that is accepted; lists show twelve digits. */
const minimumPrefix = 4;

/** The same image by its digest: `docker.io/library/busybox@sha256:…`. */
export function digestName(reference: string, digest: Digest): string {
  return formatReference({ ...parseReference(reference), tag: undefined, digest });
}

export const isDigestName = (name: string): boolean => name.includes('@');

/**
 * The id of the image; undefined when there is none. A name comes before the prefix of an id. Throws `usage` when several ids
 * have the prefix.
 */
export function findId(
  reference: string,
  names: ReadonlyMap<string, Digest>,
  ids: readonly Digest[],
): Digest | undefined {
  const hex = reference.startsWith('sha256:') ? reference.slice('sha256:'.length) : reference;
  const whole = `sha256:${hex}`;
  if (isDigest(whole)) return ids.find((id) => id === whole);
  const named = names.get(nameOrNothing(reference) ?? '');
  if (named !== undefined) return named;
  if (hex.length < minimumPrefix || !/^[0-9a-f]+$/.test(hex)) return undefined;
  const found = ids.filter((id) => id.startsWith(whole));
  if (found.length > 1)
    throw new KinaError('usage', `the id of several images begins with ${reference}`, {
      details: found,
      hint: 'Write more digits.',
    });
  return found[0];
}

function nameOrNothing(reference: string): string | undefined {
  try {
    return canonicalReference(reference);
  } catch (error) {
    if (error instanceof KinaError) return undefined;
    throw error;
  }
}

/**
 * The default user of a container: `config.User` is `USER[:GROUP]`, where a number is an id. The result has one of the two
 * fields or, for root by default, neither: kubelet reads that as uid 0.
 */
export function defaultUser(user: string | undefined): { uid?: number; username?: string } {
  const [first = ''] = (user ?? '').split(':');
  if (first === '') return {};
  return /^\d+$/.test(first) && Number.isSafeInteger(Number(first)) ? { uid: Number(first) } : { username: first };
}
