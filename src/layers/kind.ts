/**
 * Hides the type of a kind's settings: the pipeline handles steps of all kinds alike, while each kind sees its own settings
 * with their type. Settings are parsed once, when all variables in them have their values.
 */
import type { z } from 'zod';
import {
  type DerivedContext,
  type DerivedKind,
  type InnerRecipe,
  type KindTraits,
  noPins,
  type Pins,
  type PlainKind,
  type Resolution,
  type ResolveContext,
  type StepResult,
  type TreeContext,
} from './step.ts';

/** A kind as the pipeline sees it. */
export interface StepKind extends KindTraits {
  readonly derived: boolean;
  /** For the reference and for problems with their place in the recipe. */
  readonly schema: z.ZodType;
  parse(settings: unknown): ParsedStep;
}

export type ParsedStep =
  | { readonly success: true; readonly data: Step }
  | { readonly success: false; readonly data?: undefined; readonly error: z.ZodError };

interface StepBase {
  readonly kind: StepKind;
  /** Parsed: with defaults, without leading slashes. */
  readonly settings: unknown;
  readonly usesVariables: boolean;
  readonly components: readonly string[];
  readonly inner: InnerRecipe | undefined;
  /** No pins for kinds that pin nothing. */
  resolve(context: ResolveContext): Promise<Resolution<unknown>>;
  checkLocal(pins: Pins, recipeFolder: string): Promise<void>;
}
interface PlainStep extends StepBase {
  readonly derived: false;
  tree(pins: Pins, context: TreeContext): Promise<StepResult>;
}
interface DerivedStep extends StepBase {
  readonly derived: true;
  tree(pins: Pins, context: DerivedContext): Promise<StepResult>;
}
/** A step with its settings and what its kind does with them. */
export type Step = PlainStep | DerivedStep;

/** Makes a step kind for `kinds/table.ts`. */
export function defineKind<S, State = never>(kind: PlainKind<S, State> | DerivedKind<S, State>): StepKind {
  const defined: StepKind = {
    ...kind,
    derived: kind.derived ?? false,
    parse(settings) {
      const parsed = kind.schema.safeParse(settings);
      return parsed.success ? { success: true, data: bind(defined, kind, parsed.data) } : parsed;
    },
  };
  return defined;
}

function bind<S, State>(defined: StepKind, kind: PlainKind<S, State> | DerivedKind<S, State>, settings: S): Step {
  const base: StepBase = {
    kind: defined,
    settings,
    usesVariables: kind.usesVariables?.(settings) ?? false,
    components: kind.components?.(settings) ?? [],
    inner: kind.inner?.(settings),
    async resolve(context) {
      // The pipeline keeps states by kind, so this one is what a step of this kind returned.
      const own = context as ResolveContext<State>;
      return (await kind.resolve?.(settings, own)) ?? { pins: noPins };
    },
    async checkLocal(pins, recipeFolder) {
      await kind.checkLocal?.(settings, pins, recipeFolder);
    },
  };
  return kind.derived
    ? { ...base, derived: true, tree: (pins, context) => kind.tree(settings, pins, context) }
    : { ...base, derived: false, tree: (pins, context) => kind.tree(settings, pins, context) };
}

/** A step of a plan, as far as building it is concerned. */
export interface PinnedStep {
  /** `layer/step`, unique in the plan. */
  readonly id: string;
  readonly step: Step;
  readonly pins: Pins;
  /** The folder of the recipe that has the step. */
  readonly folder: string;
  /** May replace files of other steps. */
  readonly replace: boolean;
  /** Empty unless the step `usesVariables`. */
  readonly variables: Readonly<Record<string, string>>;
}
