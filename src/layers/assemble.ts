/**
 * Merges the trees of all steps, then splits the result into layers. Merging follows the recipe's order, so that conflicts,
 * links and attributes of folders are decided with everything in view. Derived steps then see the merged tree. Finally
 * every entry goes to the layer of the step that it came from, with the parents that it needs.
 *
 * A plain step sees only its pins, so its result may also come from another machine (`step-outputs.ts`).
 */
import { posix } from 'node:path';
import type { AccountRequests } from '../debian/sysusers.ts';
import { KinaError } from '../host/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import type { Session } from '../session/session.ts';
import { readElf } from '../tree/elf.ts';
import type { Entry } from '../tree/entry.ts';
import { settleHardlinks } from '../tree/tar-write.ts';
import { comparePaths, Tree } from '../tree/tree.ts';
import { elfMachines } from './architecture.ts';
import type { PinnedStep, StepKind } from './kind.ts';
import type { DerivedContext, TreeContext } from './step.ts';
import type { StepOutputs } from './step-outputs.ts';

export interface AssembledLayer {
  readonly name: string;
  readonly entries: readonly Entry[];
}
export interface Assembled {
  /** In the recipe's order, each sorted and complete. Empty layers are left out. */
  readonly layers: readonly AssembledLayer[];
  /** Results of the plain steps, by id. */
  readonly outputs: StepOutputs;
}

/** Derived state that a base image already has. It is made again, because a recipe may add to what it is made from. */
const remade: ReadonlySet<string> = new Set(['etc/ssl/certs/ca-certificates.crt']);

export interface AssembleOptions extends Session {
  readonly platform: Platform;
  /** Seconds since 1970. */
  readonly epoch: number;
  /** Results of steps that need not be made here. */
  readonly known?: StepOutputs;
  /** Builds the image that the step with this id carries. */
  innerImage(step: string): Promise<Descriptor>;
}

/** Throws `conflict`, `platform` and what step kinds throw. */
export async function assemble(
  layers: readonly { name: string; steps: readonly PinnedStep[] }[],
  options: AssembleOptions,
): Promise<Assembled> {
  const { platform, reporter } = options;
  const all = layers.flatMap((layer) => layer.steps.map((pinned) => ({ layer: layer.name, pinned })));
  // Trees of independent steps are made at the same time; merging keeps the recipe's order.
  const made = await Promise.all(
    all.map(async ({ layer, pinned }) => {
      if (pinned.step.derived) return [];
      const result =
        options.known?.get(pinned.id) ?? (await pinned.step.tree(pinned.pins, treeContext(pinned, options)));
      if (!pinned.step.kind.installsPackages) await checkArchitecture(result.tree, platform);
      return [{ layer, pinned, result }];
    }),
  );
  const plain = made.flat();
  const task = reporter.task('assemble', formatPlatform(platform));
  try {
    const merge = new Merge();
    for (const { layer, pinned, result } of plain) merge.add(layer, pinned, result.tree);
    const declared = {
      packages: plain.flatMap(({ result }) => result.packages ?? []),
      accounts: plain.flatMap(({ result }) => result.accounts ?? []),
      prune: plain.find(({ result }) => result.prune?.length)?.result.prune ?? [],
    };
    merge.checkAccounts(declared.accounts);
    for (const { layer, pinned } of all) {
      if (!pinned.step.derived) continue;
      const context: DerivedContext = { ...treeContext(pinned, options), merged: merge.tree, ...declared };
      merge.add(layer, pinned, (await pinned.step.tree(pinned.pins, context)).tree);
    }
    const parts = merge.partition(layers.map((l) => l.name));
    task.done();
    return { layers: parts, outputs: new Map(plain.map(({ pinned, result }) => [pinned.id, result])) };
  } catch (error) {
    task.fail();
    throw error;
  }
}

function treeContext({ id, folder, variables }: PinnedStep, { known: _, ...options }: AssembleOptions): TreeContext {
  return { ...options, owner: id, recipeFolder: folder, variables, innerImage: () => options.innerImage(id) };
}

/** The merged tree, and which layer and step each entry came from. */
class Merge {
  readonly tree = new Tree();
  readonly #origins = new Map<string, { readonly layer: string; readonly kind: StepKind }>();

  add(layer: string, { step, replace }: PinnedStep, tree: Tree): void {
    for (const entry of tree.sorted()) {
      const path = this.tree.realPath(entry.path);
      const existing = this.tree.get(path);
      if (step.derived && existing && existing.type !== 'directory' && !this.#givesWay(path)) continue;
      const mayReplace = replace || step.derived;
      if (mayReplace && existing?.type === 'file') promoteHardlink(this.tree, existing.path);
      this.tree.add(entry, { replace: mayReplace });
      const placed = this.tree.get(path);
      // An equal entry, and a folder whatever its attributes, stays in the layer that had it first.
      const kept = placed === existing || (placed?.type === 'directory' && existing?.type === 'directory');
      if (!kept) this.#origins.set(path, { layer, kind: step.kind });
    }
  }

  /** Derived state replaces files of packages. Files that a recipe puts there itself stay. */
  #givesWay(path: string): boolean {
    const kind = this.#origins.get(path)?.kind;
    return kind?.installsPackages === true || (kind?.isBase === true && remade.has(path));
  }

  /** A base image's passwd is kept, so accounts that the recipe adds would be missing without a message. */
  checkAccounts(accounts: readonly AccountRequests[]): void {
    const names = accounts.flatMap((a) => [...a.users, ...a.groups]).map((a) => a.name);
    const passwd = this.tree.get('etc/passwd');
    if (names.length === 0 || !passwd || !this.#origins.get(passwd.path)?.kind.isBase) return;
    throw new KinaError('recipe', `cannot add the accounts ${names.join(', ')} to the base image of ${passwd.owner}`, {
      hint: 'Create them in the base image: its /etc/passwd is kept.',
    });
  }

  /** The entries of each layer, sorted, with the parents that they need. Layers without entries are left out. */
  partition(names: readonly string[]): AssembledLayer[] {
    const explicit = new Set([...this.tree.values()].map((e) => e.path));
    this.tree.addMissingParents('kina');
    const layerOf = new Map([...this.#origins].map(([path, { layer }]) => [path, layer]));
    return partitionByLayer(names, this.tree, layerOf, explicit);
  }
}

/** When a file is about to be replaced, its first hard link becomes the file. */
function promoteHardlink(tree: Tree, path: string): void {
  const original = tree.get(path);
  if (original?.type !== 'file') return;
  const links = [...tree.values()]
    .filter((e) => e.type === 'hardlink' && e.target === path)
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const first = links[0];
  if (!first) return;
  tree.add({ ...original, path: first.path, owner: first.owner }, { replace: true });
  for (const link of links.slice(1)) tree.add({ ...link, target: first.path } as Entry, { replace: true });
}

function partitionByLayer(
  names: readonly string[],
  merged: Tree,
  layerOf: ReadonlyMap<string, string>,
  explicit: ReadonlySet<string>,
): AssembledLayer[] {
  const parts = new Map<string, Map<string, Entry>>(names.map((n) => [n, new Map()]));
  for (const entry of merged.sorted()) {
    if (!explicit.has(entry.path)) continue; // implied parents come with the files that need them
    const layer = layerOf.get(entry.path) ?? names[0]!;
    const part = parts.get(layer)!;
    for (let parent = posix.dirname(entry.path); parent !== '.' && !part.has(parent); parent = posix.dirname(parent))
      part.set(parent, merged.get(parent)!);
    if (entry.type === 'hardlink' && layerOf.get(entry.target) !== layer) {
      // A hard link into another layer may fail to extract; a copy does not.
      const target = merged.get(entry.target);
      if (target?.type !== 'file')
        throw new KinaError('archive', `/${entry.path} is a hard link to /${entry.target}, which is not a file`);
      part.set(entry.path, { ...target, path: entry.path, owner: entry.owner });
    } else part.set(entry.path, entry);
  }
  return names
    .map((name) => ({
      name,
      entries: settleHardlinks([...parts.get(name)!.values()]).sort((a, b) => comparePaths(a.path, b.path)),
    }))
    .filter((l) => l.entries.length > 0);
}

/** Executables must be for the image's architecture. */
async function checkArchitecture(tree: Tree, platform: Platform): Promise<void> {
  const wanted = elfMachines[platform.architecture];
  for (const entry of tree.values()) {
    if (entry.type !== 'file' || (entry.mode & 0o111) === 0) continue;
    const elf = await readElf(entry.content);
    if (elf && elf.machine !== wanted)
      throw new KinaError(
        'platform',
        `/${entry.path} (${entry.owner}) is for ${elf.machine}, but the image is for linux/${platform.architecture} (${wanted})`,
        {
          hint: 'Check the URL, the tarball or the folder that this step takes it from.',
        },
      );
  }
}
