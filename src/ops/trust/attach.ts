/**
 * `--sbom`, `--provenance` and `--sign`: attaches documents about an image to it in every repository that it was pushed to.
 * A signature covers the image and the documents that were attached with it.
 */
import { formatLock } from '../../build/lock-file.ts';
import type { Transport } from '../../host/http.ts';
import { redact } from '../../host/http-route.ts';
import { canonicalJson } from '../../host/json.ts';
import type { Descriptor, Digest } from '../../oci/descriptor.ts';
import { type ImageContents, readContents } from '../../oci/image/contents.ts';
import { formatReference, type ImageReference } from '../../oci/reference.ts';
import { type Attachment, attach } from '../../oci/registry/referrers.ts';
import type { Store } from '../../oci/store/store.ts';
import { attachSignature } from './attach-signature.ts';
import { bundleType, statementType } from './bundle.ts';
import { inventory } from './inventory.ts';
import { artifactsOf, joinOrigins, originsOf } from './origin.ts';
import { provenance } from './provenance.ts';
import type { ImageSigner } from './sign.ts';
import { spdx } from './spdx.ts';

export const sbomType = 'application/spdx+json';
export const provenanceType = statementType;
export const lockType = 'application/vnd.kina.lock.v1+yaml';

/** What stands beside a pushed image as referrers. */
export interface DocumentOptions {
  /** An SPDX document for each platform. */
  readonly sbom?: boolean | undefined;
  /** A SLSA provenance document, and the lock. */
  readonly provenance?: boolean | undefined;
  /** Signs the image and its documents. */
  readonly signer?: ImageSigner | undefined;
}

export interface Attached {
  readonly type: string;
  readonly digest: string;
  readonly subject: string;
}

/** `root`: of the pushed image, in the store. Throws the errors of pushing; `not-found` without provenance. */
export async function attachDocuments(
  root: Descriptor,
  references: readonly ImageReference[],
  wanted: DocumentOptions,
  session: { store: Store; transport: Transport; version: string; signal?: AbortSignal | undefined },
): Promise<Attached[]> {
  const { store, transport, version, signal } = session;
  if (!wanted.sbom && !wanted.provenance && !wanted.signer) return [];
  const contents = await readContents(store, root);
  const repositories = new Map(references.map((to) => [formatReference({ ...to, tag: undefined }), to]));
  const attached: Attached[] = [];
  for (const [name, to] of repositories) {
    const all: Attachment[] = [];
    if (wanted.sbom)
      for (const image of contents.platforms)
        all.push({
          subject: image.descriptor,
          type: sbomType,
          document: bytesOf(spdx(await inventory(store, image), name, version)),
          title: 'sbom.spdx.json',
        });
    if (wanted.provenance) {
      all.push({
        subject: root,
        type: provenanceType,
        document: bytesOf(await provenance(store, contents, name)),
        title: 'provenance.intoto.json',
      });
      const lock = await publicLock(store, contents);
      if (lock !== undefined)
        all.push({ subject: root, type: lockType, document: Buffer.from(lock), title: 'kina.lock' });
    }
    const documents: Digest[] = [];
    for (const one of all) {
      const { digest } = await attach(to, one, transport, signal);
      documents.push(digest);
      attached.push({ type: one.type, digest, subject: one.subject.digest });
    }
    if (!wanted.signer) continue;
    const digest = await attachSignature(to, root, documents, wanted.signer, { transport, signal });
    attached.push({ type: bundleType, digest, subject: root.digest });
  }
  return attached;
}

/** The lock of the image, so that others can build it; undefined if its URLs grant access. */
async function publicLock(store: Store, contents: ImageContents): Promise<string | undefined> {
  const origins = await originsOf(store, contents);
  if (!origins) return undefined;
  const whole = joinOrigins(origins);
  if (artifactsOf(whole).some(({ url }) => redact(url) !== url)) return undefined;
  return formatLock(whole);
}

function bytesOf(document: object): Buffer {
  return Buffer.from(canonicalJson(document));
}
