/**
 * Verifies a signature of an image with local material only: a public key, or an identity, its issuer and a trusted root
 * (the certificates and keys of a Sigstore instance). No server is contacted.
 *
 * With a key, the key alone is sufficient: log entries are checked if a trusted root lists the logs, but they are not
 * required. With an identity, the certificate is valid for minutes, so the time has to be proved by a third party, and
 * everything in the root is required: an entry in a transparency log, and the certificate in a certificate log.
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

/** The trusted key or identity. */
export type Trust =
  | { readonly key: KeyObject; readonly root: TrustedRoot | undefined }
  | { readonly identity: string; readonly issuer: string; readonly root: TrustedRoot };

/** `by`: `key HINT`, or `IDENTITY (ISSUER)`. */
export type Checked = { readonly by: string } | { readonly problem: string };

/** Throws `usage` for an invalid trusted root. */
export async function readTrustedRoot(file: string): Promise<TrustedRoot> {
  try {
    const root = TrustedRoot.fromJSON(JSON.parse(await readFile(file, 'utf8')));
    if (root.certificateAuthorities.length + root.tlogs.length === 0)
      throw new Error('it contains no certificate authority and no log');
    return root;
  } catch (error) {
    throw new KinaError('usage', `${file} is not a Sigstore trusted root: ${(error as Error).message}`, {
      hint: '`cosign trusted-root create --with-default-services` creates the one of the public instance.',
      cause: error,
    });
  }
}

/** Whether the signature is about `image` and by the key or identity of `trust`. */
export function checkSignature(
  { bundle, subjects }: Extract<ReadBundle, { kind: 'signature' }>,
  image: Digest,
  trust: Trust,
): Checked {
  if (!subjects.has(image)) return { problem: `wrong image: got ${[...subjects].join(', ') || 'none'}, want ${image}` };
  const withKey = bundle.verificationMaterial.content.$case === 'publicKey';
  if ('key' in trust !== withKey)
    return { problem: withKey ? 'signed with a key, not with an identity' : 'signed with an identity, not with a key' };
  try {
    const entity = toSignedEntity(bundle);
    const checkable = trust.root ? entity : { ...entity, tlogEntries: [], timestamps: [] };
    return accepted(new Verifier(material(trust), thresholds(trust)).verify(checkable), trust);
  } catch (error) {
    // For malformed bundles, the library also throws plain errors of parsers.
    const known = error instanceof VerificationError || error instanceof PolicyError;
    return { problem: `verification failed: ${known ? error.message : `malformed (${(error as Error).message})`}` };
  }
}

function accepted({ identity }: Signer, trust: Trust): Checked {
  if ('key' in trust) return { by: `key ${keyHint(trust.key)}` };
  // Compared here, exactly: the library treats the expected name as a pattern that may match anywhere.
  const name = identity?.subjectAlternativeName;
  const issuer = identity?.extensions?.issuer;
  if (name === trust.identity && issuer === trust.issuer) return { by: `${name} (${issuer})` };
  return { problem: `wrong identity: got ${name ?? 'none'} (${issuer ?? 'no issuer'})` };
}

function material(trust: Trust): TrustMaterial {
  const publicKey = (hint: string) => {
    if (!('key' in trust)) throw new VerificationError({ code: 'PUBLIC_KEY_ERROR', message: `unknown key ${hint}` });
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
