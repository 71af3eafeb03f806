/**
 * Unpacks many packages into one tree with dpkg's rules for overlaps: directories are shared and keep the first package's
 * attributes, equal files are fine, `Replaces` lets one package take a file from another, anything else is an error.
 *
 * The order is fixed (base-files and base-passwd first, then by name), so the tree does not depend on the order of
 * downloads.
 */
import pLimit from 'p-limit';
import type { Fetched } from '../artifacts/artifact.ts';
import { KinaError } from '../host/errors.ts';
import type { Entry } from '../tree/entry.ts';
import { comparePaths, describe, directory, symlink, Tree } from '../tree/tree.ts';
import {
  type InstalledPackage,
  replaces,
  type UnpackedPackage,
  type UnpackPackageOptions,
  unpackPackage,
} from './deb.ts';
import { compareVersions } from './version.ts';

export interface PackageTree {
  readonly tree: Tree;
  readonly packages: readonly InstalledPackage[];
}

/** Unpacks packages, `parallel` at a time, and merges them. Calls `done` with each package's name. */
export async function unpackPackages(
  packages: readonly (Fetched | Promise<Fetched>)[],
  options: UnpackPackageOptions & { readonly parallel?: number; readonly done?: (name: string) => void },
): Promise<PackageTree> {
  const limit = pLimit(options.parallel ?? 4);
  const unpacked = await Promise.all(
    packages.map(async (arriving) => {
      const fetched = await arriving; // unpacked as they arrive; waiting for one must not occupy a slot
      return limit(async () => {
        const result = await unpackPackage(fetched, options);
        options.done?.(result.installed.name);
        return result;
      });
    }),
  );
  return mergePackages(unpacked);
}

/** Merges unpacked packages into one tree. Throws `conflict` if two ship the same path and neither replaces the other. */
export function mergePackages(unpacked: readonly UnpackedPackage[]): PackageTree {
  const sorted = [...unpacked].sort(
    (a, b) =>
      Number(b.installed.name.startsWith('base-')) - Number(a.installed.name.startsWith('base-')) ||
      comparePaths(a.installed.name, b.installed.name),
  );
  const byOwner = new Map(sorted.map(({ installed }) => [`deb:${installed.name}`, installed]));
  const tree = new Tree();
  // Before the first file, so that the paths below them are resolved.
  const architecture = sorted.find(({ installed }) => installed.architecture !== 'all')?.installed.architecture;
  for (const name of ['bin', 'lib', 'sbin', ...(architecture === 'amd64' ? ['lib64'] : [])]) {
    tree.add(directory('usr', 'deb:base-files'));
    tree.add(directory(`usr/${name}`, 'deb:base-files'));
    tree.add(symlink(name, `usr/${name}`, 'deb:base-files'));
  }
  for (const { installed, entries } of sorted) for (const entry of entries) place(tree, entry, installed, byOwner);
  tree.addMissingParents('deb:base-files');
  return { tree, packages: sorted.map(({ installed }) => installed) };
}

function place(
  tree: Tree,
  entry: Entry,
  installed: InstalledPackage,
  byOwner: ReadonlyMap<string, InstalledPackage>,
): void {
  const existing = tree.get(tree.realPath(entry.path));
  if (!existing) {
    tree.add(entry);
    return;
  }
  // dpkg does not change an existing directory or a link to one.
  if (entry.type === 'directory' && tree.lookup(entry.path)?.type === 'directory') return;
  const other = byOwner.get(existing.owner);
  if (other && other !== installed) {
    if (replaces(installed, other, compareVersions)) {
      tree.add(entry, { replace: true });
      return;
    }
    if (replaces(other, installed, compareVersions)) return;
  }
  if (existing.type === entry.type && 'target' in existing && 'target' in entry && existing.target === entry.target)
    return;
  if (other && entry.type === 'file' && existing.type === 'file' && existing.content.key === entry.content.key) return;
  throw new KinaError('conflict', `two packages ship /${entry.path}: ${existing.owner} and ${entry.owner}`, {
    details: [`${existing.owner}: ${describe(existing)}`, `${entry.owner}: ${describe(entry)}`],
    hint: 'They cannot be installed together; remove one of them from the recipe.',
  });
}
