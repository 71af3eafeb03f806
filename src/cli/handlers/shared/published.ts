/** What is said about a push: to the next step of a pipeline, and to people. */

import { appendFile } from 'node:fs/promises';
import { processEnvironment } from '../../../host/environment.ts';
import { KinaError } from '../../../host/errors.ts';
import { atomicWrite, checkFileDestination } from '../../../host/files.ts';
import { type ImageReference, parseReference } from '../../../oci/reference.ts';
import type { PushResult } from '../../../oci/registry/push.ts';
import type { Published } from '../../../ops/registry/publish.ts';
import { bytes } from '../../terminal/format.ts';

/**
 * Where an image is to go: a name and a tag, no digest; not the names of this machine alone, which kina gives to what it
 * builds. Throws `usage`.
 */
export function destination(value: string): ImageReference {
  const parsed = parseReference(value);
  if (parsed.digest !== undefined)
    throw new KinaError('usage', `cannot push to ${value}: the digest follows from what is in the image`, {
      hint: 'Leave @sha256:… away.',
    });
  if (parsed.registry === 'localhost')
    throw new KinaError('usage', `cannot push to ${value}: that is a name on this machine and no registry's`, {
      hint: 'Name it as it shall be called there: REGISTRY/NAME:TAG. A registry of this machine has a port, localhost:5000/NAME:TAG.',
    });
  return parsed;
}

/** Before the work: whether the metadata can be written after it. */
export async function checkMetadata(file: string | undefined): Promise<void> {
  if (file !== undefined) await checkFileDestination(file, 'metadata file');
}

/**
 * Writes the metadata file, with the keys that `docker buildx build --metadata-file` has, and the outputs `digest`,
 * `image` (the first reference) and `images` (all, a line each) of a step of GitHub Actions.
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

/** `3 blobs pushed (12 MB), 2 mounted, 4 there already`. */
export function pushSummary({ uploaded, mounted, existing, bytes: size }: PushResult): string {
  const parts = [
    ...(uploaded ? [`${uploaded} ${uploaded === 1 ? 'blob' : 'blobs'} pushed (${bytes(size)})`] : []),
    ...(mounted ? [`${mounted} mounted`] : []),
    ...(existing ? [`${existing} there already`] : []),
  ];
  return parts.join(', ');
}
