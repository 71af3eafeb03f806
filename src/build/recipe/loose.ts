/** Steps before all of their variables have values: enough to see what a step refers to. */
import type { Step } from '../../layers/kind.ts';
import { stepKinds } from '../../layers/kinds.ts';
import { expandDeep } from '../../layers/template.ts';
import type { RecipeStep } from './schema.ts';

/** Unknown variables get a placeholder. Undefined for a step that is invalid with it. */
export function parseLoosely(
  { kind, body, parsed }: RecipeStep,
  variables: Readonly<Record<string, string>> = {},
): Step | undefined {
  if (parsed) return parsed;
  const filled = new Proxy(variables, { get: (known, name: string) => known[name] ?? '0' });
  return stepKinds.get(kind)?.parse(expandDeep(body, filled, '')).data;
}
