/**
 * The package as users get it: what is in it and no more, installed into an empty folder, on the oldest and the newest
 * Node.js that it is for, and on one that is too old. Takes about a minute, most of it npm's.
 */
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check, projectRoot, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe, version } from '../../support/kina.ts';
import { installNode, noRegistry, packProject, projectFiles, usersShell } from '../../support/package.ts';
import { describeUnless, missing } from '../../support/requirements.ts';

let folder: string;
let packed: { file: string; names: string[] };
const unpackable =
  missing(['npm', 'git']) ?? ((await run(['git', 'rev-parse'])).code === 0 ? undefined : 'no git clone');

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-package-'));
  if (unpackable === undefined) packed = await packProject(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describeUnless(unpackable, 'npm pack', () => {
  test('holds the program, the recipes with files and keys, what to read, and nothing else', async () => {
    const sources = await projectFiles('src');
    const expected = [
      'LICENSE',
      'README.md',
      'package.json',
      'bin/kina.js',
      ...sources.flatMap((name) => {
        const built = name.replace(/^src/, 'dist').replace(/\.ts$/, '');
        return name.endsWith('.ts') ? [`${built}.js`, `${built}.d.ts`] : [built];
      }),
      ...(await projectFiles('recipes')),
    ];
    expect(packed.names).toEqual(expected.sort());
    expect(packed.names).toContain('recipes/keys/debian-archive-keyring.pgp');
    expect(packed.names).toContain('recipes/files/node/usr/local/bin/entrypoint');
  });

  test('is small', async () => expect((await stat(packed.file)).size).toBeLessThan(1_000_000));
});

describeUnless(unpackable ?? (await noRegistry()), 'npm install ./kina-*.tgz', () => {
  let bench: Bench;
  let home: string;
  let shell: ReturnType<typeof usersShell>;
  const nodes: Record<string, string> = {};
  beforeAll(async () => {
    bench = await openBench();
    home = join(folder, 'empty');
    shell = usersShell();
    await mkdir(home);
    await check(['npm', 'install', '--no-audit', '--no-fund', packed.file], { cwd: home, env: shell, timeout: 200 });
    for (const range of ['20', '22.19.0', '24']) nodes[range] = await installNode(folder, range);
  });
  afterAll(() => bench?.close());
  const installed = (...names: string[]): string => join(home, 'node_modules/kina', ...names);

  // The example as its page shows it, from outside the project: types and the program.
  test('is a library with types: examples/library builds an image', async () => {
    await copyFile(join(projectRoot, 'examples/library/build.mts'), join(home, 'build.mts'));
    await writeFile(
      join(home, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          module: 'NodeNext',
          target: 'ES2023',
          strict: true,
          noEmit: true,
          types: ['node'],
          typeRoots: [join(projectRoot, 'node_modules/@types')],
        },
        files: ['build.mts'],
      }),
    );
    await check([join(projectRoot, 'node_modules/.bin/tsc'), '--project', home], { env: shell });
    await writeFile(
      join(home, 'tiny.yaml'),
      'name: tiny\ndescription: one file\nlayers:\n  - name: base\n    steps:\n      - file: { path: etc/hello, content: "hello\\n", mode: "0644" }\n',
    );
    const env = { ...shell, KINA_CACHE_DIR: join(home, 'store') };
    const build = (recipe: string) => run([nodes['24']!, 'build.mts', recipe, 'layout'], { cwd: home, env });
    const built = await build('./tiny.yaml');
    expect(built).toMatchObject({ code: 0 });
    const { names, digest } = JSON.parse(built.stdout) as { names: string[]; digest: string };
    expect(names).toEqual(['localhost/kina/tiny:latest']);
    expect(await readFile(join(home, 'layout/index.json'), 'utf8')).toContain(digest);
    const missingRecipe = await build('./absent.yaml');
    expect(missingRecipe.code).toBe(1);
    expect(missingRecipe.stderr).toMatch(/^(recipe|not-found): /m);
  });

  test('brings no compilers, test tools or second Node.js', async () => {
    const names = (await check(['ls', join(home, 'node_modules')])).split('\n');
    for (const unwanted of ['typescript', 'vitest', 'knip', 'node', '@biomejs']) expect(names).not.toContain(unwanted);
  });

  test('keeps what may be executed, because the image gets it from there', async () => {
    const executable = async (root: string, name: string) => ((await stat(join(root, name))).mode & 0o111) !== 0;
    expect(await executable(installed(), 'bin/kina.js')).toBe(true);
    for (const name of await projectFiles('recipes/files'))
      expect([name, await executable(installed(), name)]).toEqual([name, await executable(projectRoot, name)]);
    expect(await executable(installed(), 'recipes/files/node/usr/local/bin/entrypoint')).toBe(true);
  });

  describe.each(['22.19.0', '24'])('on Node.js %s', (range) => {
    const kina = (...args: string[]) =>
      run([nodes[range]!, join(home, 'node_modules/.bin/kina'), ...args], {
        cwd: home,
        env: { ...shell, KINA_CACHE_DIR: join(folder, `store-${range}`), KINA_CONFIG: join(folder, 'none.yaml') },
      });

    test('says its version and helps', async () => {
      expect(await kina('--version')).toMatchObject({
        code: 0,
        stderr: '',
        stdout: expect.stringMatching(/^kina version /),
      });
      expect(await kina('build', 'node-image', '--help')).toMatchObject({ code: 0, stderr: '' });
      expect((await kina('version')).stdout).toContain(`node${range.split('.')[0]}.`);
    });

    test('builds the very image that the clone builds', async () => {
      const args = ['build', 'node-image', version, '--recipe', smallRecipe, '--platform', 'linux/amd64'];
      const built = await kina(...args, '--mirror', bench.upstream.url, '--output', `oci-${range}.tar`);
      expect(digestIn(built)).toBe(digestIn(await bench.build()));
      expect(await readdir(home)).toContain(`oci-${range}.tar`);
    });

    test('finds its own recipes', async () => {
      const result = await kina('build', 'node-image', '--recipe', 'nod');
      expect(result.stderr).toContain('did you mean "node"?');
    });
  });

  test('on Node.js 20: says what is needed, without a stack', async () => {
    const result = await run([nodes['20']!, join(home, 'node_modules/.bin/kina'), '--version'], { env: shell });
    expect(result.code).toBe(1);
    expect(result.stdout).toBe('');
    expect(result.stderr).toMatch(/^kina: Node\.js 20\.\d+\.\d+ is too old, 22\.19 or later is needed\.\n/);
    expect(result.stderr).not.toMatch(/ at |Error/);
  });

  test('a clone that was not built says so', async () => {
    const bare = join(folder, 'bare');
    await mkdir(join(bare, 'bin'), { recursive: true });
    await check(['cp', join(projectRoot, 'bin/kina.js'), join(bare, 'bin')]);
    await writeFile(join(bare, 'package.json'), '{ "type": "module" }');
    const result = await run([process.execPath, join(bare, 'bin/kina.js'), '--version']);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toContain('run `npm ci`');
  });
});
