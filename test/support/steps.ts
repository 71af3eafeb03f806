/** Steps for tests of single kinds. */
import type { AssembleOptions } from '../../src/layers/assemble.ts';
import type { PinnedStep, Step, StepKind } from '../../src/layers/kind.ts';
import { stepKinds } from '../../src/layers/kinds.ts';
import { noPins, type ResolveContext, type TreeContext } from '../../src/layers/step.ts';

export function parseStep(kind: StepKind, settings: unknown): Step {
  const parsed = kind.parse(settings);
  if (!parsed.success) throw parsed.error;
  return parsed.data;
}

/** A step of a kind by name, with no pins. */
export function pinnedStep(id: string, kind: string, settings: unknown, replace = false): PinnedStep {
  const step = parseStep(stepKinds.get(kind)!, settings);
  return { id, step, pins: noPins, folder: '/nowhere', replace, variables: {} };
}

/** Contexts have a whole session; a test gives only what the step must use, and anything else is undefined. */
export const resolveContext = (used: Partial<ResolveContext>): ResolveContext =>
  ({ common: {}, ...used }) as ResolveContext;
export const assembleOptions = (used: Partial<AssembleOptions>): AssembleOptions => used as AssembleOptions;
export const treeContext = (used: Partial<TreeContext>): TreeContext => used as TreeContext;
