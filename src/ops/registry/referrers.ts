/**
 * Copies what is beside an image (SBOMs, provenance, signatures): the referrers of its index and of every manifest, and the
 * referrers of those, for example a signature of an SBOM. The bytes do not change, so digests and signatures stay valid.
 */
import pLimit from 'p-limit';
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { TransferError } from '../../host/http-errors.ts';
import { type Descriptor, type Digest, mediaType } from '../../oci/descriptor.ts';
import type { Image } from '../../oci/image/image.ts';
import type { ImageReference } from '../../oci/reference.ts';
import { type PushResult, pushImage } from '../../oci/registry/push.ts';
import { listReferrers, parseReferrer, type ReferrerEntry, subjectOf } from '../../oci/registry/referrers.ts';
import type { Session } from '../../session/session.ts';

export interface Carried {
  readonly subject: Digest;
  readonly entry: ReferrerEntry;
}

/** A signature of a statement about an SBOM is the third level. */
const maxDepth = 4;
const concurrency = 6;

/**
 * Everything that refers to `subjects`, direct referrers first. Entries that are missing or have a different subject are skipped
 * with a warning. Throws what reading the image throws.
 */
export async function referrersIn(
  image: Image,
  subjects: readonly Digest[],
  { reporter }: Pick<Session, 'reporter'>,
): Promise<Carried[]> {
  const limit = pLimit(concurrency);
  const carried = new Map<Digest, Carried>();
  const seen = new Set<Digest>(subjects);
  for (let depth = 0, level = subjects; level.length > 0 && depth < maxDepth; depth++) {
    const found = await Promise.all(
      level.map((subject) =>
        limit(async () => {
          const listed = await listOf(image, subject, reporter);
          return Promise.all(listed.map((one) => carriedBy(image, subject, one, reporter)));
        }),
      ),
    );
    level = [];
    for (const one of found.flat()) {
      if (!one || seen.has(one.entry.digest)) continue;
      seen.add(one.entry.digest);
      carried.set(one.entry.digest, one);
      level = [...level, one.entry.digest];
    }
  }
  return [...carried.values()];
}

/** Copies them to the repository `to`, which has the image; adds what was uploaded to `total`. */
export async function pushReferrers(
  image: Image,
  carried: readonly Carried[],
  to: ImageReference,
  total: PushResult,
  tools: Pick<Session, 'store' | 'reporter' | 'signal'> & { readonly transport: Transport },
): Promise<void> {
  const references = [{ ...to, tag: undefined, digest: undefined }];
  for (const { entry } of carried) {
    const pushed = await pushImage({ ...tools, image: { ...image, root: entry }, references });
    for (const key of Object.keys(pushed) as (keyof PushResult)[]) total[key] += pushed[key];
  }
  for (const [subject, entries] of Map.groupBy(carried, (one) => one.subject))
    await listReferrers(
      to,
      subject,
      entries.map(({ entry }) => entry),
      tools.transport,
      tools.signal,
    );
}

async function listOf(image: Image, subject: Digest, reporter: Session['reporter']): Promise<readonly Descriptor[]> {
  try {
    return await image.referrers(subject);
  } catch (error) {
    // Registries without referrers refuse in different ways; the image can be read from them all the same.
    if (!(error instanceof TransferError) || error.transient || error.status === undefined) throw error;
    reporter.warn(`skipping the referrers of the image: ${error.message}`);
    return [];
  }
}

async function carriedBy(
  image: Image,
  subject: Digest,
  { digest, size }: Descriptor,
  reporter: Session['reporter'],
): Promise<Carried | undefined> {
  try {
    const bytes = await image.document({ mediaType: mediaType.manifest, digest, size });
    if (subjectOf(bytes) === subject) return { subject, entry: parseReferrer(bytes, digest, subject).entry };
    reporter.warn(`skipping ${digest}: it is listed as a referrer of ${subject}, but has a different subject`);
  } catch (error) {
    if (!(error instanceof KinaError) || (error.code !== 'not-found' && error.code !== 'archive')) throw error;
    reporter.warn(`skipping ${digest}, listed as a referrer of ${subject}: ${error.message}`);
  }
  return undefined;
}
