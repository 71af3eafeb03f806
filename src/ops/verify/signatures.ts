/** Verifies the signatures of an image: one by the trusted key or identity is enough, whatever other signatures exist. */
import type { Digest } from '../../oci/descriptor.ts';
import { isBundleType, readBundle } from '../trust/bundle.ts';
import { checkSignature, type Trust } from '../trust/check-signature.ts';
import type { Beside } from './beside.ts';

export interface Signatures {
  /**
   * `unchecked`: there are signatures, but no trusted key or identity was given, or their format is not supported; `wrong`:
   * none is by the trusted key or identity.
   */
  readonly state: 'none' | 'unchecked' | 'verified' | 'wrong';
  /** The signers: `key HINT`, `IDENTITY (ISSUER)`. */
  readonly by: readonly string[];
  /** Manifests of attached documents that the verified signatures cover. */
  readonly covers: ReadonlySet<Digest>;
  /** Why no signature was accepted. */
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
    if ('problem' in checked) problems.push(`signature ${digest} is not accepted: ${checked.problem}`);
    else by.add(checked.by);
    if ('by' in checked && read.kind === 'signature') for (const one of read.subjects) covers.add(one);
  }
  if (by.size === 0) return { ...nothing, state: 'wrong', problems };
  return { state: 'verified', by: [...by], covers, problems: [] };
}
