/**
 * Reads a recipe and everything it extends. A name finds a shipped recipe; a path (with `/` or ending in .yaml) a file.
 *
 * Merging: variables and image settings of the extending recipe override the others key by key. Steps are appended to a layer
 * that exists, or replace its steps with `reset`. New layers follow the existing ones, because additions change most often.
 */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { type Problem, problemsOf, Source } from '../../host/diagnose.ts';
import { isErrno, KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { stepKinds } from '../../layers/kinds.ts';
import {
  type Recipe,
  type RecipeFile,
  type RecipeLayer,
  type RecipeStep,
  recipeSchema,
  stepCommonShape,
} from './schema.ts';

/** The folder of shipped recipes; the relative path is the same from `src/` and from `dist/`. */
export const recipesFolder = fileURLToPath(new URL('../../../recipes/', import.meta.url));

/** The only file among them that is not a recipe. */
const versionTableFile = 'versions.yaml';

/** Names of the shipped recipes that can be built. */
export async function shippedRecipes(): Promise<string[]> {
  const names = (await readdir(recipesFolder)).filter((n) => n.endsWith('.yaml') && n !== versionTableFile);
  return names.map((n) => n.slice(0, -5)).sort();
}

/**
 * Loads by name or path, relative to the folder `from`. `shipped` is where names are found. Throws `recipe` with every
 * problem found in a file, or `not-found`.
 */
export async function loadRecipe(
  nameOrPath: string,
  from = process.cwd(),
  shipped: string = recipesFolder,
): Promise<Recipe> {
  return merge(await loadChain(nameOrPath, from, [], shipped));
}

interface LoadedLayer extends RecipeLayer {
  readonly reset: boolean;
}
interface Loaded {
  readonly path: string;
  readonly file: RecipeFile;
  readonly layers: LoadedLayer[];
}

async function loadChain(
  nameOrPath: string,
  from: string,
  above: readonly string[],
  shipped: string,
): Promise<Loaded[]> {
  const path = locate(nameOrPath, from, shipped);
  if (above.includes(path))
    throw new KinaError('recipe', `recipes extend each other in a circle: ${[...above, path].join(' -> ')}`);
  const loaded = await loadFile(path, nameOrPath);
  const parent = loaded.file.extends;
  return parent === undefined
    ? [loaded]
    : [...(await loadChain(parent, dirname(path), [...above, path], shipped)), loaded];
}

function locate(nameOrPath: string, from: string, shipped: string): string {
  if (isAbsolute(nameOrPath)) return nameOrPath;
  if (nameOrPath.includes('/') || /\.ya?ml$/.test(nameOrPath)) return resolve(from, nameOrPath);
  return join(shipped, `${nameOrPath}.yaml`);
}

async function loadFile(path: string, asked: string): Promise<Loaded> {
  const text = await readFile(path, 'utf8').catch((error) => {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return noRecipe(asked, path);
    throw new KinaError('recipe', `the recipe ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  });
  if (path === join(recipesFolder, versionTableFile)) return noRecipe(asked, path);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, version: '1.2' });
  const source = new Source(path, document, lines);
  if (document.errors.length > 0)
    throw invalid(
      path,
      document.errors.map((e) => {
        const { line, col } = lines.linePos(e.pos[0]);
        return `${path}:${line}:${col}: ${e.message.split('\n')[0]}`;
      }),
    );
  const raw: unknown = document.toJS();
  const parsed = recipeSchema.safeParse(raw);
  const problems: Problem[] = parsed.success ? [] : problemsOf(parsed.error, recipeSchema);
  const layers: LoadedLayer[] = [];
  for (const [l, layer] of layersOf(raw).entries()) {
    const steps = layer.steps.map((step, s) => checkStep(step, ['layers', l, 'steps', s], source, problems));
    layers.push({ name: layer.name, reset: layer.reset ?? false, steps: steps.filter((s) => s !== undefined) });
  }
  if (problems.length > 0 || !parsed.success) throw invalid(path, source.formatAll(problems));
  return { path, file: parsed.data, layers };
}

async function noRecipe(asked: string, path: string): Promise<never> {
  const shipped = await shippedRecipes();
  throw new KinaError('recipe', `no recipe ${JSON.stringify(asked)}${didYouMean(asked, shipped)}`, {
    hint: `Shipped recipes: ${shipped.join(', ')}. One of your own is named by its file, with --recipe ./FILE.yaml.`,
    details: [`looked for ${path}`],
  });
}

function invalid(path: string, details: string[]): KinaError {
  return new KinaError(
    'recipe',
    `${path} is not a valid recipe (${details.length} problem${details.length === 1 ? '' : 's'})`,
    { details },
  );
}

/** The layers as far as they have the right shape; what has not is reported by the schema. */
function layersOf(raw: unknown): { name: string; reset?: boolean | undefined; steps: Record<string, unknown>[] }[] {
  const shape = z.object({
    layers: z.array(
      z.object({
        name: z.string(),
        reset: z.boolean().optional(),
        steps: z.array(z.record(z.string(), z.unknown())),
      }),
    ),
  });
  return shape.safeParse(raw).data?.layers ?? [];
}

const commonSchema = z.object(stepCommonShape);

/** A step has exactly one kind key. Values with variables are checked after expansion; unknown keys are found now. */
function checkStep(
  step: Record<string, unknown>,
  path: PropertyKey[],
  source: Source,
  problems: Problem[],
): RecipeStep | undefined {
  const before = problems.length;
  const common = commonSchema.safeParse(step);
  if (!common.success) problems.push(...problemsOf(common.error, commonSchema, path));
  const kinds = Object.keys(step).filter((k) => stepKinds.has(k));
  for (const key of Object.keys(step))
    if (!stepKinds.has(key) && !(key in stepCommonShape))
      problems.push({
        path,
        key,
        message: `unknown key ${JSON.stringify(key)} in a step${didYouMean(key, [...stepKinds.keys(), ...Object.keys(stepCommonShape)])}`,
      });
  if (kinds.length !== 1 && problems.length === before)
    problems.push({
      path,
      message:
        kinds.length === 0
          ? `a step needs one of: ${[...stepKinds.keys()].join(', ')}`
          : `a step has one kind, this has ${kinds.join(' and ')}`,
    });
  const kind = kinds[0];
  if (kind === undefined || kinds.length > 1 || !common.success) return undefined;
  const { schema, parse } = stepKinds.get(kind)!;
  const parsed = parse(step[kind]);
  if (!parsed.success) {
    const place = [...path, kind];
    const found = problemsOf(parsed.error, schema, place);
    problems.push(
      ...found.filter((p) => p.key !== undefined || !mentionsVariable(step[kind], p.path.slice(place.length))),
    );
  }
  const { when, component, optional, unverified, replace } = common.data;
  return {
    kind,
    body: step[kind],
    parsed: hasVariables(step[kind]) ? undefined : parsed.data,
    when: when ?? {},
    component,
    optional,
    unverified,
    replace,
    folder: dirname(source.file),
    where: source.locate(path),
  };
}

/** Also true for `$${`, the literal `${`. */
function hasVariables(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('${');
  if (value === null || typeof value !== 'object') return false;
  return Object.entries(value).some(([key, inner]) => hasVariables(key) || hasVariables(inner));
}

/** Whether the value at `path` still has a `${variable}`, so that it cannot be judged yet. */
function mentionsVariable(body: unknown, path: readonly PropertyKey[]): boolean {
  let value = body;
  for (const segment of path)
    value = value !== null && typeof value === 'object' ? (value as Record<PropertyKey, unknown>)[segment] : undefined;
  return typeof value === 'string' && value.includes('${');
}

function merge(chain: readonly Loaded[]): Recipe {
  const layers: { name: string; steps: RecipeStep[] }[] = [];
  let image: Recipe['image'] = {};
  let variables: Recipe['variables'] = {};
  let description = '';
  for (const { path, file, layers: own } of chain) {
    const env = { ...image.env, ...file.image?.env };
    const labels = { ...image.labels, ...file.image?.labels };
    image = { ...image, ...file.image, env, labels };
    variables = { ...variables, ...mergeVariables(variables, file.variables ?? {}) };
    description = file.description ?? description;
    for (const layer of own) {
      const existing = layers.find((l) => l.name === layer.name);
      if (layer.reset && !existing) throw nothingToReset(path, layer.name, layers);
      if (layer.reset) existing?.steps.splice(0);
      if (existing) existing.steps.push(...layer.steps);
      else layers.push({ name: layer.name, steps: [...layer.steps] });
    }
  }
  const { path, file } = chain.at(-1)!;
  return { name: file.name, path, description, variables, image, layers };
}

/** A reset that drops nothing is a mistyped name: the steps it was to drop would still be there. */
function nothingToReset(path: string, name: string, layers: readonly { name: string }[]): KinaError {
  const known = layers.map((l) => l.name);
  return new KinaError('recipe', `${path}: reset: no recipe below has a layer ${name}${didYouMean(name, known)}`, {
    hint: known.length > 0 ? `Layers below: ${known.join(', ')}.` : 'Leave `reset` out: the recipe extends nothing.',
  });
}

/** `variables: { suite: { default: bookworm } }` changes the default and keeps what the parent says otherwise. */
function mergeVariables(old: Recipe['variables'], changed: Recipe['variables']): Recipe['variables'] {
  return Object.fromEntries(Object.entries(changed).map(([k, v]) => [k, { ...old[k], ...v }]));
}
