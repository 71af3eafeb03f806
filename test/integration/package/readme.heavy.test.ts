/**
 * README's two commands, as they stand there, in a fresh clone, with the Node.js and npm of the machine. The first one
 * installs and builds a real image: minutes, and the npm registry and a Debian mirror are needed.
 */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, projectRoot, run } from '../../support/command.ts';
import { noRegistry, usersShell } from '../../support/package.ts';
import { describeUnless, missing, noDebianMirror } from '../../support/requirements.ts';

const readme = await readFile(join(projectRoot, 'README.md'), 'utf8');
const section = /^## Two commands on a fresh machine\n(.*?)^## /ms.exec(readme)?.[1] ?? '';
const commands = [...section.matchAll(/^```sh\n(.*?)^```/gms)].map((m) => m[1]!.trim());

test('README has two commands, each on one line', () => {
  expect(commands).toHaveLength(2);
  expect(commands.join('\n').split('\n')).toHaveLength(2);
});

const impossible =
  missing(['git', 'npm', 'node']) ??
  ((await run(['git', 'rev-parse'])).code === 0 ? undefined : 'no git clone') ??
  (await noRegistry()) ??
  (await noDebianMirror());

describeUnless(impossible, "README's two commands in a fresh clone", () => {
  let folder: string;
  let clone: string;
  const env = (): Record<string, string | undefined> => ({
    ...usersShell(),
    KINA_CACHE_DIR: join(folder, 'store'),
    KINA_CONFIG: join(folder, 'none.yaml'),
    KINA_DEBIAN_CHECK_VALID_UNTIL: process.env.KINA_DEBIAN_CHECK_VALID_UNTIL,
  });
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-readme-'));
    clone = join(folder, 'kina');
    await check(['git', 'clone', '--quiet', projectRoot, clone]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('the first builds a real image and shows it', { timeout: 900_000 }, async () => {
    const result = await run(['sh', '-c', commands[0]!], { cwd: clone, env: env(), timeout: 800 });
    expect(result.stderr).not.toContain('ERROR');
    expect(result.code).toBe(0);
    // What README shows, with the numbers of today.
    const layers = [...section.matchAll(/^linux\/amd64 +(\w+) +[\d.]+ /gm)].map((m) => m[1]);
    expect(layers.length).toBeGreaterThan(2);
    for (const layer of layers) expect(result.stderr).toMatch(new RegExp(`^linux/\\w+ +${layer} +[\\d.]+ \\wB`, 'm'));
    expect(result.stderr).toMatch(/^Next: podman load -i debian-node\.tar$/m);
    expect(result.stdout).toMatch(/^localhost\/kina\/debian:\w+@sha256:[0-9a-f]{64}$/m);
    const archive = join(clone, /dest=(\S+)/.exec(commands[0]!)![1]!);
    expect((await stat(archive)).size).toBeGreaterThan(50 << 20);
    expect(await check(['tar', '-tf', archive])).toContain('index.json');
  });

  test('the second runs the tests: here a few of them, because this is one', { timeout: 300_000 }, async () => {
    expect(commands[1]).toBe('npm test');
    const result = await run(['sh', '-c', `${commands[1]} -- test/unit/cli test/unit/build`], {
      cwd: clone,
      env: env(),
      timeout: 280,
    });
    expect(`${result.stdout}${result.stderr}`).toMatch(/Tests .*\d+ passed/);
    expect(result.code).toBe(0);
  });
});
