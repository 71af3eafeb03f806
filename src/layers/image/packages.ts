/**
 * Debian packages of an image, from dpkg's own database in it: `status` says what is installed, `info/NAME.list` which
 * paths came with it, `usr/share/doc/NAME/copyright` under which licences.
 *
 * Lists are written as the package has them (`/bin/ls`, `/.`), trees hold real places (`usr/bin/ls`): each path is
 * followed through the tree's links.
 */
import { parseStanzas } from '../../debian/deb822.ts';
import type { ReadImage } from './read.ts';

export interface ImagePackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Short names, sorted, as the copyright file has them; empty when it does not say in a form that can be read. */
  readonly licences: readonly string[];
}
export interface ImagePackages {
  /** By name; `NAME:ARCH` only where two architectures of one package are installed. */
  readonly packages: ReadonlyMap<string, ImagePackage>;
  /** Names of the packages that have this path in their list. */
  owners(path: string): readonly string[];
}

const lists = /^var\/lib\/dpkg\/info\/(.+)\.list$/;
const copyrights = /^usr\/share\/doc\/([^/]+)\/copyright$/;

/** What `readImage` has to keep for `packagesOf`. */
export function isPackageText(path: string): boolean {
  return path === 'var/lib/dpkg/status' || lists.test(path) || copyrights.test(path);
}

/** The packages of an image that was read with `isPackageText`; none where there is no dpkg. */
export function packagesOf({ tree, texts }: Pick<ReadImage, 'tree' | 'texts'>): ImagePackages {
  const packages = new Map<string, ImagePackage>();
  const owners = new Map<string, string[]>();
  const status = texts.get('var/lib/dpkg/status');
  for (const stanza of status === undefined ? [] : parseStanzas(status, 'var/lib/dpkg/status')) {
    const name = stanza.get('package');
    if (name === undefined || !/ installed$/.test(stanza.get('status') ?? '')) continue;
    const architecture = stanza.get('architecture') ?? '';
    const copyright = texts.get(tree.lookup(`usr/share/doc/${name}/copyright`)?.path ?? '');
    packages.set(packages.has(name) ? `${name}:${architecture}` : name, {
      name,
      version: stanza.get('version') ?? '',
      architecture,
      licences: copyright === undefined ? [] : licencesOf(copyright),
    });
  }
  for (const [path, text] of texts) {
    const listed = lists.exec(path)?.[1];
    if (listed === undefined) continue;
    const name = packages.has(listed) ? listed : listed.replace(/:.*/, '');
    for (const line of text.split('\n')) {
      const place = line.replace(/^\/+/, '');
      if (place === '' || place === '.') continue;
      const real = tree.realPath(place);
      if (tree.has(real)) owners.set(real, [...(owners.get(real) ?? []), name]);
    }
  }
  return { packages, owners: (path) => owners.get(path) ?? [] };
}

/** The package that a path of dpkg's database or a documentation folder is about; no list names those. */
export function packageAbout(path: string): string | undefined {
  return /^(?:var\/lib\/dpkg\/info|usr\/share\/doc)\/([a-z0-9][a-z0-9+-]*(?:\.\d[a-z0-9+-]*)*)/.exec(path)?.[1];
}

/**
 * Short names of licences. The machine-readable form names them (`License: GPL-2+`, Debian's copyright-format 1.0);
 * older files point to `/usr/share/common-licenses/GPL-2`. Anything else is prose, and no guess is made.
 */
export function licencesOf(copyright: string): string[] {
  const found = new Set<string>();
  if (/^Format:\s*\S*copyright-format/im.test(copyright)) {
    for (const match of copyright.matchAll(/^License:[ \t]*(\S[^\n]*)$/gim)) found.add((match[1] as string).trim());
  } else
    for (const match of copyright.matchAll(/\/usr\/share\/common-licenses\/([A-Za-z0-9.+-]*[A-Za-z0-9+])/g))
      found.add(match[1] as string);
  return [...found].sort();
}
