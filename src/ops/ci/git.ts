/**
 * An earlier state of a repository: the files of a commit in a separate folder, created with git's plumbing and a separate
 * index, so that neither the work tree nor `.git` changes.
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { KinaError } from '../../host/errors.ts';
import { lastLines, run } from '../../host/process.ts';

export interface Earlier {
  /** The folder that corresponds to `cwd`. */
  readonly cwd: string;
  /** The earlier location of a local path; undefined if it is not in the repository. */
  place(path: string): Promise<string | undefined>;
}

/** GitHub's value for the commit before the first one of a branch. */
const nothing = /^0{40}$/;

/**
 * Calls `work` with the files of the common ancestor of `ref` and HEAD, as for a pull request; with undefined if `ref`
 * says that there was none. Throws `not-found` without git, and `usage` outside of a repository and for an unknown ref.
 */
export async function withEarlier<T>(
  ref: string,
  cwd: string,
  work: (earlier: Earlier | undefined) => Promise<T>,
): Promise<T> {
  const root = await git(['rev-parse', '--show-toplevel'], cwd, '--changed-since needs a git repository', {
    hint: 'Run it in a clone of the repository with your recipes.',
  });
  if (nothing.test(ref)) return work(undefined);
  const base = await git(['merge-base', ref, 'HEAD'], cwd, `--changed-since ${ref}: no common ancestor with HEAD`, {
    hint: 'Check the name. In a pipeline, fetch the history as well: `fetch-depth: 0` for actions/checkout, GIT_DEPTH: 0 for GitLab.',
  });
  const prefix = await git(['rev-parse', '--show-prefix'], cwd, 'git cannot locate this folder');
  const folder = await mkdtemp(join(tmpdir(), 'kina-ci-'));
  try {
    const env = { GIT_INDEX_FILE: join(folder, 'index') };
    const tree = join(folder, 'tree');
    const failed = `git cannot read the files of ${base}`;
    await git(['read-tree', base], root, failed, { env });
    await git(['checkout-index', '--all', '--quiet', `--prefix=${tree}${sep}`], root, failed, { env });
    return await work({
      cwd: join(tree, prefix),
      async place(at) {
        const real = await realpath(at).catch(() => at); // it may no longer exist
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
