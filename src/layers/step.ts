/**
 * The contract of step kinds. A step is the smallest thing that a recipe asks for; its kind knows how to get it, in two
 * separate moments:
 *
 * - `resolve` (when locking) decides which bytes exactly. It reads version markers, indexes and checksum files and returns
 *   pins. Pins are data: a lock holds them, and a build from a lock does not call `resolve`.
 * - `tree` (when building) turns the step and its pins into files. It reads pinned artifacts only.
 *
 * A kind is one file and one line in `kinds/` (docs/step-kinds.md). The pipeline in `build/` does not know
 * which kinds exist: what it must treat differently is a field here (`needs`, `ordered`, `isBase`, …).
 */
import type { z } from 'zod';
import type { Artifact } from '../artifacts/artifact.ts';
import type { InstalledPackage } from '../debian/deb.ts';
import type { PruneRule } from '../debian/prune.ts';
import type { AccountRequests } from '../debian/sysusers.ts';
import type { Descriptor, Digest } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import type { Session } from '../session/session.ts';
import type { Tree } from '../tree/tree.ts';
import type { KubernetesSource } from './kubernetes/model.ts';

/** A whole image. */
export interface ImagePin {
  /** The name that the recipe gives it. */
  readonly name: string;
  readonly manifest: Artifact;
  readonly config: Artifact;
  /** Lowest first. */
  readonly layers: readonly Artifact[];
}

/** An image of which only the files are taken. */
export interface BasePin {
  readonly name: string;
  readonly manifest: Digest;
  /** Lowest first. */
  readonly layers: readonly Artifact[];
}

/** What a step was resolved to; everything in it goes into the lock, the cache keys and the labels. */
export interface Pins {
  readonly artifacts: readonly Artifact[];
  /** Images of registries that the step carries. */
  readonly images: readonly ImagePin[];
  /** The image whose files the step takes. */
  readonly base: BasePin | undefined;
  /** Versions this step brings, by component name: `containerd` to `1.6.20`. */
  readonly components: Readonly<Record<string, string>>;
  /** Anything else that decides the result, e.g. the digest of a local file or the date of a signed index. */
  readonly inputs: Readonly<Record<string, string>>;
  /** For readers of the lock, deciding nothing: dates of the signed indexes that packages were chosen from. */
  readonly notes: Readonly<Record<string, string>>;
  /** Optional things a server definitely does not have. */
  readonly absent: readonly string[];
}

export const noPins: Pins = {
  artifacts: [],
  images: [],
  base: undefined,
  components: {},
  inputs: {},
  notes: {},
  absent: [],
};

/** Everything to fetch before the step's files can be made. */
export function pinnedArtifacts({ artifacts, images, base }: Pick<Pins, 'artifacts' | 'images' | 'base'>): Artifact[] {
  return [
    ...artifacts,
    ...images.flatMap(({ manifest, config, layers }) => [manifest, config, ...layers]),
    ...(base?.layers ?? []),
  ];
}

/** The answer of `resolve`. */
export interface Resolution<State = never> {
  readonly pins: Pins;
  /** Given to the next step of the same kind in the same image. Only for `ordered` kinds. */
  readonly state?: State;
}

/** What all steps of one platform share while they are resolved. */
export interface PlatformContext extends Session {
  readonly platform: Platform;
  /** Undefined unless a step's kind `needs` it. */
  readonly kubernetes: KubernetesSource | undefined;
}

/** Everything that `resolve` may use. */
export interface ResolveContext<State = unknown> extends PlatformContext {
  /** The folder of the recipe that has the step: paths in the step are relative to it. */
  readonly recipeFolder: string;
  /** The keys beside the kind's own. */
  readonly common: StepCommon;
  /** The state that the previous step of this kind returned; undefined for the first. */
  readonly previous: State | undefined;
  /** Set when only one Debian package is to be upgraded. */
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

/** Everything that `tree` may use. */
export interface TreeContext extends Session {
  readonly platform: Platform;
  readonly recipeFolder: string;
  /** Values of the recipe's variables; empty unless the kind's `usesVariables` says that the step needs them. */
  readonly variables: Readonly<Record<string, string>>;
  /** Seconds since 1970: the time stamp of all files in the image. */
  readonly epoch: number;
  /** `layer/step`: the owner of files that do not come from a package. */
  readonly owner: string;
  /** Builds the image of the recipe that the kind's `inner` names, once; the descriptor of its manifest in the store. */
  innerImage(): Promise<Descriptor>;
}

/** What derived kinds see in addition: the merged tree of all other steps, and what those steps declared. */
export interface DerivedContext extends TreeContext {
  readonly merged: Tree;
  readonly packages: readonly InstalledPackage[];
  readonly accounts: readonly AccountRequests[];
  readonly prune: readonly PruneRule[];
}

export interface StepResult {
  readonly tree: Tree;
  readonly packages?: readonly InstalledPackage[];
  readonly accounts?: AccountRequests;
  /** What the packages were unpacked without. */
  readonly prune?: readonly PruneRule[];
}

/** The keys that every step may have beside its kind. */
export interface StepCommon {
  readonly component?: string | undefined;
  readonly optional?: boolean | undefined;
  readonly unverified?: boolean | undefined;
  readonly replace?: boolean | undefined;
}

/** What a recipe must be given before steps of a kind can be resolved. */
export type Need = 'kubernetes';

/** How a kind differs from others, for the pipeline. */
export interface KindTraits {
  readonly name: string;
  /** Raised when the same pins would give other files than before: part of every cache key. */
  readonly version: number;
  /** One line for the reference. */
  readonly summary: string;
  readonly needs?: readonly Need[];
  /**
   * Steps of this kind are resolved one after the other: each gets the state of the one before, and conditions of later
   * steps may ask for the versions that it found.
   */
  readonly ordered?: boolean;
  /** The step brings the root file system of another image, with accounts, linker cache and package database. */
  readonly isBase?: boolean;
  /**
   * The step installs packages. Their files give way to derived state, and their metadata names the architecture, so
   * executables are not checked again.
   */
  readonly installsPackages?: boolean;
}

interface KindBase<S, State> extends KindTraits {
  readonly schema: z.ZodType<S>;
  /** Left out by kinds that pin nothing. */
  resolve?(step: S, context: ResolveContext<State>): Promise<Resolution<State>>;
  /** Whether the files depend on variables beyond those written in the step, as templates do. */
  usesVariables?(step: S): boolean;
  /** Components whose versions the step finds. Later steps may use them as variables. */
  components?(step: S): readonly string[];
  /** The recipe whose image the step carries, for steps that carry one; those pin no artifacts themselves. */
  inner?(step: S): InnerRecipe | undefined;
  /** Throws `lock` when a local file differs from the one that the lock pins. */
  checkLocal?(step: S, pins: Pins, recipeFolder: string): Promise<void>;
}
export interface PlainKind<S, State = never> extends KindBase<S, State> {
  readonly derived?: false;
  tree(step: S, pins: Pins, context: TreeContext): Promise<StepResult>;
}
/** Runs after all plain steps and sees the merged tree: accounts, linker cache, links of units. */
export interface DerivedKind<S, State = never> extends KindBase<S, State> {
  readonly derived: true;
  tree(step: S, pins: Pins, context: DerivedContext): Promise<StepResult>;
}
