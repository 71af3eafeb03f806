/**
 * The recipe language as a JSON Schema (draft 7, what editors' YAML servers read), made from the schemas that kina itself
 * checks with, so that both cannot disagree about a key.
 *
 * It accepts more than kina does: values may contain a `${variable}`, and only kina checks rules over several keys ("exactly
 * one of …").
 */
import { z } from 'zod';
import { stepKinds } from '../../layers/kinds.ts';
import { recipeSchema, stepCommonShape } from './schema.ts';

type JsonSchema = Record<string, unknown>;

/** Matches a value that contains a variable. */
const withVariable = '\\$\\{';

/** The whole document; every step kind is under `definitions`. */
export function recipeJsonSchema(): JsonSchema {
  const document = plain(recipeSchema);
  const layers = at(document, 'properties', 'layers', 'items', 'properties', 'steps');
  layers.items = { $ref: '#/definitions/step' };
  const common = at(plain(z.strictObject(stepCommonShape)), 'properties');
  const kinds = [...stepKinds.values()];
  const kindProperties = kinds.map((kind) => [
    kind.name,
    { $ref: `#/definitions/${kind.name}`, description: kind.summary },
  ]);
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'kina recipe',
    ...document,
    definitions: {
      step: {
        description: 'One kind, and the keys that every step may have.',
        type: 'object',
        properties: { ...Object.fromEntries(kindProperties), ...common },
        additionalProperties: false,
        oneOf: kinds.map((kind) => ({ required: [kind.name] })),
      },
      ...Object.fromEntries(
        kinds.map((kind) => [kind.name, { ...(allowVariables(plain(kind.schema)) as JsonSchema), title: kind.name }]),
      ),
    },
  };
}

/** `input`: the schema describes recipes as written, before defaults and trimmed slashes. */
function plain(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { target: 'draft-7', io: 'input' }) as JsonSchema;
  return rest;
}

/** Patterns and lists of values also accept a text with a variable in it. */
function allowVariables(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(allowVariables);
  if (node === null || typeof node !== 'object') return node;
  const inner = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, allowVariables(value)]));
  if (typeof inner.pattern === 'string') return { ...inner, pattern: `${inner.pattern}|${withVariable}` };
  if (!Array.isArray(inner.enum)) return inner;
  const { type: _, ...values } = inner;
  return { anyOf: [values, { type: 'string', pattern: withVariable }] };
}

function at(schema: JsonSchema, ...path: string[]): JsonSchema {
  return path.reduce((node, key) => node[key] as JsonSchema, schema);
}
