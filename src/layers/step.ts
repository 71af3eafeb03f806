/**
 * A step is the smallest thing a recipe asks for; a step kind knows how to get it. Two moments, kept apart:
 *
 * - `resolve` (lock time) answers "which bytes exactly": it reads markers, indexes and checksum files and returns pins.
 *   Pins are data: they are what a lock holds, and a build from a lock never calls `resolve`.
 * - `tree` (build time) turns the step and its pins into files-to-be, reading only pinned artifacts.
 *
 * A kind is one file and one line in `kinds.ts`; the pipeline in `build/` never knows which kinds exist. Kinds marked
 * `derived` run after all others and see the merged tree (what belongs to the whole: accounts, linker cache, unit links).
 */
import type { z } from 'zod';
import type { Artifact, Fetched } from '../artifacts/artifact.ts';
import type { ResolveOptions } from '../artifacts/checksums.ts';
import type { ArchiveBases } from '../debian/archive.ts';
import type { InstalledPackage } from '../debian/deb.ts';
import type { OpenArchive } from '../debian/index.ts';
import type { PruneRule } from '../debian/prune.ts';
import type { AccountWishes } from '../debian/sysusers.ts';
import type { Transport } from '../host/http.ts';
import type { Reporter } from '../host/progress.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import type { Store } from '../oci/store/store.ts';
import type { Tree } from '../tree/tree.ts';
import type { Unpacker } from '../tree/unpack.ts';
import type { KubernetesSource } from './kubernetes/model.ts';

/** What a step was resolved to; everything in it goes into the lock, the cache keys and the labels. */
export interface Pins {
  readonly artifacts: readonly Artifact[];
  /** Versions this step brings, by component name: `containerd` to `1.6.20`. */
  readonly components: Readonly<Record<string, string>>;
  /** Anything else that decides the result, e.g. the digest of a local file or the date of a signed index. */
  readonly inputs: Readonly<Record<string, string>>;
  /** For readers of the lock, deciding nothing: dates of the signed indexes that packages were chosen from. */
  readonly notes: Readonly<Record<string, string>>;
  /** Optional things a server definitely does not have. */
  readonly absent: readonly string[];
}

export const noPins: Pins = { artifacts: [], components: {}, inputs: {}, notes: {}, absent: [] };

/** Shared by the `debian` steps of one platform, which resolve one after the other. */
export interface DebianState {
  archives: readonly OpenArchive[];
  /** `name=version` of every package chosen. */
  chosen: readonly string[];
  exclude: readonly string[];
}

/** Everything `resolve` may use. */
export interface ResolveContext {
  readonly platform: Platform;
  readonly transport: Transport;
  readonly store: Store;
  readonly reporter: Reporter;
  readonly signal: AbortSignal | undefined;
  readonly checksums: ResolveOptions;
  readonly debianBases: ArchiveBases;
  readonly debianCheckValidUntil: boolean;
  readonly kubernetes: KubernetesSource | undefined;
  /** What the `debian` steps of this platform have chosen so far; each step builds on it. */
  readonly debian: DebianState;
  /** Reads a file or folder that the recipe names, relative to the recipe that named it. */
  readonly recipeFolder: string;
  /** Set when only one package is to be brought up to date. */
  readonly upgrade?: PackageUpgrade | undefined;
}

/** Everything stays as it is pinned, but for one Debian package and what has to come with it. */
export interface PackageUpgrade {
  readonly package: string;
  /** What the step is pinned to. */
  readonly pins: Pins;
}

/** Another recipe whose image a step carries, planned, locked and built together with the image that has the step. */
export interface InnerRecipe {
  /** Name of a shipped recipe, or path of a file relative to the recipe that names it. */
  readonly recipe: string;
  /** Values of its variables. */
  readonly set: Readonly<Record<string, string>>;
}

/** The image made of it for the same platform; all blobs are in the store. */
export interface InnerImage {
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** Everything `tree` may use. */
export interface TreeContext {
  readonly platform: Platform;
  readonly store: Store;
  readonly unpacker: Unpacker;
  readonly reporter: Reporter;
  readonly signal: AbortSignal | undefined;
  readonly recipeFolder: string;
  /** Seconds since the epoch: the time stamp of everything in the image. */
  readonly epoch: number;
  /** The pinned artifact's bytes, fetched on first use. */
  fetch(artifact: Artifact): Promise<Fetched>;
  /** Builds the image of the recipe that the kind's `inner` names, once. */
  innerImage(): Promise<InnerImage>;
  /** `layer/step`, the owner of files that no package owns. */
  readonly owner: string;
}

/** What derived kinds see in addition: the merged tree of all other steps, and what those steps declared. */
export interface DerivedContext extends TreeContext {
  readonly merged: Tree;
  readonly packages: readonly InstalledPackage[];
  readonly accounts: readonly AccountWishes[];
  readonly prune: readonly PruneRule[];
}

export interface StepResult {
  readonly tree: Tree;
  readonly packages?: readonly InstalledPackage[];
  readonly accounts?: AccountWishes;
  /** What the packages were unpacked without. */
  readonly prune?: readonly PruneRule[];
}

interface KindBase<S> {
  readonly name: string;
  /** Raised when the same pins would give other files than before: part of every cache key. */
  readonly version: number;
  readonly schema: z.ZodType<S>;
  /** One line for `kina recipe schema` and the reference. */
  readonly summary: string;
  resolve?(step: S, context: ResolveContext, common: StepCommon): Promise<Pins>;
  /** The recipe whose image the step carries, for steps that carry one; those pin no artifacts of their own. */
  inner?(step: S): InnerRecipe | undefined;
  /** Throws `lock` when a file of this machine is not the one that the pins of a lock are about. */
  checkLocal?(step: S, pins: Pins, recipeFolder: string): Promise<void>;
}
export interface PlainKind<S> extends KindBase<S> {
  readonly derived?: false;
  tree(step: S, pins: Pins, context: TreeContext): Promise<StepResult>;
}
export interface DerivedKind<S> extends KindBase<S> {
  readonly derived: true;
  tree(step: S, pins: Pins, context: DerivedContext): Promise<StepResult>;
}
export type StepKind<S> = PlainKind<S> | DerivedKind<S>;

/** The keys that every step may carry beside its kind. */
export interface StepCommon {
  readonly component?: string | undefined;
  readonly optional?: boolean | undefined;
  readonly unverified?: boolean | undefined;
  readonly replace?: boolean | undefined;
}
