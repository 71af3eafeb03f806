/**
 * What callers of the image service may say for an image, and what it answers: an id (`sha256:` and the digest of the
 * config, the `sha256:` may be missing and the digest may be cut off), or a name with the meanings of `parseReference`.
 *
 * A name is kept in full. `a:1@sha256:…` is a digest with a note: the tag proves nothing, so it is not remembered.
 */
import { KinaError } from '../../host/errors.ts';
import { type Digest, isDigest } from '../../oci/descriptor.ts';
import { canonicalReference, formatReference, parseReference } from '../../oci/reference.ts';

/** Shortest part of an id that is looked for; people write twelve digits, as lists show them. */
const minimumPrefix = 4;

/** The name for the same image's digest: `docker.io/library/busybox@sha256:…`. */
export function digestName(reference: string, digest: Digest): string {
  return formatReference({ ...parseReference(reference), tag: undefined, digest });
}

export const isDigestName = (name: string): boolean => name.includes('@');

/**
 * The id of the image that is meant; undefined when there is none. A name comes before the beginning of an id. Throws
 * `usage` when several ids begin so.
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
    throw new KinaError('usage', `several images begin with ${reference}`, {
      details: found,
      hint: 'Write more of it.',
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
 * Who a container runs as when nobody says otherwise: `config.User` is `USER[:GROUP]`, where a number is an id. One of the
 * two or, for root by default, neither: kubelet takes neither for uid 0.
 */
export function defaultUser(user: string | undefined): { uid?: number; username?: string } {
  const [first = ''] = (user ?? '').split(':');
  if (first === '') return {};
  return /^\d+$/.test(first) && Number.isSafeInteger(Number(first)) ? { uid: Number(first) } : { username: first };
}
