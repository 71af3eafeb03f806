/**
 * The recipe language: what a recipe file may say. An unknown key is an error.
 *
 * Variables are filled in and conditions decided in `plan/`, when the platform and the versions are known. A step without
 * variables is parsed when the recipe is loaded. Of any other step, `load.ts` reports the mistakes that do not depend on
 * variables, and it is parsed when `"${mode}"` has become `"0644"`.
 */
import { z } from 'zod';
import type { Step } from '../../layers/kind.ts';

const variableName = z.string().regex(/^[A-Za-z][A-Za-z0-9_]*$/, 'expected a variable name: letters, digits and "_"');
/** A recipe's name is part of tags, and a lock's may come from others: it names a shipped recipe and never a file. */
export const recipeName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,40}$/, 'expected a recipe name: lower case, digits and "-"');
const layerName = z.string().regex(/^[a-z][a-z0-9-]{0,40}$/, 'expected a layer name: lower case, digits and "-"');

export const variableSchema = z.strictObject({
  default: z.string().optional().describe('without one, --set must give a value'),
  description: z.string().optional(),
  values: z.array(z.string()).optional().describe('the only values allowed'),
});

export const whenSchema = z
  .record(z.string(), z.string())
  .describe('component to semver range, variable to `a|b`, or platform to linux/arm64; all must hold');

/** The keys beside the kind's own. */
export const stepCommonShape = {
  when: whenSchema.optional(),
  component: z
    .string()
    .regex(/^[a-z][a-z0-9-]*$/, 'expected a component name: lower case, digits and "-"')
    .optional()
    .describe('name in plan, labels and messages; its version is the variable of that name'),
  optional: z.boolean().optional().describe('may be absent upstream'),
  unverified: z.boolean().optional().describe('accept a download without a published checksum'),
  replace: z.boolean().optional().describe("may take the place of other steps' files"),
} as const;

export const recipeSchema = z.strictObject({
  name: recipeName,
  description: z.string().optional(),
  extends: z.string().optional().describe('a shipped recipe, or ./path.yaml'),
  variables: z.record(variableName, variableSchema).optional(),
  image: z
    .strictObject({
      entrypoint: z.array(z.string()).optional(),
      env: z.record(z.string(), z.string()).optional(),
      stopSignal: z.string().optional(),
      workingDir: z.string().optional(),
      user: z
        .string()
        .regex(/^[\w-]+(:[\w-]+)?$/, 'expected a user, or user and group as "65532:65532"')
        .optional()
        .describe('UID[:GID] or names; numbers let a cluster check that it is not root'),
      labels: z.record(z.string(), z.string()).optional(),
      tag: z.string().optional().describe('name of the image, such as localhost/kina/node:${kubernetes}'),
    })
    .optional(),
  layers: z
    .array(
      z.strictObject({
        name: layerName,
        reset: z.boolean().optional().describe('drop what the extended recipes say about this layer'),
        steps: z.array(z.record(z.string(), z.unknown())),
      }),
    )
    .optional(),
});

export type RecipeFile = z.infer<typeof recipeSchema>;
export type RecipeVariable = z.infer<typeof variableSchema>;

/** A step as written, with where it came from. */
export interface RecipeStep {
  readonly kind: string;
  /** The kind's settings as written. */
  readonly body: unknown;
  /** Undefined when the settings contain variables. */
  readonly parsed: Step | undefined;
  readonly when: Readonly<Record<string, string>>;
  readonly component: string | undefined;
  readonly optional: boolean | undefined;
  readonly unverified: boolean | undefined;
  readonly replace: boolean | undefined;
  /** Folder of the recipe file that has the step: local paths are relative to it. */
  readonly folder: string;
  /** `FILE:LINE`, for messages. */
  readonly where: string;
}

export interface RecipeLayer {
  readonly name: string;
  readonly steps: readonly RecipeStep[];
}

/** A recipe with everything it extends merged in. */
export interface Recipe {
  readonly name: string;
  /** Absolute path of the file that was asked for. */
  readonly path: string;
  readonly description: string;
  readonly variables: Readonly<Record<string, RecipeVariable>>;
  readonly image: NonNullable<RecipeFile['image']>;
  readonly layers: readonly RecipeLayer[];
}
