/**
 * The rules of Apple's ext4 unpacker, applied to the layers of an image in their order. Where the real one loses an entry
 * or makes a broken file without a word, this one says so: an image that passes is unpacked as it was meant.
 */
import type { TarMember } from './tar.ts';

interface Known {
  readonly type: 'file' | 'folder' | 'link' | 'symlink';
  readonly layer: number;
  /** Of a hard link: the name that owns the inode. */
  readonly target?: string;
}

const maxComponent = 255;
/** 96 bytes in the inode and one block. */
const maxXattrs = 96 + 4096;

/** What would go wrong, one line each; empty: nothing. `layers` are the members of each, the lowest first. */
export function layerProblems(layers: readonly Iterable<TarMember>[]): string[] {
  const problems: string[] = [];
  const tree = new Map<string, Known>([['', { type: 'folder', layer: -1 }]]);
  for (const [layer, members] of layers.entries()) {
    const say = (name: string, what: string) => problems.push(`layer ${layer}: ${name}: ${what}`);
    const own = new Set<string>();
    const links: { name: string; target: string }[] = [];
    for (const member of members) {
      const { name } = member;
      if (name.startsWith('./') || name.startsWith('/') || name.split('/').includes('..'))
        say(name, 'not a canonical path');
      const path = name.replace(/^(\.?\/)+/, '').replace(/\/$/, '');
      if (path === '' || path === '.') continue;
      for (const part of path.split('/'))
        if (Buffer.byteLength(part) > maxComponent) say(name, `a component of more than ${maxComponent} bytes`);
      if (!isAscii(path)) say(name, 'not ASCII: its name would depend on the locale');
      parents(path, tree, layer, say);
      const base = path.slice(path.lastIndexOf('/') + 1);
      const folder = path.slice(0, Math.max(0, path.lastIndexOf('/')));
      if (base.startsWith('.wh.')) {
        const sibling = [...own].find((one) => one.slice(0, Math.max(0, one.lastIndexOf('/'))) === folder);
        if (sibling !== undefined) say(name, `a whiteout behind its sibling ${sibling}, which it removes`);
        continue;
      }
      const size = Object.entries(member.xattrs).reduce((sum, [key, value]) => sum + key.length + value.length + 16, 0);
      if (size > maxXattrs) say(name, `${size} bytes of extended attributes`);
      const before = tree.get(path);
      if (before && before.type !== 'folder' && before.layer < layer)
        for (const [linked, one] of tree)
          if (one.target === path) say(name, `replaces the file that ${linked} is a hard link to: that one is corrupt`);
      if (member.type === '5') {
        if (before?.type === 'symlink') say(name, 'a directory over a symbolic link');
        if (before?.type === 'file' || before?.type === 'link') say(name, 'a directory over a file');
        tree.set(path, { type: 'folder', layer });
      } else if (member.type === '2') tree.set(path, { type: 'symlink', layer });
      else if (member.type === '1') links.push({ name: path, target: member.link.replace(/^\.?\//, '') });
      else if (member.type === '0' || member.type === '7') {
        if (before?.type === 'folder') say(name, 'a file over a directory');
        tree.set(path, { type: 'file', layer });
      } else say(name, `type ${member.type} is skipped without a word`);
      own.add(path);
    }
    // After the whole layer, in no order.
    for (const { name, target } of links) {
      const found = tree.get(target);
      if (!found || found.type === 'folder') say(name, `a hard link to ${target}, which is not there`);
      tree.set(name, { type: 'link', layer, target });
    }
    for (const { name } of links) if (isCycle(name, tree)) say(name, 'hard links in a circle');
  }
  return problems;
}

function parents(
  path: string,
  tree: Map<string, Known>,
  layer: number,
  say: (name: string, what: string) => void,
): void {
  for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
    const parent = path.slice(0, slash);
    const known = tree.get(parent);
    if (known?.type === 'symlink') say(path, `below the symbolic link ${parent}: lost without an error`);
    else if (known && known.type !== 'folder') say(path, `below ${parent}, which is not a directory`);
    if (!known) tree.set(parent, { type: 'folder', layer });
  }
}

function isCycle(name: string, tree: ReadonlyMap<string, Known>): boolean {
  const seen = new Set<string>();
  for (let at: string | undefined = name; at !== undefined; at = tree.get(at)?.target) {
    if (seen.has(at)) return true;
    seen.add(at);
  }
  return false;
}

function isAscii(path: string): boolean {
  for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) > 126) return false;
  return true;
}
