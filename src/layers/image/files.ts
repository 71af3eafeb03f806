/**
 * Where the files of an image come from: the layer, the Debian package or the recipe's steps.
 *
 * A file that a package lists came with it. Everything else came from one of the layer's steps; when there are several, the
 * image does not tell which one, and all are named.
 */
import { KinaError } from '../../host/errors.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Entry } from '../../tree/entry.ts';
import { globMatcher } from '../glob.ts';
import { isPackageText, packagesOf } from './packages.ts';
import { type ReadImageOptions, readImage } from './read.ts';

export interface ImageFile {
  /** Canonical: no leading slash. */
  readonly path: string;
  readonly type: Entry['type'];
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; 0 unless it is a file. */
  readonly size: number;
  /** Of a link. */
  readonly target: string | undefined;
  /** Name of the layer. */
  readonly layer: string;
  /** Packages that list it; several for a shared folder. */
  readonly packages: readonly { readonly name: string; readonly version: string }[];
  /** Steps that may have added it, when no package did. */
  readonly steps: readonly string[];
}

/**
 * The files at `wanted`, sorted by path: all when undefined; a glob (`*`, `?`, `**`); or a path, reached through links
 * as in a container, a folder with everything below. Throws `not-found` when nothing matches.
 */
export async function findFiles(
  store: Store,
  image: PlatformImage,
  wanted: string | undefined,
  options: Pick<ReadImageOptions, 'signal'> = {},
): Promise<ImageFile[]> {
  const read = await readImage(store, image, { ...options, texts: isPackageText });
  const { packages, owners } = packagesOf(read);
  const steps = new Map(read.layers.map((layer) => [layer.name, layer.steps]));
  const matches = matcher(wanted, (path) => read.tree.realPath(path));
  const files = read.tree
    .sorted()
    .filter((entry) => matches(entry.path))
    .map((entry): ImageFile => {
      const names = owners(entry.path);
      const { path, type, mode, uid, gid, owner: layer } = entry;
      return {
        path,
        type,
        mode,
        uid,
        gid,
        layer,
        size: entry.type === 'file' ? entry.content.size : 0,
        target: 'target' in entry ? entry.target : undefined,
        packages: names.map((name) => ({ name, version: packages.get(name)?.version ?? '' })),
        steps: names.length ? [] : (steps.get(layer) ?? []),
      };
    });
  if (wanted !== undefined && !files.length)
    throw new KinaError('not-found', `path not found in the image: ${wanted}`, {
      hint: 'Globs support *, ? and **; `kina image files REF` lists everything.',
    });
  return files;
}

function matcher(wanted: string | undefined, realPath: (path: string) => string): (path: string) => boolean {
  const path = wanted?.replace(/^\.?\/+/, '').replace(/\/+$/, '');
  if (path === undefined || path === '' || path === '.') return () => true;
  if (/[*?]/.test(path)) return globMatcher([path]);
  const real = realPath(path);
  return (other) => other === real || other.startsWith(`${real}/`);
}
