/** A signature beside an image in a registry, once: what the same key has signed already is not signed again. */
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import type { Descriptor, Digest } from '../../oci/descriptor.ts';
import type { ImageReference } from '../../oci/reference.ts';
import { attach, readDocument, readReferrer, referrersOf } from '../../oci/registry/referrers.ts';
import { isBundleType, type ReadBundle, readBundle, signatureAttachment } from './bundle.ts';
import { checkSignature } from './check-signature.ts';
import type { ImageSigner } from './sign.ts';

/** A signature is 1 KB with a key, and with a certificate and a log's proof 10 KB. */
export const maxBundleBytes = 1 << 20;

interface Tools {
  readonly transport: Transport;
  readonly signal?: AbortSignal | undefined;
}

/** The digest of the signature's manifest. Throws what signing and pushing throw. */
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

/** One by the signer's key that covers all of it; undefined for signers whose key lives for one signature. */
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

/** A damaged or only listed referrer is not a signature, and does not prevent a new one. */
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
