/**
 * Who signed an image, found out with local material only: a public key, or an identity, its issuer and a trusted root (the
 * certificates and keys of a Sigstore instance). No server is asked.
 *
 * With a key the key is the whole proof: entries of transparency logs are checked when a trusted root says which logs there
 * are, and are not demanded. With an identity the certificate lives for minutes, so a time is needed that a third party vouches
 * for, and everything that the root names is demanded: an entry in a log, a certificate in a certificate log.
 */
import type { KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { TrustedRoot } from '@sigstore/protobuf-specs';
import {
  PolicyError,
  type Signer,
  type TrustMaterial,
  toSignedEntity,
  toTrustMaterial,
  VerificationError,
  Verifier,
} from '@sigstore/verify';
import { KinaError } from '../../host/errors.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { ReadBundle } from './bundle.ts';
import { keyHint } from './keys.ts';

/** Whom to believe. */
export type Trust =
  | { readonly key: KeyObject; readonly root: TrustedRoot | undefined }
  | { readonly identity: string; readonly issuer: string; readonly root: TrustedRoot };

/** `by`: `key HINT`, or `IDENTITY (ISSUER)`. */
export type Checked = { readonly by: string } | { readonly problem: string };

/** Throws `usage` if it is not a trusted root. */
export async function readTrustedRoot(file: string): Promise<TrustedRoot> {
  try {
    const root = TrustedRoot.fromJSON(JSON.parse(await readFile(file, 'utf8')));
    if (root.certificateAuthorities.length + root.tlogs.length === 0)
      throw new Error('it names no authority and no log');
    return root;
  } catch (error) {
    throw new KinaError('usage', `${file} is not a trusted root of Sigstore: ${(error as Error).message}`, {
      hint: '`cosign trusted-root create --with-default-services` writes that of the public instance.',
      cause: error,
    });
  }
}

/** Whether the signature is by whom `trust` names, and about `image`. */
export function checkSignature(
  { bundle, subjects }: Extract<ReadBundle, { kind: 'signature' }>,
  image: Digest,
  trust: Trust,
): Checked {
  if (!subjects.has(image)) return { problem: `it is about ${[...subjects].join(', ') || 'nothing'}` };
  const withKey = bundle.verificationMaterial.content.$case === 'publicKey';
  if ('key' in trust !== withKey)
    return { problem: withKey ? 'it is by a key, not by an identity' : 'it is by an identity, not by a key' };
  try {
    const entity = toSignedEntity(bundle);
    const checkable = trust.root ? entity : { ...entity, tlogEntries: [], timestamps: [] };
    return accepted(new Verifier(material(trust), thresholds(trust)).verify(checkable), trust);
  } catch (error) {
    // The library also throws plain errors, of parsers, about bundles that are made up.
    const known = error instanceof VerificationError || error instanceof PolicyError;
    return { problem: `it does not verify: ${known ? error.message : `malformed (${(error as Error).message})`}` };
  }
}

function accepted({ identity }: Signer, trust: Trust): Checked {
  if ('key' in trust) return { by: `key ${keyHint(trust.key)}` };
  // Compared here, and as a whole: the library takes the wanted name for a pattern that may match anywhere.
  const name = identity?.subjectAlternativeName;
  const issuer = identity?.extensions?.issuer;
  if (name === trust.identity && issuer === trust.issuer) return { by: `${name} (${issuer})` };
  return { problem: `it is by ${name ?? 'nobody'} (${issuer ?? 'no issuer'})` };
}

function material(trust: Trust): TrustMaterial {
  const publicKey = (hint: string) => {
    if (!('key' in trust))
      throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: `the key ${hint} is unknown` });
    return { publicKey: trust.key, validFor: () => true };
  };
  if (trust.root) return toTrustMaterial(trust.root, publicKey);
  return { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [], publicKey };
}

function thresholds(trust: Trust) {
  if ('key' in trust) return { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };
  const { tlogs, ctlogs } = trust.root;
  return { tlogThreshold: tlogs.length ? 1 : 0, ctlogThreshold: ctlogs.length ? 1 : 0, timestampThreshold: 1 };
}
