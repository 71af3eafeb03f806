/**
 * One OCI layer laid over a tree: whiteouts (`.wh.NAME`) hide what lies below, an opaque marker hides all of a folder's
 * lower content (OCI image specification, layer.md, "Whiteouts"). Whiteouts act on lower layers only, so they come first.
 */
import { posix } from 'node:path';
import type { Entry } from './entry.ts';
import type { Tree } from './tree.ts';

const PREFIX = '.wh.';
const OPAQUE = '.wh..wh..opq';

export function applyLayer(tree: Tree, entries: readonly Entry[]): void {
  const isWhiteout = (e: Entry): boolean => posix.basename(e.path).startsWith(PREFIX);
  for (const entry of entries.filter(isWhiteout)) {
    const name = posix.basename(entry.path);
    const folder = posix.dirname(entry.path);
    const hidden = name === OPAQUE ? folder : posix.join(folder, name.slice(PREFIX.length));
    removeBelow(tree, hidden);
    if (name !== OPAQUE) tree.delete(hidden);
  }
  for (const entry of entries) {
    if (isWhiteout(entry)) continue;
    const existing = tree.get(entry.path);
    if (existing?.type === 'directory' && entry.type !== 'directory') removeBelow(tree, entry.path);
    // A folder over a link replaces the link (layer.md, "Changeset over existing files").
    if (existing && existing.type !== entry.type) tree.delete(entry.path);
    tree.add(entry, { replace: true });
  }
}

function removeBelow(tree: Tree, folder: string): void {
  for (const entry of [...tree.values()]) if (entry.path.startsWith(`${folder}/`)) tree.delete(entry.path);
}
