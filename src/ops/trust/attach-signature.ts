/** Attaches a signature to an image in a registry, unless the same key has already signed it. */
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import type { Descriptor, Digest } from '../../oci/descriptor.ts';
import type { ImageReference } from '../../oci/reference.ts';
import { attach, readDocument, readReferrer, referrersOf } from '../../oci/registry/referrers.ts';
import { isBundleType, type ReadBundle, readBundle, signatureAttachment } from './bundle.ts';
import { checkSignature } from './check-signature.ts';
import type { ImageSigner } from './sign.ts';

/** A signature has 1 KB with a key, and 10 KB with a certificate and a log's proof. */
export const maxBundleBytes = 1 << 20;

interface Tools {
  readonly transport: Transport;
  readonly signal?: AbortSignal | undefined;
}

/** The digest of the signature's manifest. Throws the errors of signing and pushing. */
export async function attachSignature(
  to: ImageReference,
  image: Descriptor,
  documents: readonly Digest[],
  signer: ImageSigner,
  { transport, signal }: Tools,
): Promise<Digest> {
  const known = await signatureBy(to, image.digest, documents, signer, { transport, signal });
  if (known) return known;
  const bundle = await signer.sign(image.digest, documents);
  return (await attach(to, signatureAttachment(image, bundle), transport, signal)).digest;
}

/** An existing signature by the signer's key that covers all of it; undefined for keyless signers. */
async function signatureBy(
  to: ImageReference,
  image: Digest,
  documents: readonly Digest[],
  { publicKey: key }: ImageSigner,
  { transport, signal }: Tools,
): Promise<Digest | undefined> {
  if (!key) return undefined;
  for (const { digest } of await referrersOf(to, image, transport, signal)) {
    const bundle = await bundleOf(to, digest, image, { transport, signal });
    if (bundle?.kind !== 'signature' || !documents.every((one) => bundle.subjects.has(one))) continue;
    if ('by' in checkSignature(bundle, image, { key, root: undefined })) return digest;
  }
  return undefined;
}

/** A damaged or missing signature is ignored: it must not prevent a new one. */
async function bundleOf(
  to: ImageReference,
  referrer: Digest,
  image: Digest,
  { transport, signal }: Tools,
): Promise<ReadBundle | undefined> {
  try {
    const { entry, documents } = await readReferrer(to, { digest: referrer }, image, transport, signal);
    const [part] = documents;
    if (!part || !isBundleType(entry.artifactType) || part.size > maxBundleBytes) return undefined;
    return readBundle(await readDocument(to, part, maxBundleBytes, transport, signal));
  } catch (error) {
    if (error instanceof KinaError && ['integrity', 'not-found', 'archive'].includes(error.code)) return undefined;
    throw error;
  }
}
