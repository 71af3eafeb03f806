/**
 * A signature of an image in the format of cosign 3: a sigstore bundle (github.com/sigstore/protobuf-specs,
 * `sigstore_bundle.proto`) with a DSSE envelope around an in-toto statement about the image's digest. It is a
 * referrer of the image (github.com/sigstore/cosign, `specs/BUNDLE_SPEC.md`).
 *
 * The same format is used for attestations, which state something else about the image. Only the predicate type
 * distinguishes them, so only `signaturePredicate` counts as a signature.
 */
import { type Bundle, bundleFromJSON, bundleToJSON } from '@sigstore/bundle';
import { z } from 'zod';
import { type Descriptor, type Digest, hexOf } from '../../oci/descriptor.ts';
import type { Attachment } from '../../oci/registry/referrers.ts';

export const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
export const statementType = 'application/vnd.in-toto+json';
const signaturePredicate = 'https://sigstore.dev/cosign/sign/v1';
const inToto = 'https://in-toto.io/Statement/v1';

const schema = z.looseObject({
  _type: z.literal(inToto),
  subject: z.array(z.looseObject({ digest: z.record(z.string(), z.string()) })),
  predicateType: z.string(),
});

/** `attestation`: possibly signed, but not a signature of the image. */
export type ReadBundle =
  | { readonly kind: 'signature'; readonly bundle: Bundle; readonly subjects: ReadonlySet<Digest> }
  | { readonly kind: 'attestation'; readonly predicateType: string }
  | { readonly kind: 'unreadable'; readonly problem: string };

/** Includes older versions of the format and bundles of other tools. */
export function isBundleType(type: string): boolean {
  return type.startsWith('application/vnd.dev.sigstore.bundle');
}

/** The statement to sign. The image comes first; `documents` are attached manifests that the signature covers as well. */
export function signatureStatement(image: Digest, documents: readonly Digest[]): Buffer {
  const subject = [image, ...documents].map((digest) => ({ digest: { sha256: hexOf(digest) } }));
  return Buffer.from(JSON.stringify({ _type: inToto, subject, predicateType: signaturePredicate, predicate: {} }));
}

/** Parses only; `checkSignature` verifies. */
export function readBundle(bytes: Uint8Array): ReadBundle {
  let bundle: Bundle;
  try {
    bundle = bundleFromJSON(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (error) {
    return { kind: 'unreadable', problem: `not a sigstore bundle: ${(error as Error).message}` };
  }
  if (bundle.content.$case !== 'dsseEnvelope') return { kind: 'unreadable', problem: 'no DSSE envelope' };
  const { payload, payloadType } = bundle.content.dsseEnvelope;
  if (payloadType !== statementType) return { kind: 'unreadable', problem: `unsupported payload ${payloadType}` };
  const statement = parse(payload);
  if (!statement) return { kind: 'unreadable', problem: 'no in-toto statement' };
  const { predicateType, subject } = statement;
  if (predicateType !== signaturePredicate) return { kind: 'attestation', predicateType };
  const subjects = subject.flatMap(({ digest: { sha256 } }): Digest[] => (sha256 ? [`sha256:${sha256}`] : []));
  return { kind: 'signature', bundle, subjects: new Set(subjects) };
}

/** The bundle as a referrer of the image, with the annotations that cosign lists it by. */
export function signatureAttachment(subject: Descriptor, bundle: Bundle): Attachment {
  return {
    subject,
    type: bundleType,
    document: Buffer.from(JSON.stringify(bundleToJSON(bundle))),
    title: 'signature.sigstore.json',
    annotations: {
      'dev.sigstore.bundle.content': 'dsse-envelope',
      'dev.sigstore.bundle.predicateType': signaturePredicate,
    },
  };
}

function parse(payload: Buffer): z.infer<typeof schema> | undefined {
  try {
    return schema.safeParse(JSON.parse(payload.toString('utf8'))).data;
  } catch {
    return undefined;
  }
}
