/**
 * One tree, then layers. The trees of all steps are merged in the recipe's order, so that conflicts, links and folder
 * attributes are decided against everything; derived steps then see the whole; at last every entry goes to the layer
 * of the step that put it there, with the parents it needs.
 *
 * A plain step sees nothing but its pins, so what it brings may as well come from somewhere else (`brought.ts`).
 */
import { posix } from 'node:path';
import type { InstalledPackage } from '../debian/deb.ts';
import type { PruneRule } from '../debian/prune.ts';
import type { AccountWishes } from '../debian/sysusers.ts';
import { KinaError } from '../host/errors.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { readElf } from '../tree/elf.ts';
import type { Entry } from '../tree/entry.ts';
import { settleHardlinks } from '../tree/tar-write.ts';
import { comparePaths, Tree } from '../tree/tree.ts';
import { elfMachines } from './architecture.ts';
import { type AnyKind, stepKinds } from './kinds.ts';
import type { DerivedContext, InnerImage, Pins, StepResult, TreeContext } from './step.ts';
import type { StepOutputs } from './step-outputs.ts';

export interface AssembledStep {
  readonly id: string;
  readonly kind: string;
  readonly body: unknown;
  readonly replace: boolean;
  readonly folder: string;
  readonly pins: Pins;
}
export interface AssembledLayer {
  readonly name: string;
  readonly entries: readonly Entry[];
}
export interface Assembled {
  /** In the recipe's order, each sorted and complete; without those that came out empty. */
  readonly layers: readonly AssembledLayer[];
  /** What the steps brought that are not derived from the whole. */
  readonly brought: StepOutputs;
}

/** Derived state that a base image has already and that is made again, because a recipe may add to what it is made from. */
const remade: ReadonlySet<string> = new Set(['etc/ssl/certs/ca-certificates.crt']);

/** What is the same for all steps; `innerImage` gets the id of the step that carries the image. */
interface SharedContext extends Omit<TreeContext, 'owner' | 'recipeFolder' | 'innerImage'> {
  /** What some steps bring is known already. */
  readonly known?: StepOutputs;
  innerImage(step: string): Promise<InnerImage>;
}

/** Throws `conflict`, `platform` and what step kinds throw. */
export async function assemble(
  layers: readonly { name: string; steps: readonly AssembledStep[] }[],
  shared: SharedContext,
): Promise<Assembled> {
  const merged = new Tree();
  const layerOf = new Map<string, string>();
  const packages: InstalledPackage[] = [];
  const accounts: AccountWishes[] = [];
  const prune: PruneRule[] = [];
  const contextOf = (step: AssembledStep): TreeContext => ({
    ...shared,
    owner: step.id,
    recipeFolder: step.folder,
    innerImage: () => shared.innerImage(step.id),
  });
  const all = layers.flatMap((layer) =>
    layer.steps.map((step) => ({ layer: layer.name, step, kind: stepKinds.get(step.kind) as AnyKind })),
  );

  // Steps that bring a whole image, with its accounts, linker cache and package database.
  const baseImages = new Set(all.filter(({ step }) => step.kind === 'from').map(({ step }) => step.id));

  const mergeStep = (layer: string, step: AssembledStep, tree: Tree, derived: boolean): void => {
    for (const entry of tree.sorted()) {
      const path = merged.realPath(entry.path);
      const existing = merged.get(path);
      // What a person's step or a file in the recipe put there is wanted; derived state fills in the rest.
      const wanted = existing && existing.type !== 'directory' && !existing.owner.startsWith('deb:');
      if (derived && wanted && !(baseImages.has(existing.owner) && remade.has(path))) continue;
      const replace = step.replace || derived;
      if (replace && existing?.type === 'file') promoteHardlink(merged, existing.path);
      merged.add(entry, { replace });
      const placed = merged.get(path);
      // What was there already, and a folder whatever its attributes, stays where it was first put.
      const kept = placed === existing || (placed?.type === 'directory' && existing?.type === 'directory');
      if (!kept) layerOf.set(path, layer);
    }
  };

  // Trees of independent steps are made at the same time; merging keeps the recipe's order.
  const plain = await Promise.all(
    all
      .filter(({ kind }) => !kind.derived)
      .map(async ({ layer, step, kind }) => {
        if (kind.derived) throw new KinaError('internal', `${step.kind} is derived`);
        const known = shared.known?.get(step.id);
        const result: StepResult = known ?? (await kind.tree(step.body, step.pins, contextOf(step)));
        if (step.kind !== 'debian') await checkArchitecture(result.tree, shared.platform);
        return { layer, step, result };
      }),
  );
  const task = shared.reporter.task('assemble', formatPlatform(shared.platform));
  try {
    for (const { layer, step, result } of plain) {
      mergeStep(layer, step, result.tree, false);
      packages.push(...(result.packages ?? []));
      if (result.accounts) accounts.push(result.accounts);
      if (prune.length === 0) prune.push(...(result.prune ?? []));
    }
    checkAccounts(merged, baseImages, accounts);
    for (const { layer, step, kind } of all) {
      if (!kind.derived) continue;
      const context: DerivedContext = { ...contextOf(step), merged, packages, accounts, prune };
      mergeStep(layer, step, (await kind.tree(step.body, step.pins, context)).tree, true);
    }
    const before = new Set([...merged.values()].map((e) => e.path));
    merged.addMissingParents('kina');
    const names = layers.map((l) => l.name);
    const parts = partitionByLayer(names, merged, layerOf, before);
    task.done();
    return { layers: parts, brought: new Map(plain.map(({ step, result }) => [step.id, result])) };
  } catch (error) {
    task.fail();
    throw error;
  }
}

/** A base image's passwd stays as it is, so accounts that a recipe asks for in addition would silently be missing. */
function checkAccounts(merged: Tree, baseImages: ReadonlySet<string>, accounts: readonly AccountWishes[]): void {
  const names = accounts.flatMap((a) => [...a.users, ...a.groups]).map((a) => a.name);
  const owner = merged.get('etc/passwd')?.owner;
  if (names.length > 0 && owner !== undefined && baseImages.has(owner))
    throw new KinaError('recipe', `the accounts ${names.join(', ')} cannot be added to the base image of ${owner}`, {
      hint: 'Make them in the base image: its /etc/passwd is kept.',
    });
}

/** The first remaining link of a file that is about to be replaced takes over its bytes. */
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
    if (!explicit.has(entry.path)) continue; // parents that no one named come with the files that need them
    const layer = layerOf.get(entry.path) ?? names[0]!;
    const part = parts.get(layer)!;
    for (let parent = posix.dirname(entry.path); parent !== '.' && !part.has(parent); parent = posix.dirname(parent))
      part.set(parent, merged.get(parent)!);
    if (entry.type === 'hardlink' && layerOf.get(entry.target) !== layer) {
      // OCI: a hard link into another layer may not extract; a copy always does.
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

/** Executables from outside Debian must be for the image's architecture; packages are checked by their control file. */
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
