/**
 * Programs out of Debian packages, for test images: found, verified and unpacked with kina's own code, so that an image for
 * a test needs no compiler and no engine. A program comes with the loader and the libraries that its ELF header names and
 * nothing else of its packages; images of a few megabytes keep a suite that pulls a hundred times quick.
 */
import { join, posix } from 'node:path';
import type { Fetched } from '../../../src/artifacts/artifact.ts';
import { Fetcher } from '../../../src/artifacts/fetch.ts';
import { openArchives, planPackages } from '../../../src/debian/index.ts';
import { debianKeyring } from '../../../src/debian/keyring.ts';
import { unpackPackages } from '../../../src/debian/unpack-all.ts';
import type { Transport } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import { archiveContext } from '../../../src/layers/kinds/debian.ts';
import { hostPlatform } from '../../../src/oci/platform.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { openConnection } from '../../../src/session/connection.ts';
import { readElf } from '../../../src/tree/elf.ts';
import type { Entry } from '../../../src/tree/entry.ts';
import type { Tree } from '../../../src/tree/tree.ts';
import { Unpacker } from '../../../src/tree/unpack.ts';
import { testCache } from '../cache.ts';

/** Debian packages by name, without what they depend on when `alone`. */
export interface Wanted {
  readonly packages: readonly string[];
  /** Count as installed: what only maintainer scripts need. */
  readonly exclude?: readonly string[];
}

export interface Packages {
  readonly store: Store;
  readonly transport: Transport;
  /** The packages and what they depend on, merged. */
  tree(wanted: Wanted): Promise<Tree>;
  /** The .deb of one package, in the store. */
  file(name: string): Promise<string>;
}

const suite = 'trixie';

/** Packages of this machine's architecture; what was fetched stays in the test cache. */
export async function openPackages(): Promise<Packages> {
  const { transport } = await openConnection({ environment: process.env, version: 'test' });
  const store = await Store.open(join(testCache, 'cri-store'));
  const fetcher = new Fetcher({ store, transport, reporter: silent });
  const context = archiveContext({ store, transport, fetcher });
  const unpacker = new Unpacker(join(store.root, 'unpacked'));
  // A test machine's mirror may be frozen; the signature is checked all the same.
  const spec = { archive: 'debian', suite, components: ['main'], keyring: debianKeyring, checkValidUntil: false };
  const archives = await openArchives([spec], context);
  const fetchAll = async ({ packages, exclude = [] }: Wanted): Promise<Fetched[]> => {
    const { architecture } = hostPlatform();
    const planned = await planPackages(archives, { architecture, packages, exclude, essential: false }, context);
    return Promise.all(planned.map(({ artifact }) => fetcher.fetch(artifact)));
  };
  return {
    store,
    transport,
    async tree(wanted) {
      return (await unpackPackages(await fetchAll(wanted), { unpacker, keep: () => true })).tree;
    },
    async file(name) {
      const found = (await fetchAll({ packages: [name] })).find(({ artifact }) => artifact.name === name);
      return found!.path;
    },
  };
}

/**
 * The entries that make `programs` (paths in the tree) run: the files, the links that lead to them, the loader, and every
 * library that they need or that those need. Throws for a program or library that the tree does not have.
 */
export async function runnable(tree: Tree, programs: readonly string[]): Promise<Entry[]> {
  const found = new Map<string, Entry>();
  const libraries = new Map(
    [...tree.values()]
      .filter(({ path }) => /^usr\/lib(64)?\/([^/]+-linux-gnu\/)?[^/]+\.so(\.|$)/.test(path))
      .map(({ path }) => [posix.basename(path), path]),
  );
  const queue = [...programs];
  for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
    const missing = new Error(`no /${path} in the packages for ${programs.join(', ')}`);
    const inner = path.replace(/^\/+/, '');
    for (const folder of ['lib', 'lib64']) if (inner.startsWith(`${folder}/`)) found.set(folder, tree.get(folder)!);
    const real = tree.realPath(inner);
    const entry = tree.get(real);
    if (!entry) throw missing;
    if (found.has(real)) continue;
    found.set(real, entry);
    if (entry.type === 'symlink') queue.push(posix.resolve('/', posix.dirname(real), entry.target));
    if (entry.type !== 'file') continue;
    const elf = await readElf(entry.content);
    if (elf?.interpreter) queue.push(elf.interpreter);
    for (const name of elf?.needed ?? []) {
      const library = libraries.get(name);
      if (!library) throw new Error(`no ${name}, which /${path} needs`);
      queue.push(library);
    }
  }
  return [...found.values()];
}
