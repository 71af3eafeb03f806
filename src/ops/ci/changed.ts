/**
 * Which jobs of a matrix a change affects: those whose image could come out differently, and no others.
 *
 * Two states of the repository are compared, as it is and as it was: what the recipe says for the job's version and
 * platform, with its variables filled in and every local file that it names; what a lock pins for them; and files that
 * the person names. Nothing is resolved, so what upstream or Debian changed meanwhile is none of this (`kina outdated`).
 */
import { lstat } from 'node:fs/promises';
import { isAbsolute, join, relative, resolve } from 'node:path';
import semver from 'semver';
import { type Lock, lockDigest, platformLock } from '../../build/lock.ts';
import { readLock } from '../../build/lock-file.ts';
import { loadRecipe, recipesFolder } from '../../build/recipe/load.ts';
import type { Recipe, RecipeStep } from '../../build/recipe/schema.ts';
import { versionFacts } from '../../build/versions.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf, sha256 } from '../../host/json.ts';
import type { Step } from '../../layers/kind.ts';
import { stepKinds } from '../../layers/kinds.ts';
import { folderDigest, readLocalFile, readLocalFolder } from '../../layers/local.ts';
import { expandDeep } from '../../layers/template.ts';
import { type Earlier, withEarlier } from './git.ts';
import { type Job, jobMatrix, type Matrix, type MatrixRequest } from './matrix.ts';

export interface ChangeRequest extends MatrixRequest {
  /** Commit, branch or tag. */
  readonly since: string;
  /** Name of a shipped recipe, or a file. */
  readonly recipe: string;
  /**
   * Lock files; those for another Kubernetes minor than a job's do not concern it. When undefined: `kina.lock`, if there is
   * one.
   */
  readonly locks: readonly string[] | undefined;
  /** Files and folders on which every job depends. */
  readonly also: readonly string[];
}
/** A request whose paths mean the same in every state: below the folder that it was made in. */
type Located = Omit<ChangeRequest, 'locks'> & { readonly locks: readonly string[] };
/** One state of the repository. */
interface State {
  readonly cwd: string;
  /** The folder of shipped recipes and the version table. */
  readonly recipes: string;
}

/**
 * Throws `usage` for files that are not there and never were, and what `jobMatrix`, `withEarlier` and loading the recipe as
 * it is now throw.
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

/** An absolute path would lead to the files of now from the state of then too, and nothing would ever change. */
async function located(
  { recipe, locks = ['kina.lock'], also, ...rest }: ChangeRequest,
  then: Earlier,
): Promise<Located> {
  const below = async (path: string): Promise<string> => {
    const there = isAbsolute(path) ? await then.place(path) : undefined;
    // With a slash in any case: without one a recipe would be the name of a shipped one.
    return there === undefined ? path : `./${relative(then.cwd, there)}`;
  };
  const [locked, depended] = [Promise.all(locks.map(below)), Promise.all(also.map(below))];
  return { ...rest, recipe: await below(recipe), locks: await locked, also: await depended };
}

/** A name with a typing mistake would affect no job for ever. `folders`: of the states that are compared. */
async function checkNamed({ locks, also }: Located, named: boolean, folders: readonly string[]): Promise<void> {
  const missing: string[] = [];
  for (const [flag, paths] of Object.entries({ '--lock': named ? locks : [], '--also': also }))
    for (const path of paths) {
      const found = await Promise.all(folders.map((folder) => lstat(join(folder, path)).catch(() => undefined)));
      if (!found.some(Boolean)) missing.push(`${flag} ${path}`);
    }
  if (missing.length > 0)
    throw new KinaError('usage', 'what --changed-since shall look at is neither there now nor was it then', {
      details: missing,
      hint: 'Check the names: files and folders of the repository, from the current folder.',
    });
}

/** The digest of all that decides a job; undefined when the repository could not run it. */
async function stateOf(job: Job, request: Located, state: State): Promise<string | undefined> {
  try {
    // With the version table of then, the same request may have meant another patch release.
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
    JSON.stringify(recipe.image), // an image keeps the order of its environment
    recipe.variables,
    await Promise.all(
      steps.map(async ({ name, step }) => [name, await stepState(step, version, platform, variables, state)]),
    ),
  ];
}

async function stepState(
  { kind, body: written, parsed, when, component, optional, unverified, replace, folder }: RecipeStep,
  version: string,
  platform: string,
  variables: Readonly<Record<string, string>>,
  state: State,
): Promise<unknown> {
  const body = expanded(written, variables);
  const step = parsed ?? parseLoosely(kind, written, variables);
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

/** Variables that are only known after resolving get a placeholder. Undefined for a step that is invalid with it. */
function parseLoosely(kind: string, body: unknown, variables: Readonly<Record<string, string>>): Step | undefined {
  const filled = new Proxy(variables, { get: (known, name: string) => known[name] ?? '0' });
  return stepKinds.get(kind)?.parse(expandDeep(body, filled, '')).data;
}

/** Whether a condition can hold. Versions of components may come from packages: only resolving tells. */
function mayHold(when: RecipeStep['when'], platform: string, kubernetes: string): boolean {
  return Object.entries(when).every(([key, wanted]) => {
    if (key === 'platform') return wanted.split('|').some((one) => one.trim() === platform);
    if (key !== 'kubernetes' || semver.validRange(wanted) === null) return true;
    return semver.satisfies(semver.coerce(kubernetes) ?? kubernetes, wanted);
  });
}

/** Variables that are only known after resolving stay as they are written. */
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

/** The digest of a file or folder that a string names, null when it names none. */
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
