/** What a plan is, and what it is made from. */
import type { Artifact } from '../../artifacts/artifact.ts';
import type { PinnedStep } from '../../layers/kind.ts';
import type { SourceType } from '../../layers/kubernetes/model.ts';
import { type Pins, type PlatformContext, pinnedArtifacts } from '../../layers/step.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { Platform } from '../../oci/platform.ts';
import type { Recipe } from '../recipe/schema.ts';

export interface PlannedStep extends PinnedStep {
  readonly component: string | undefined;
  /** The plan of the image that the step carries, for the same platform alone. */
  readonly inner: Plan | undefined;
  /** Of what the recipe says (kind, settings, flags), without pins. A lock is compared with it. */
  readonly digest: Digest;
}
export interface PlannedLayer {
  readonly name: string;
  readonly steps: readonly PlannedStep[];
}
export interface PlatformPlan {
  readonly platform: Platform;
  readonly layers: readonly PlannedLayer[];
  /** Component versions, sorted by name. */
  readonly components: Readonly<Record<string, string>>;
  readonly absent: readonly string[];
}
export interface Plan {
  readonly recipe: string;
  readonly description: string;
  readonly kubernetes: string | undefined;
  /** What kind of source Kubernetes comes from. */
  readonly source: SourceType | undefined;
  readonly variables: Readonly<Record<string, string>>;
  readonly image: Recipe['image'];
  readonly platforms: readonly PlatformPlan[];
}

/** What a step needs: its own artifacts and those of the image that it carries. */
export function stepArtifacts({ pins, inner }: PlannedStep): Artifact[] {
  const carried = inner?.platforms.flatMap(({ layers }) => layers.flatMap(({ steps }) => steps.flatMap(stepArtifacts)));
  return [...pinnedArtifacts(pins), ...(carried ?? [])];
}

/** Every artifact of every platform once. */
export function planArtifacts({ platforms }: Pick<Plan, 'platforms'>): Artifact[] {
  const all = platforms.flatMap(({ layers }) => layers.flatMap(({ steps }) => steps.flatMap(stepArtifacts)));
  return [...new Map(all.map((artifact) => [artifact.digest, artifact])).values()];
}

/** Pins by platform and step id, from a lock. `undefined`: resolve the step. */
export type Locked = (platform: string, id: string, digest: string) => Pins | undefined;

export interface PlanRequest {
  readonly recipe: Recipe;
  readonly platforms: readonly Platform[];
  /** `--set` values. */
  readonly set: Readonly<Record<string, string>>;
  readonly kubernetes: string | undefined;
  readonly source: SourceType | undefined;
  readonly locked?: Locked | undefined;
  /** Pin a local file again when it differs from what `locked` says, instead of failing. */
  readonly repin?: boolean;
  /** For steps that `locked` does not answer: keep the pins of `pinned`, except for one package. */
  readonly upgrade?: { readonly package: string; readonly pinned: Locked } | undefined;
  readonly strict: boolean;
  /** Paths of the recipes whose images carry this one, outermost first. */
  readonly carriedBy?: readonly string[];
  context(platform: Platform): PlatformContext;
}
