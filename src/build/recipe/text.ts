/**
 * A merged recipe as YAML, for reading: what `extends` makes of several files, with the place that each step comes from.
 * Local paths stay as written, relative to the file named above the step.
 */
import { Document, isMap, type YAMLMap, YAMLSeq } from 'yaml';
import type { Recipe, RecipeStep } from './schema.ts';

/** The keys of a step as a recipe has them; `undefined` ones are left out. */
export function stepObject({ kind, body, when, component, optional, unverified, replace }: RecipeStep): object {
  const common = { when: Object.keys(when).length > 0 ? when : undefined, component, optional, unverified, replace };
  return Object.fromEntries(Object.entries({ [kind]: body, ...common }).filter(([, value]) => value !== undefined));
}

/** `place` turns a step's `FILE:LINE:COLUMN` into what is shown. */
export function recipeText(recipe: Recipe, place: (where: string) => string): string {
  const { name, description, variables, image, layers } = recipe;
  const document = new Document({
    name,
    ...(description ? { description } : {}),
    ...(Object.keys(variables).length > 0 ? { variables } : {}),
    image,
    layers: layers.map((layer) => ({ name: layer.name, steps: layer.steps.map(stepObject) })),
  });
  for (const [l, layer] of layers.entries()) {
    const steps = document.getIn(['layers', l, 'steps']);
    if (!(steps instanceof YAMLSeq)) continue;
    for (const [s, step] of layer.steps.entries()) {
      const node = steps.items[s] as YAMLMap;
      if (isMap(node)) node.commentBefore = ` ${place(step.where)}`;
    }
  }
  return document.toString({ lineWidth: 120 });
}
