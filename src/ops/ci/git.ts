/**
 * A repository as it was: the files of an earlier commit in a folder of their own, taken out with git's plumbing and an
 * index of its own, so that neither the work tree nor anything in `.git` changes.
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { KinaError } from '../../host/errors.ts';
import { lastLines, run } from '../../host/process.ts';

export interface Earlier {
  /** The folder that had the place of `cwd`. */
  readonly cwd: string;
  /** Where a path of this machine was then, if it was; undefined when it is not in the repository. */
  place(path: string): Promise<string | undefined>;
}

/** GitHub's name for the commit before a branch's first. */
const nothing = /^0{40}$/;

/**
 * Calls `work` with the files of the commit that `ref` and HEAD have in common, as a pull request is compared; with
 * undefined when `ref` says that there was nothing. Throws `not-found` without git, `usage` outside of a repository and
 * for a ref that it does not have.
 */
export async function withEarlier<T>(
  ref: string,
  cwd: string,
  work: (earlier: Earlier | undefined) => Promise<T>,
): Promise<T> {
  const root = await git(['rev-parse', '--show-toplevel'], cwd, '--changed-since compares with a commit of git', {
    hint: 'Run it in a clone of the repository that has your recipes.',
  });
  if (nothing.test(ref)) return work(undefined);
  const base = await git(
    ['merge-base', ref, 'HEAD'],
    cwd,
    `--changed-since ${ref}: git has no commit in common with it`,
    {
      hint: 'Check the name. In a pipeline, fetch the history too: `fetch-depth: 0` for actions/checkout, GIT_DEPTH: 0 for GitLab.',
    },
  );
  const prefix = await git(['rev-parse', '--show-prefix'], cwd, 'git does not say where this folder is');
  const folder = await mkdtemp(join(tmpdir(), 'kina-ci-'));
  try {
    const env = { GIT_INDEX_FILE: join(folder, 'index') };
    const tree = join(folder, 'tree');
    const failed = `git does not give the files of ${base}`;
    await git(['read-tree', base], root, failed, { env });
    await git(['checkout-index', '--all', '--quiet', `--prefix=${tree}${sep}`], root, failed, { env });
    return await work({
      cwd: join(tree, prefix),
      async place(at) {
        const real = await realpath(at).catch(() => at); // it may be gone now
        const path = relative(await realpath(root), real);
        return path.startsWith('..') ? undefined : join(tree, path);
      },
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function git(
  args: readonly string[],
  cwd: string,
  problem: string,
  options: { hint?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const result = await run(['git', ...args], { cwd, env: { LC_ALL: 'C', ...options.env } });
  if (result.code === 0) return result.stdout.trim();
  throw new KinaError('usage', problem, {
    details: lastLines(result.stderr, 3),
    ...(options.hint ? { hint: options.hint } : {}),
  });
}
