/** Jobs that a change affects, in real repositories of git: no job too few, and none that would make the same image. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { changedJobs } from '../../../src/ops/ci/changed.ts';
import { cleanEnvironment } from '../../support/command.ts';
import { describeWith } from '../../support/requirements.ts';

const platforms = ['linux/amd64', 'linux/arm64'].map(parsePlatform);
let repository: string;

const git = (...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], {
    cwd: repository,
    encoding: 'utf8',
    env: cleanEnvironment({ GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
async function write(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(repository, path)), { recursive: true });
  await writeFile(join(repository, path), content);
}
const commit = (): string => {
  git('add', '--all');
  git('commit', '--quiet', '--message', 'a commit');
  return git('rev-parse', 'HEAD');
};
const recipe = (steps: object[]): string => JSON.stringify({ name: 'mine', layers: [{ name: 'base', steps }] });
const steps = [
  { file: { path: 'etc/all', source: 'files/all' } },
  { file: { path: 'etc/arm', content: 'arm' }, when: { platform: 'linux/arm64' } },
  { file: { path: 'etc/new', content: 'new' }, when: { kubernetes: '>=1.35' } },
  { archive: { url: 'https://example.org/${arch}/v${runc}.tar' } },
];
const lockFor = (minor: string, size: number): string =>
  JSON.stringify({
    version: 1,
    recipe: 'mine',
    kubernetes: `v${minor}.1`,
    variables: {},
    platforms: {
      'linux/amd64': { 'base/file': { step: `sha256:${'0'.repeat(64)}` } },
      'linux/arm64': {
        'base/file': {
          step: `sha256:${'0'.repeat(64)}`,
          artifacts: [
            { name: 'a', url: 'https://example.org/a', size, digest: `sha256:${'1'.repeat(64)}`, verifiedBy: 'x' },
          ],
        },
      },
    },
  });

/** `MINOR ARCHITECTURE` of the jobs. */
async function jobs(
  since: string,
  more: { recipe?: string; also?: string[]; locks?: string[] | null; join?: boolean; cwd?: string } = {},
) {
  const { recipe: name = 'recipes/mine.yaml', also = [], join: joined = false, cwd = 'images' } = more;
  const locks = more.locks === null ? undefined : (more.locks ?? ['1.34.lock', '1.35.lock']);
  const { include } = await changedJobs(
    { versions: ['1.34', '1.35'], platforms, join: joined, since, recipe: name, locks, also },
    join(repository, cwd),
  );
  return include.map(({ minor, platform }) => `${minor} ${platform.replaceAll('linux/', '')}`);
}
const all = ['1.34 amd64', '1.34 arm64', '1.35 amd64', '1.35 arm64'];

describeWith('jobs that a change affects', ['git'], () => {
  let before: string;
  beforeEach(async () => {
    repository = await mkdtemp(join(tmpdir(), 'kina-changed-'));
    git('init', '--quiet', '--initial-branch', 'main');
    await write('images/recipes/mine.yaml', recipe(steps));
    await write('images/recipes/files/all', 'all');
    await write('images/1.34.lock', lockFor('1.34', 1));
    await write('images/1.35.lock', lockFor('1.35', 1));
    await write('docs/README', 'something else');
    before = commit();
  });
  afterEach(() => rm(repository, { recursive: true, force: true }));

  test('nothing, and what no image depends on', async () => {
    expect(await jobs(before)).toEqual([]);
    await write('docs/README', 'changed');
    await write('images/recipes/other.yaml', recipe([]));
    expect(await jobs(before)).toEqual([]);
    expect(await jobs(before, { also: ['../docs'] })).toEqual(all);
  });

  test('a file that a step names, committed or not; a mode too', async () => {
    await write('images/recipes/files/all', 'changed');
    expect(await jobs(before)).toEqual(all);
    commit();
    expect(await jobs(before)).toEqual(all);
    expect(await jobs('HEAD')).toEqual([]);
    execFileSync('chmod', ['+x', join(repository, 'images/recipes/files/all')]);
    expect(await jobs('HEAD')).toEqual(all);
  });

  test('a step for one platform, or for some versions', async () => {
    await write('images/recipes/mine.yaml', recipe([...steps.slice(0, 1), ...steps.slice(2)]));
    expect(await jobs(before)).toEqual(['1.34 arm64', '1.35 arm64']);
    expect(await jobs(before, { join: true })).toEqual(['1.34 amd64,arm64', '1.35 amd64,arm64']);
    await write('images/recipes/mine.yaml', recipe([...steps.slice(0, 2), ...steps.slice(3)]));
    expect(await jobs(before)).toEqual(['1.35 amd64', '1.35 arm64']);
  });

  test('comments and spelling of a recipe affect nothing', async () => {
    await write(
      'images/recipes/mine.yaml',
      `# said differently\n${JSON.stringify(JSON.parse(recipe(steps)), null, 2)}\n`,
    );
    expect(await jobs(before)).toEqual([]);
  });

  test('a lock: the platforms that it pins otherwise, of its own minor', async () => {
    await write('images/1.34.lock', lockFor('1.34', 2));
    expect(await jobs(before)).toEqual(['1.34 arm64']);
    await rm(join(repository, 'images/1.35.lock'));
    expect(await jobs(before)).toEqual(['1.34 arm64', '1.35 amd64', '1.35 arm64']);
    expect(await jobs(before, { locks: null })).toEqual([]);
  });

  test('absolute paths lead to the files of then, not to those of now twice', async () => {
    const at = (path: string) => join(repository, path);
    const absolute = { recipe: at('images/recipes/mine.yaml'), locks: [at('images/1.34.lock')], also: [at('docs')] };
    expect(await jobs(before, absolute)).toEqual([]);
    await write('images/1.34.lock', lockFor('1.34', 2));
    expect(await jobs(before, absolute)).toEqual(['1.34 arm64']);
    await write('images/recipes/mine.yaml', recipe([...steps.slice(0, 1), ...steps.slice(2)]));
    expect(await jobs(before, { ...absolute, locks: null })).toEqual(['1.34 arm64', '1.35 arm64']);
    await write('docs/README', 'changed');
    expect(await jobs(before, absolute)).toEqual(all);
  });

  test('a recipe of another place is the same now and then', async () => {
    const elsewhere = await mkdtemp(join(tmpdir(), 'kina-changed-'));
    await writeFile(join(elsewhere, 'mine.yaml'), recipe(steps.slice(1)));
    expect(await jobs(before, { recipe: join(elsewhere, 'mine.yaml') })).toEqual([]);
    await rm(elsewhere, { recursive: true });
  });

  test('a file that never was is a typing mistake, not "nothing changed"', async () => {
    const error = { code: 'usage', details: ['--lock 1.43.lock', '--also ../doc'] };
    await expect(jobs(before, { locks: ['1.34.lock', '1.43.lock'], also: ['../doc'] })).rejects.toMatchObject(error);
    await rm(join(repository, 'docs'), { recursive: true });
    expect(await jobs(before, { also: ['../docs'] })).toEqual(all);
  });

  test('a recipe that was not there', async () => {
    await write('fresh/recipes/mine.yaml', recipe([]));
    expect(await jobs(before, { cwd: 'fresh', locks: null })).toEqual(all);
    expect(await jobs('0'.repeat(40))).toEqual(all);
  });

  test('a branch is compared with where it began, as a pull request is; nothing of git changes', async () => {
    git('checkout', '--quiet', '-b', 'mine');
    git('checkout', '--quiet', 'main');
    await write('images/recipes/files/all', 'main went on');
    commit();
    git('checkout', '--quiet', 'mine');
    expect(await jobs('main')).toEqual([]);
    expect(git('status', '--porcelain')).toBe('');
    expect(git('worktree', 'list').split('\n')).toHaveLength(1);
  });

  test('what git does not know is said', async () => {
    await expect(jobs('no-such-branch')).rejects.toMatchObject({
      code: 'usage',
      hint: expect.stringContaining('fetch-depth: 0'),
    });
    await rm(join(repository, '.git'), { recursive: true });
    await expect(jobs('main')).rejects.toMatchObject({ code: 'usage', message: expect.stringContaining('git') });
    const path = process.env.PATH;
    process.env.PATH = '/nowhere';
    await expect(jobs('main'))
      .rejects.toMatchObject({ code: 'not-found', message: expect.stringContaining('git is not installed') })
      .finally(() => {
        process.env.PATH = path;
      });
  });
});
