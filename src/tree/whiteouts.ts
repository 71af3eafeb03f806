/**
 * Applies an OCI layer to a tree: whiteouts (`.wh.NAME`) hide lower entries, an opaque marker hides all lower content of
 * a folder (OCI image specification, layer.md, "Whiteouts"). Whiteouts affect lower layers only, so they are applied
 * first.
 */
import { posix } from 'node:path';
import type { Entry } from './entry.ts';
import type { Tree } from './tree.ts';

const PREFIX = '.wh.';
/** The prefix that AUFS reserved for itself; one of these names came to mean "opaque". */
const OWN_PREFIX = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';

export function applyLayer(tree: Tree, entries: readonly Entry[]): void {
  const isWhiteout = (e: Entry): boolean => posix.basename(e.path).startsWith(PREFIX);
  const gone = new Set<string>();
  const emptied = new Set<string>();
  for (const entry of entries.filter(isWhiteout)) {
    // As for any other entry, links of lower layers are followed: `bin/.wh.sh` hides `usr/bin/sh` if `bin -> usr/bin`.
    const path = tree.realPath(entry.path);
    const name = posix.basename(path);
    if (name === OPAQUE) emptied.add(posix.dirname(path));
    else if (!name.startsWith(OWN_PREFIX)) gone.add(posix.join(posix.dirname(path), name.slice(PREFIX.length)));
  }
  if (gone.size || emptied.size) hide(tree, gone, emptied);
  for (const entry of entries) {
    if (isWhiteout(entry)) continue;
    const path = tree.realPath(entry.path);
    const existing = tree.get(path);
    if (existing?.type === 'directory' && entry.type !== 'directory') hide(tree, new Set(), new Set([path]));
    // A folder replaces a link (layer.md, "Changeset over existing files").
    if (existing && existing.type !== entry.type) tree.delete(path);
    tree.add(entry, { replace: true });
  }
}

/** One walk for all: a layer may hide thousands of files of a tree of a hundred thousand. `.` stands for the root. */
function hide(tree: Tree, gone: ReadonlySet<string>, emptied: ReadonlySet<string>): void {
  for (const { path } of [...tree.values()]) {
    let hidden = gone.has(path) || emptied.has('.');
    for (let above = posix.dirname(path); !hidden && above !== '.'; above = posix.dirname(above))
      hidden = gone.has(above) || emptied.has(above);
    if (hidden) tree.delete(path);
  }
}
