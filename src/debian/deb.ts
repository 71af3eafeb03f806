/**
 * Reads binary packages (deb(5)) without dpkg: an ar file with `debian-binary`, `control.tar.*` and `data.tar.*`.
 *
 * Paths are usr-merged here: the package's `/bin/mount` is `usr/bin/mount` in the tree, because a layer with `/bin` would
 * replace the link to `usr/bin`. dpkg's file list keeps the package's spelling.
 */
import { createHash } from 'node:crypto';
import type { Fetched } from '../artifacts/artifact.ts';
import { KinaError } from '../host/errors.ts';
import { readAr } from '../tree/ar.ts';
import { type Entry, type FileEntry, readAll, readContent } from '../tree/entry.ts';
import type { Unpacker } from '../tree/unpack.ts';
import { parseStanza, required, type Stanza } from './deb822.ts';
import { parseRelations } from './relations.ts';

/** An installed package: the input for dpkg's database and for the rules about accounts and scripts. */
export interface InstalledPackage {
  readonly name: string;
  readonly version: string;
  /** `amd64`, `arm64` or `all`. */
  readonly architecture: string;
  /** With `same`, dpkg names its files `NAME:ARCHITECTURE`. */
  readonly multiArch: string;
  readonly control: Stanza;
  /** The control fields in their order and spelling, with continuation lines. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  /** Control members as dpkg keeps them: scripts, conffiles, triggers, md5sums (without pruned files) … */
  readonly members: ReadonlyMap<string, Buffer>;
  /** Absolute paths as in the package, `/.` first, without pruned files. */
  readonly paths: readonly string[];
  /** Configuration files with their MD5 in dpkg's status, or with the note that the package does not ship them. */
  readonly conffiles: ReadonlyMap<string, string>;
}

/** A package's files and its metadata. */
export interface UnpackedPackage {
  readonly installed: InstalledPackage;
  readonly entries: readonly Entry[];
}

export interface UnpackPackageOptions {
  readonly unpacker: Unpacker;
  /** Whether to keep a path (usr-merged, no leading slash); see `pruner`. */
  readonly keep: (path: string) => boolean;
}

/** Reads one package. Throws `archive` if it is not a Debian package or not the requested one. */
export async function unpackPackage(fetched: Fetched, options: UnpackPackageOptions): Promise<UnpackedPackage> {
  const { artifact, path } = fetched;
  const from = `${artifact.name} (${artifact.url.slice(artifact.url.lastIndexOf('/') + 1)})`;
  let reading: ReturnType<typeof readAr> | undefined;
  const part = async (prefix: string) => {
    reading ??= readAr(path, from);
    const members = await reading;
    if (members[0]?.name !== 'debian-binary')
      throw damaged(from, 'is not a .deb file: debian-binary is not its first member');
    const member = members.find(({ name }) => name === prefix || name.startsWith(`${prefix}.`));
    if (!member) throw damaged(from, `has no ${prefix}`);
    return member;
  };
  const unpack = (prefix: string, owner: string) =>
    options.unpacker.unpack(`${artifact.digest}/${prefix}`, { owner, file: path, slice: () => part(prefix) });
  const controlFiles = new Map<string, Buffer>();
  for (const entry of await unpack('control.tar', artifact.name))
    if (entry.type === 'file') controlFiles.set(entry.path, await readAll(entry.content));
  const controlText = controlFiles.get('control')?.toString('utf8');
  if (controlText === undefined) throw damaged(from, 'has no control file');
  const control = parseStanza(controlText, from);
  const name = required(control, 'Package', from);
  if (artifact.version !== undefined && required(control, 'Version', from) !== artifact.version)
    throw damaged(from, `has the wrong version: got ${control.get('version')}, want ${artifact.version}`);

  const shipped = await unpack('data.tar', `deb:${name}`);
  const kept = shipped.filter((entry) => options.keep(merged(entry.path)));
  const installed: InstalledPackage = {
    name,
    version: required(control, 'Version', from),
    architecture: required(control, 'Architecture', from),
    multiArch: control.get('multi-arch') ?? 'no',
    control,
    fields: fieldsInOrder(controlText),
    members: keptMembers(controlFiles, options.keep),
    paths: ['/.', ...kept.map((entry) => `/${entry.path}`)],
    conffiles: await conffileDigests(controlFiles, shipped),
  };
  return { installed, entries: kept.flatMap(mergedEntry) };
}

/** The base name of a package's files in dpkg's `info` folder. */
export function infoName(installed: InstalledPackage): string {
  return installed.multiArch === 'same' ? `${installed.name}:${installed.architecture}` : installed.name;
}

/** Whether `a` may replace files of `b` (`Replaces`, Policy 7.6.1). */
export function replaces(a: InstalledPackage, b: InstalledPackage, order: (x: string, y: string) => number): boolean {
  return parseRelations(a.control.get('replaces'), a.architecture, a.name).some(([relation]) => {
    if (relation?.name !== b.name) return false;
    if (!relation.relation) return true;
    const difference = order(b.version, relation.version as string);
    return relation.relation === '<<'
      ? difference < 0
      : relation.relation === '<='
        ? difference <= 0
        : difference === 0;
  });
}

/** Directories that are only links on a merged /usr. */
const aliased = /^(bin|sbin|lib|lib32|lib64|libo32|libx32)(?=\/|$)/;

function merged(path: string): string {
  return path.replace(aliased, 'usr/$1');
}

function mergedEntry(entry: Entry): Entry[] {
  const path = merged(entry.path);
  // base-files of Debian 13 ships the links themselves; they are kept. A directory of that name moves below usr.
  if (entry.type === 'symlink' && path === `usr/${entry.path}`) return [entry];
  if (entry.type === 'hardlink') return [{ ...entry, path, target: merged(entry.target) }];
  return [{ ...entry, path }];
}

function keptMembers(files: ReadonlyMap<string, Buffer>, keep: (path: string) => boolean): Map<string, Buffer> {
  const kept = new Map<string, Buffer>();
  for (const [name, content] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (name === 'control') continue;
    if (name !== 'md5sums') kept.set(name, content);
    else {
      const lines = content.toString('utf8').split('\n');
      const left = lines.filter((line) => line !== '' && keep(merged(line.slice(34))));
      kept.set(name, Buffer.from(left.map((line) => `${line}\n`).join('')));
    }
  }
  return kept;
}

async function conffileDigests(
  members: ReadonlyMap<string, Buffer>,
  entries: readonly Entry[],
): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  const files = new Map(entries.filter((e): e is FileEntry => e.type === 'file').map((e) => [`/${e.path}`, e]));
  for (const line of (members.get('conffiles')?.toString('utf8') ?? '').split('\n')) {
    // A flag may precede the path: `remove-on-upgrade` files are not shipped (deb-conffiles(5)).
    const [, flag, path = ''] = /^(?:(remove-on-upgrade)\s+)?(\/.*?)\s*$/.exec(line) ?? [];
    if (flag) digests.set(path, `newconffile ${flag}`);
    const entry = files.get(path);
    if (!entry) continue;
    const hash = createHash('md5');
    for await (const chunk of readContent(entry.content)) hash.update(chunk);
    digests.set(path, hash.digest('hex'));
  }
  return digests;
}

function fieldsInOrder(text: string): [string, string][] {
  const fields: [string, string][] = [];
  for (const line of text.split('\n')) {
    const last = fields.at(-1);
    if (line.trim() === '') continue;
    if (/^[ \t]/.test(line) && last) last[1] += `\n${line}`;
    else {
      const colon = line.indexOf(':');
      fields.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
    }
  }
  return fields;
}

function damaged(from: string, what: string): KinaError {
  return new KinaError('archive', `the package ${from} ${what}`, {
    hint: 'The package does not match its index. Use a different mirror, or report it to the archive.',
  });
}
