/**
 * Files that belong to the whole image and not to one package: accounts, alternatives, certificates, PAM, the loader's
 * cache, dpkg's database. They are derived from the merged tree of all layers, in a fixed order, without running
 * Debian's tools; the result is applied to the tree with `replace`.
 */
import { bytesContent, type Entry, readAll } from '../tree/entry.ts';
import { directory, file, Tree } from '../tree/tree.ts';
import { Accounts, scriptedAccounts } from './accounts.ts';
import { alternatives } from './alternatives.ts';
import { certificateEntries } from './certificates.ts';
import { copies, shellsFile, statOverrides } from './copies.ts';
import { dpkgDatabase } from './database.ts';
import type { InstalledPackage } from './deb.ts';
import { ldCache } from './ldcache.ts';
import { pamEntries } from './pam.ts';
import type { PruneRule } from './prune.ts';
import { sonameReader } from './soname.ts';
import { type AccountRequests, parseSysusers } from './sysusers.ts';

export interface SystemOptions {
  readonly architecture: 'amd64' | 'arm64';
  /** The recipe's users and groups. */
  readonly accounts?: AccountRequests;
  /** Seconds since 1970: the image's single timestamp; shadow(5) contains dates. */
  readonly mtime: number;
  /** The rules that the packages were unpacked with. */
  readonly prune?: readonly PruneRule[];
  /** The owner of the derived entries. */
  readonly owner?: string;
}

/** The derived entries, to be merged over `tree` with `replace: true`. `tree` itself is not changed. */
export async function deriveSystem(
  tree: Tree,
  packages: readonly InstalledPackage[],
  options: SystemOptions,
): Promise<Tree> {
  const owner = options.owner ?? 'system';
  const names = packages.map((installed) => installed.name);
  const derived = new Tree();
  // A second tree contains both, so that later steps see what earlier ones created.
  const all = new Tree();
  for (const entry of tree.sorted()) all.add(entry);
  const put = (entries: readonly Entry[]) => {
    for (const entry of entries) {
      const placed = { ...entry, path: all.realPath(entry.path) };
      all.add(placed, { replace: true });
      derived.add(placed, { replace: true });
    }
  };

  const accounts = await deriveAccounts(tree, names, options.accounts);
  put(accountFiles(accounts, options.mtime, owner));
  put(copies(all, names, accounts, owner));
  put(await shellsFile(all, owner));
  put(alternatives(all, names, owner));
  put(await pamEntries(all, owner));
  put(await certificateEntries(all, owner));
  put(dpkgDatabase(packages, options.architecture, options.prune ?? [], owner, statOverrides(names)));
  put(runtimeFolders(all, owner));
  const libc = packages.find((installed) => installed.name === 'libc-bin');
  if (libc) {
    const readSoname = sonameReader(options.architecture);
    const cache = await ldCache(all, { architecture: options.architecture, libcVersion: libc.version, readSoname });
    put([file('etc/ld.so.cache', bytesContent(cache), owner)]);
  }
  addParents(derived, all, owner);
  return derived;
}

/** The accounts of a tree: masters, `sysusers.d` of packages, accounts of scripts, the recipe's users. */
export async function deriveAccounts(
  tree: Tree,
  packages: readonly string[],
  extra?: AccountRequests,
): Promise<Accounts> {
  const accounts = new Accounts();
  const text = async (path: string) => {
    const found = tree.file(path);
    return found ? (await readAll(found.content, 1 << 20)).toString('utf8') : '';
  };
  accounts.addMasters(
    await text('usr/share/base-passwd/passwd.master'),
    await text('usr/share/base-passwd/group.master'),
  );
  const requests: AccountRequests[] = [];
  for (const entry of tree.sorted())
    if (/^(?:usr\/lib|etc)\/sysusers\.d\/[^/]+\.conf$/.test(entry.path))
      requests.push(parseSysusers(await text(entry.path), `/${entry.path}`));
  // `sysusers.d` has more facts than the table (home, description), so it comes last and wins.
  accounts.addRequests([scriptedAccounts(packages), ...requests]);
  if (extra) accounts.addRequests([extra]);
  return accounts;
}

function accountFiles(accounts: Accounts, mtime: number, owner: string): Entry[] {
  if (accounts.users.size === 0) return [];
  const { passwd, group, shadow, gshadow } = accounts.render(Math.floor(mtime / 86400));
  const shadowGid = accounts.groups.get('shadow')?.gid ?? 0;
  return [
    file('etc/passwd', bytesContent(passwd), owner),
    file('etc/group', bytesContent(group), owner),
    file('etc/shadow', bytesContent(shadow), owner, 0o640, 0, shadowGid),
    file('etc/gshadow', bytesContent(gshadow), owner, 0o640, 0, shadowGid),
  ];
}

/** Mount points for every runtime; a minimal closure has no package that ships all of them. */
function runtimeFolders(tree: Tree, owner: string): Entry[] {
  const modes: readonly [string, number][] = [
    ['dev', 0o755],
    ['proc', 0o555],
    ['sys', 0o555],
    ['run', 0o755],
    ['tmp', 0o1777],
    ['root', 0o700],
  ];
  return modes.filter(([path]) => !tree.has(path)).map(([path, mode]) => directory(path, owner, mode));
}

/** Parents of derived entries, with the attributes that they have in the whole tree. */
function addParents(derived: Tree, all: Tree, owner: string): void {
  for (const { path } of derived.sorted()) {
    const parts = path.split('/').slice(0, -1);
    parts.forEach((_, i) => {
      const parent = parts.slice(0, i + 1).join('/');
      if (!derived.has(parent)) derived.add(all.get(parent) ?? directory(parent, owner));
    });
  }
}
