/**
 * The documents attached to an image in its registry: every referrer of the index and of its manifests is checked down to
 * its bytes, so that a changed byte in an SBOM or a signature is found like one in a layer. For types that kina does not
 * know, only the manifest is read, because they may have any size.
 */
import { KinaError } from '../../host/errors.ts';
import type { Damage } from '../../layers/image/verify.ts';
import { type Descriptor, type Digest, hexOf } from '../../oci/descriptor.ts';
import type { ImageContents } from '../../oci/image/contents.ts';
import { nameOf } from '../../oci/image/select.ts';
import { formatReference, type ImageReference } from '../../oci/reference.ts';
import { resolveReference } from '../../oci/registry/client.ts';
import { readDocument, readReferrer, referrersOf } from '../../oci/registry/referrers.ts';
import type { Session } from '../../session/session.ts';
import { lockType, provenanceType, sbomType } from '../trust/attach.ts';
import { isBundleType } from '../trust/bundle.ts';

/** A document attached to the image. */
export interface Beside {
  /** Digest of the referrer's manifest. */
  readonly digest: Digest;
  readonly subject: Digest;
  /** `SBOM of linux/arm64`, `signature` and so on. */
  readonly what: string;
  readonly type: string;
  readonly bytes: Buffer;
}
export interface Surroundings {
  readonly documents: readonly Beside[];
  readonly damage: readonly Damage[];
}

/** More than any statement, lock or SBOM needs: a node's have 200 KB to 2 MB. */
const maxDocumentBytes = 16 << 20;

const names: Readonly<Record<string, string>> = {
  [sbomType]: 'SBOM',
  [provenanceType]: 'provenance',
  [lockType]: 'lock',
};

/** Reports damage; throws if the registry cannot be read. */
export async function readSurroundings(
  origin: ImageReference,
  image: ImageContents,
  { transport, signal }: Session,
): Promise<Surroundings> {
  const documents: Beside[] = [];
  const damage: Damage[] = [];
  const subjects = new Map<Digest, string>([
    ...image.platforms.map((one): [Digest, string] => [one.descriptor.digest, ` of ${nameOf(one)}`]),
    [image.descriptor.digest, ''],
  ]);
  for (const [subject, of] of subjects)
    for (const listed of await referrersOf(origin, subject, transport, signal)) {
      // The type in the list, until the manifest itself is read.
      let type = typeOf(listed);
      try {
        const { entry, documents: parts } = await readReferrer(origin, listed, subject, transport, signal);
        type = entry.artifactType;
        const [part] = parts;
        if (!part || kindOf(type) === undefined || part.size > maxDocumentBytes) continue;
        const bytes = await readDocument(origin, part, maxDocumentBytes, transport, signal);
        documents.push({ digest: listed.digest, subject, what: `${kindOf(type)}${of}`, type, bytes });
      } catch (error) {
        if (!(error instanceof KinaError) || !['integrity', 'not-found', 'archive'].includes(error.code)) throw error;
        const what = `${kindOf(type) ?? (type || 'something')}${of}`;
        damage.push({ what, digest: listed.digest, problem: [error.message, ...error.details].join('; ') });
      }
    }
  return { documents, damage };
}

/** Whether there are signatures where cosign before 3 stores them, in its own format. */
export async function hasCosignTag(
  origin: ImageReference,
  digest: Digest,
  { transport, signal }: Session,
): Promise<boolean> {
  try {
    const tag = `sha256-${hexOf(digest)}.sig`;
    await resolveReference(formatReference({ ...origin, tag, digest: undefined }), transport, signal);
    return true;
  } catch (error) {
    if (error instanceof KinaError && error.code === 'not-found') return false;
    throw error;
  }
}

function kindOf(type: string): string | undefined {
  return names[type] ?? (isBundleType(type) ? 'signature' : undefined);
}

function typeOf(listed: Descriptor): string {
  const { artifactType } = listed as { artifactType?: unknown };
  return typeof artifactType === 'string' ? artifactType : '';
}
