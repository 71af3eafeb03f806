/** `--sbom` and `--provenance`: documents about an image, put beside it in every repository that it was pushed to. */
import type { Transport } from '../../host/http.ts';
import { canonicalJson } from '../../host/json.ts';
import { readContents } from '../../oci/contents.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { type Attachment, attach } from '../../oci/referrers.ts';
import { formatReference, type ImageReference } from '../../oci/registry-reference.ts';
import type { Store } from '../../oci/store.ts';
import { inventory } from './inventory.ts';
import { provenance } from './provenance.ts';
import { spdx } from './spdx.ts';

export interface Documents {
  readonly sbom: boolean;
  readonly provenance: boolean;
}
export interface Attached {
  readonly type: string;
  readonly digest: string;
  readonly subject: string;
}

/** `root` is of the image as it was pushed, in the store. Throws what pushing throws; `not-found` without provenance. */
export async function attachDocuments(
  root: Descriptor,
  references: readonly ImageReference[],
  wanted: Documents,
  tools: { store: Store; transport: Transport; version: string; signal?: AbortSignal | undefined },
): Promise<Attached[]> {
  const { store, transport, version, signal } = tools;
  if (!wanted.sbom && !wanted.provenance) return [];
  const contents = await readContents(store, root);
  const repositories = new Map(references.map((to) => [formatReference({ ...to, tag: undefined }), to]));
  const attached: Attached[] = [];
  for (const [name, to] of repositories) {
    const all: Attachment[] = [];
    if (wanted.sbom)
      for (const image of contents.platforms)
        all.push({
          subject: image.descriptor,
          type: 'application/spdx+json',
          document: bytesOf(spdx(await inventory(store, image), name, version)),
          title: 'sbom.spdx.json',
        });
    if (wanted.provenance)
      all.push({
        subject: root,
        type: 'application/vnd.in-toto+json',
        document: bytesOf(await provenance(store, contents, name)),
        title: 'provenance.intoto.json',
      });
    for (const one of all) {
      const { digest } = await attach(to, one, transport, signal);
      attached.push({ type: one.type, digest, subject: one.subject.digest });
    }
  }
  return attached;
}

function bytesOf(document: object): Buffer {
  return Buffer.from(canonicalJson(document));
}
