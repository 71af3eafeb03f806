/** The place of an image on the command line: `[docker://]REFERENCE`, `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`. */
import { existsSync } from 'node:fs';
import { KinaError } from '../../host/errors.ts';
import { parseReference } from '../../oci/reference.ts';

export type Location =
  | { readonly type: 'registry'; readonly ref: string }
  | {
      readonly type: 'oci' | 'oci-archive' | 'docker-archive';
      readonly path: string;
      /** `TYPE:PATH:NAME`: which of several images, or the name that the copy gets. */
      readonly name?: string | undefined;
    };

/** Throws `usage`. A path that contains a colon is taken whole when it exists. */
export function parseLocation(text: string): Location {
  const match = /^(oci|oci-archive|docker-archive):(.*)$/.exec(text);
  // `oci:latest` could be an image of that name, which then has to be written in full.
  if (!match) {
    const ref = text.replace(/^docker:\/\//, '');
    parseReference(ref);
    return { type: 'registry', ref };
  }
  const type = match[1] as 'oci' | 'oci-archive' | 'docker-archive';
  const rest = match[2] as string;
  const colon = rest.indexOf(':');
  const path = colon < 0 || existsSync(rest) ? rest : rest.slice(0, colon);
  if (path === '') throw new KinaError('usage', `${text}: a path is missing`, { hint: 'Write oci-archive:node.tar.' });
  return { type, path, name: path === rest ? undefined : rest.slice(colon + 1) };
}
