/**
 * The Debian packages of an image, from dpkg's database in it: `status` has the installed packages, `info/NAME.list` their
 * paths, `usr/share/doc/NAME/copyright` their licences.
 *
 * Lists have the paths of the package (`/bin/ls`, `/.`), trees the real paths (`usr/bin/ls`), so each path is resolved through
 * the links of the tree.
 */
import { parseStanzas } from '../../debian/deb822.ts';
import type { ReadImage } from './read.ts';

export interface ImagePackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
  /** Short names, sorted, as in the copyright file; empty when they cannot be read from it. */
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

/** The texts that `packagesOf` needs from `readImage`. */
export function isPackageText(path: string): boolean {
  return path === 'var/lib/dpkg/status' || lists.test(path) || copyrights.test(path);
}

/** The packages of an image that was read with `isPackageText`; empty without dpkg. */
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

/** The package of a path in dpkg's database or a documentation folder; these paths are in no list. */
export function packageAbout(path: string): string | undefined {
  return /^(?:var\/lib\/dpkg\/info|usr\/share\/doc)\/([a-z0-9][a-z0-9+-]*(?:\.\d[a-z0-9+-]*)*)/.exec(path)?.[1];
}

/**
 * Short names of licences. The machine-readable format has them (`License: GPL-2+`, Debian's copyright-format 1.0);
 * older files point to `/usr/share/common-licenses/GPL-2`. Anything else is prose, which is not interpreted.
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
