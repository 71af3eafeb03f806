/**
 * What is in a file system, read from tar files by a library and not by kina's own reader. Times are left out: every
 * time of a kina image is the same one.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { extract } from 'tar-stream';

export interface Seen {
  readonly type: string;
  /** Octal, with set-user-id and its kin. */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
  /** Of a symbolic link. */
  readonly target?: string;
  /** SHA-256 of a file's content. */
  readonly content?: string;
  /** The names of a file that has several, joined. */
  readonly names?: string;
  /** Extended attributes: `name=base64`, joined. */
  readonly xattrs?: string;
  /** Of settings and of dpkg's database, for rules that say how two texts mean the same. */
  readonly text?: string;
}
export type Field = Exclude<keyof Seen, 'text'>;
export type SeenTree = Map<string, Seen>;

/** The files of these archives, later ones over earlier ones, by path without leading slash. */
export async function readTree(archives: readonly string[]): Promise<SeenTree> {
  const tree: SeenTree = new Map();
  const linked = new Map<string, string>();
  for (const archive of archives) {
    const reader = createReadStream(archive).pipe(extract());
    for await (const entry of reader) {
      const { header } = entry;
      const path = clean(header.name);
      const hash = createHash('sha256');
      const kept: Buffer[] | undefined = /^(etc|var\/lib\/dpkg)\//.test(path) ? [] : undefined;
      for await (const part of entry) {
        hash.update(part as Buffer);
        kept?.push(part as Buffer);
      }
      if (path === '') continue;
      if (header.type === 'link') {
        linked.set(path, clean(header.linkname ?? ''));
        continue;
      }
      const pax = Object.entries((header as { pax?: Record<string, string> }).pax ?? {});
      const xattrs = pax
        .filter(([name]) => name.startsWith('SCHILY.xattr.'))
        .map(([name, value]) => `${name.slice(13)}=${Buffer.from(value).toString('base64')}`)
        .sort();
      tree.set(path, {
        type: header.type ?? 'file',
        mode: ((header.mode ?? 0) & 0o7777).toString(8).padStart(4, '0'),
        uid: header.uid ?? 0,
        gid: header.gid ?? 0,
        ...(header.type === 'symlink' ? { target: header.linkname ?? '' } : {}),
        ...(header.type === 'file' ? { content: hash.digest('hex') } : {}),
        ...(kept ? { text: Buffer.concat(kept).toString('utf8') } : {}),
        ...(xattrs.length > 0 ? { xattrs: xattrs.join(' ') } : {}),
      });
    }
  }
  nameLinks(tree, linked);
  return tree;
}

/** Gives every name of a file the file's attributes; which of the names an archive has the bytes under is its own affair. */
function nameLinks(tree: SeenTree, linked: ReadonlyMap<string, string>): void {
  const names = new Map<string, string[]>();
  for (const [path, target] of linked) names.set(target, [...(names.get(target) ?? [target]), path]);
  for (const [target, all] of names) {
    const file = tree.get(target);
    if (!file) throw new Error(`a hard link to ${target}, which is not in the archive`);
    for (const path of all) tree.set(path, { ...file, names: [...all].sort().join(' ') });
  }
}

function clean(path: string): string {
  return path
    .replace(/^(\.?\/)+/, '')
    .replace(/\/+$/, '')
    .replace(/^\.$/, '');
}

/** One difference between two trees. */
export interface Difference {
  readonly path: string;
  /** Field, or who alone has the path. */
  readonly what: Field | 'only kina' | 'only mmdebstrap';
  readonly kina?: string;
  readonly mmdebstrap?: string;
  /** Both texts of a file of which `content` differs, where they are known. */
  readonly texts?: readonly [kina: string, mmdebstrap: string];
}

export function compareTrees(kina: SeenTree, mmdebstrap: SeenTree): Difference[] {
  const differences: Difference[] = [];
  for (const path of [...new Set([...kina.keys(), ...mmdebstrap.keys()])].sort()) {
    const [ours, theirs] = [kina.get(path), mmdebstrap.get(path)];
    if (!ours || !theirs) {
      differences.push({ path, what: ours ? 'only kina' : 'only mmdebstrap' });
      continue;
    }
    const fields: readonly Field[] = ['type', 'mode', 'uid', 'gid', 'target', 'content', 'names', 'xattrs'];
    for (const what of fields)
      if (ours[what] !== theirs[what])
        differences.push({
          path,
          what,
          kina: String(ours[what]),
          mmdebstrap: String(theirs[what]),
          ...(what === 'content' && ours.text !== undefined && theirs.text !== undefined
            ? { texts: [ours.text, theirs.text] }
            : {}),
        });
  }
  return differences;
}
