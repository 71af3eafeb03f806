/** Output of a push, for users and for the next step of a CI job. */

import { appendFile } from 'node:fs/promises';
import { processEnvironment } from '../../../host/environment.ts';
import { atomicWrite, checkFileDestination } from '../../../host/files.ts';
import type { PushResult } from '../../../oci/registry/push.ts';
import type { Published } from '../../../ops/registry/publish.ts';
import { bytes } from '../../terminal/format.ts';

/** Checks before the work that the metadata file can be written after it. */
export async function checkMetadata(file: string | undefined): Promise<void> {
  if (file !== undefined) await checkFileDestination(file, 'metadata file');
}

/**
 * Writes the metadata file, with the keys of `docker buildx build --metadata-file`, and the outputs `digest`, `image` (the
 * first reference) and `images` (all, one per line) of a step in GitHub Actions.
 */
export async function reportPublished({ root, references }: Published, file: string | undefined): Promise<void> {
  const { mediaType, digest, size } = root;
  if (file !== undefined)
    await atomicWrite(
      file,
      `${JSON.stringify(
        {
          'containerimage.digest': digest,
          'containerimage.descriptor': { mediaType, digest, size },
          'image.name': references.map((reference) => reference.slice(0, reference.indexOf('@'))).join(','),
        },
        null,
        2,
      )}\n`,
    );
  const outputs = processEnvironment().GITHUB_OUTPUT;
  if (outputs)
    await appendFile(
      outputs,
      `digest=${digest}\nimage=${references[0]}\nimages<<kina-${digest.slice(7, 23)}\n${references.join('\n')}\nkina-${digest.slice(7, 23)}\n`,
    );
}

/** `3 blobs pushed (12 MB), 2 mounted, 4 already present`. */
export function pushSummary({ uploaded, mounted, existing, bytes: size }: PushResult): string {
  const parts = [
    ...(uploaded ? [`${uploaded} ${uploaded === 1 ? 'blob' : 'blobs'} pushed (${bytes(size)})`] : []),
    ...(mounted ? [`${mounted} mounted`] : []),
    ...(existing ? [`${existing} already present`] : []),
  ];
  return parts.join(', ');
}
