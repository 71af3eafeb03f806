/** What a plan is, and what it is made from. */
import type { PinnedStep } from '../../layers/kind.ts';
import type { Pins, PlatformContext } from '../../layers/step.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { Platform } from '../../oci/platform.ts';
import type { Recipe } from '../recipe/schema.ts';

/** Its pins include the artifacts of the image that it carries. */
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
  readonly variables: Readonly<Record<string, string>>;
  readonly image: Recipe['image'];
  readonly platforms: readonly PlatformPlan[];
}

/** Pins by platform and step id, from a lock. `undefined`: resolve the step. */
export type Locked = (platform: string, id: string, digest: string) => Pins | undefined;

export interface PlanRequest {
  readonly recipe: Recipe;
  readonly platforms: readonly Platform[];
  /** `--set` values. */
  readonly set: Readonly<Record<string, string>>;
  readonly kubernetes: string | undefined;
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
