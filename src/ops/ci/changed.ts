/**
 * Finds the jobs of a matrix that a change affects: those whose image could be different, and no others.
 *
 * Two states of the repository are compared: the recipe for the job's version and platform, with variables substituted and
 * including every local file that it names; the pins of a lock; and files given by the user. Nothing is resolved, so
 * changes in upstream or Debian do not count (see `kina outdated`).
 */
import { lstat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import semver from 'semver';
import { type Lock, lockDigest, platformLock } from '../../build/lock.ts';
import { readLock } from '../../build/lock-file.ts';
import { loadRecipe, recipesFolder } from '../../build/recipe/load.ts';
import { parseLoosely } from '../../build/recipe/loose.ts';
import type { Recipe, RecipeStep } from '../../build/recipe/schema.ts';
import { versionFacts } from '../../build/versions.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf, sha256 } from '../../host/json.ts';
import { folderDigest, readLocalFile, readLocalFolder } from '../../layers/local.ts';
import { expandDeep } from '../../layers/template.ts';
import { type Earlier, withEarlier } from './git.ts';
import { type Job, jobMatrix, type Matrix, type MatrixRequest } from './matrix.ts';

export interface ChangeRequest extends MatrixRequest {
  /** Commit, branch or tag. */
  readonly since: string;
  /** Name of a built-in recipe, or a file. */
  readonly recipe: string;
  /**
   * Lock files; locks for a Kubernetes minor other than a job's do not affect it. If undefined: `kina.lock`, if it exists.
   */
  readonly locks: readonly string[] | undefined;
  /** Files and folders that affect every job. */
  readonly also: readonly string[];
}
/** A request whose paths are valid in every state: relative to the folder of the request. */
type Located = Omit<ChangeRequest, 'locks'> & { readonly locks: readonly string[] };
/** One state of the repository. */
interface State {
  readonly cwd: string;
  /** The folder with built-in recipes and the version table. */
  readonly recipes: string;
}

/**
 * Throws `usage` for files that exist in neither state, and the errors of `jobMatrix`, `withEarlier` and of loading the
 * current recipe.
 */
export async function changedJobs(wanted: ChangeRequest, cwd: string = process.cwd()): Promise<Matrix> {
  const matrix = await jobMatrix(wanted);
  await loadRecipe(wanted.recipe, cwd);
  return withEarlier(wanted.since, cwd, async (earlier) => {
    if (!earlier) return matrix;
    const request = await located(wanted, earlier);
    await checkNamed(request, wanted.locks !== undefined, [cwd, earlier.cwd]);
    const now: State = { cwd, recipes: recipesFolder };
    const before: State = { cwd: earlier.cwd, recipes: (await earlier.place(recipesFolder)) ?? recipesFolder };
    const include: Job[] = [];
    for (const job of matrix.include)
      if ((await stateOf(job, request, now)) !== (await stateOf(job, request, before))) include.push(job);
    return { include };
  });
}

/** An absolute path would address the current files in both states, so no change would be found. */
async function located(
  { recipe, locks = ['kina.lock'], also, ...rest }: ChangeRequest,
  then: Earlier,
): Promise<Located> {
  const below = async (path: string): Promise<string> => {
    const there = isAbsolute(path) ? await then.place(path) : undefined;
    // Always with a slash: without one, the name would mean a built-in recipe.
    return there === undefined ? path : `./${relative(then.cwd, there)}`;
  };
  const [locked, depended] = [Promise.all(locks.map(below)), Promise.all(also.map(below))];
  return { ...rest, recipe: await below(recipe), locks: await locked, also: await depended };
}

/** Reports misspelled names, which would never affect a job. `folders`: those of the compared states. */
async function checkNamed({ locks, also }: Located, named: boolean, folders: readonly string[]): Promise<void> {
  const missing: string[] = [];
  for (const [flag, paths] of Object.entries({ '--lock': named ? locks : [], '--also': also }))
    for (const path of paths) {
      const found = await Promise.all(folders.map((folder) => lstat(join(folder, path)).catch(() => undefined)));
      if (!found.some(Boolean)) missing.push(`${flag} ${path}`);
    }
  if (missing.length > 0)
    throw new KinaError('usage', 'path not found in the working tree or at REV', {
      details: missing,
      hint: 'Check the paths: files and folders of the repository, relative to the current folder.',
    });
}

/** The digest of everything that determines a job; undefined if the repository could not run it. */
async function stateOf(job: Job, request: Located, state: State): Promise<string | undefined> {
  try {
    // With the older version table, the same request may have meant a different patch release.
    const { include } = await jobMatrix({ ...request, recipes: state.recipes });
    if (!include.some(({ version, platform }) => version === job.version && platform === job.platform))
      return undefined;
    const recipe = await loadRecipe(request.recipe, state.cwd, state.recipes);
    const parts = job.platform
      .split(',')
      .map(async (platform) => [
        await recipeState(recipe, job.version, platform, state),
        ...(await Promise.all(request.locks.map((file) => lockState(resolve(state.cwd, file), job, platform)))),
      ]);
    const also = request.also.map((path) => contentOf(state.cwd, path));
    return digestOf([await Promise.all(parts), await Promise.all(also)]);
  } catch (error) {
    if (error instanceof KinaError) return undefined;
    throw error;
  }
}

async function recipeState(recipe: Recipe, version: string, platform: string, state: State): Promise<unknown> {
  const defaults = Object.entries(recipe.variables).map(([name, variable]) => [name, variable.default ?? '']);
  const variables: Record<string, string> = {
    ...(await versionFacts(version, state.recipes)),
    ...Object.fromEntries(defaults),
    recipe: recipe.name,
    kubernetes: version,
    arch: platform.replace('linux/', ''),
  };
  const steps = recipe.layers.flatMap(({ name, steps: own }) =>
    own.filter(({ when }) => mayHold(when, platform, version)).map((step) => ({ name, step })),
  );
  return [
    recipe.name,
    recipe.description,
    JSON.stringify(recipe.image), // the order of the environment matters in an image
    recipe.variables,
    await Promise.all(
      steps.map(async ({ name, step }) => [name, await stepState(step, version, platform, variables, state)]),
    ),
  ];
}

async function stepState(
  recipeStep: RecipeStep,
  version: string,
  platform: string,
  variables: Readonly<Record<string, string>>,
  state: State,
): Promise<unknown> {
  const { kind, when, component, optional, unverified, replace, folder } = recipeStep;
  const body = expanded(recipeStep.body, variables);
  const step = parseLoosely(recipeStep, variables);
  const inner = step?.inner && (await loadRecipe(step.inner.recipe, folder, state.recipes));
  const files = stringsIn(body).map(async (text) => [text, await contentOf(folder, text)]);
  return [
    kind,
    body,
    when,
    component,
    optional,
    unverified,
    replace,
    step?.usesVariables ? variables : null,
    await Promise.all(files),
    inner ? await recipeState(inner, version, platform, state) : null,
  ];
}

/** Whether a condition can hold. Component versions may come from packages, which only resolving would tell. */
function mayHold(when: RecipeStep['when'], platform: string, kubernetes: string): boolean {
  return Object.entries(when).every(([key, wanted]) => {
    if (key === 'platform') return wanted.split('|').some((one) => one.trim() === platform);
    if (key !== 'kubernetes' || semver.validRange(wanted) === null) return true;
    return semver.satisfies(semver.coerce(kubernetes) ?? kubernetes, wanted);
  });
}

/** Variables that are known only after resolving are not substituted. */
function expanded(body: unknown, variables: Readonly<Record<string, string>>): unknown {
  try {
    return expandDeep(body, variables, '');
  } catch {
    return body;
  }
}

function stringsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return value !== null && typeof value === 'object' ? Object.values(value).flatMap(stringsIn) : [];
}

/** The digest of a file or folder that a string names; null if it does not name one. */
async function contentOf(folder: string, text: string): Promise<string | null> {
  if (text === '' || isAbsolute(text) || text.includes('\0') || text.length > 4096) return null;
  const found = await lstat(join(folder, text)).catch(() => undefined);
  if (found?.isDirectory()) return folderDigest(await readLocalFolder(folder, text));
  if (!found) return null;
  const { data, executable } = await readLocalFile(folder, text);
  return `${sha256(data)}${executable ? ' executable' : ''}`;
}

async function lockState(path: string, job: Job, platform: string): Promise<string | null> {
  const lock: Lock | undefined = await readLock(path).catch((error) => {
    if (error instanceof KinaError && error.code === 'lock') return undefined;
    throw error;
  });
  if (!lock) return null;
  const concerned = lock.kubernetes === undefined || lock.kubernetes.startsWith(`v${job.minor}.`);
  return concerned ? lockDigest(platformLock(lock, platform)) : null;
}
