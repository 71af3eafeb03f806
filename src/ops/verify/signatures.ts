/** The signatures of an image, checked against the trusted key or identity: one that verifies is enough. */
import type { Digest } from '../../oci/descriptor.ts';
import { isBundleType, readBundle } from '../trust/bundle.ts';
import { checkSignature, type Trust } from '../trust/check-signature.ts';
import type { Beside } from './beside.ts';

export interface Signatures {
  /**
   * `unchecked`: there are some, but no trusted key or identity, or their format is not supported; `wrong`: none
   * is by who was named.
   */
  readonly state: 'none' | 'unchecked' | 'verified' | 'wrong';
  /** Who signed: `key HINT`, `IDENTITY (ISSUER)`. */
  readonly by: readonly string[];
  /** Manifests of documents beside the image that verified signatures cover too. */
  readonly covers: ReadonlySet<Digest>;
  /** Why none verifies. */
  readonly problems: readonly string[];
}

/** `elsewhere`: there is a signature that is not a referrer. */
export function judge(
  documents: readonly Beside[],
  image: Digest,
  trust: Trust | undefined,
  elsewhere: boolean,
): Signatures {
  const found = documents
    .filter(({ type, subject }) => isBundleType(type) && subject === image)
    .flatMap(({ digest, bytes }) => {
      const read = readBundle(bytes);
      return read.kind === 'attestation' ? [] : [{ digest, read }];
    });
  const nothing = { by: [], covers: new Set<Digest>(), problems: [] };
  if (found.length === 0) return { ...nothing, state: elsewhere ? 'unchecked' : 'none' };
  if (!trust) return { ...nothing, state: 'unchecked' };
  const by = new Set<string>();
  const covers = new Set<Digest>();
  const problems: string[] = [];
  for (const { digest, read } of found) {
    const checked = read.kind === 'signature' ? checkSignature(read, image, trust) : read;
    if ('problem' in checked) problems.push(`the signature ${digest} is not accepted: ${checked.problem}`);
    else by.add(checked.by);
    if ('by' in checked && read.kind === 'signature') for (const one of read.subjects) covers.add(one);
  }
  if (by.size === 0) return { ...nothing, state: 'wrong', problems };
  return { state: 'verified', by: [...by], covers, problems: [] };
}
