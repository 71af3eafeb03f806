/**
 * `npm` steps beside npm itself: kina's own dependencies, as `npm ci` installs them, file by file. Needs the npm registry.
 */
import { createHash } from 'node:crypto';
import { copyFile, lstat, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { check, projectRoot } from '../../support/command.ts';
import { noRegistry, usersShell } from '../../support/package.ts';
import { describeUnless, missing } from '../../support/requirements.ts';

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

describeUnless(missing(['npm']) ?? (await noRegistry()), "kina's own dependencies", () => {
  let folder: string;
  let workshop: Workshop;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-npm-'));
    for (const name of ['package.json', 'package-lock.json'])
      await copyFile(join(projectRoot, name), join(folder, name));
    workshop = await openWorkshop();
  });
  afterAll(async () => {
    await workshop?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function installed(root: string): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name);
      const name = path.slice(root.length + 1);
      if (entry.isDirectory() || name.split('/').includes('.bin') || name === '.package-lock.json') continue;
      const executable = ((await lstat(path)).mode & 0o111) !== 0;
      found[name] = `${sha256(await readFile(path))}${executable ? ' executable' : ''}`;
    }
    return found;
  }

  test('the same files with the same bytes as npm installs, and for the other platform its own native part', async () => {
    const scripted = ['protobufjs'];
    const recipe = join(folder, 'deps.yaml');
    const npm = {
      lockfile: './package-lock.json',
      registry: await check(['npm', 'config', 'get', 'registry']),
      into: 'app',
      withoutScripts: scripted,
    };
    await writeFile(recipe, stringify({ name: 'deps', layers: [{ name: 'deps', steps: [{ npm }] }] }));
    const host = process.arch === 'arm64' ? 'arm64' : 'amd64';
    const built = await workshop.build({ recipe, platforms: ['linux/amd64', 'linux/arm64'] });
    const own: Record<string, string> = {};
    for (const [path, file] of await workshop.files(built, `linux/${host}`)) {
      if (file.type !== 'file') continue;
      own[path.replace('app/node_modules/', '')] = `${sha256(file.data)}${file.mode & 0o111 ? ' executable' : ''}`;
    }
    await mkdir(join(folder, 'theirs'));
    for (const name of ['package.json', 'package-lock.json'])
      await copyFile(join(folder, name), join(folder, 'theirs', name));
    const flags = ['--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
    // A host with another C library would get other native parts.
    await check(['npm', 'ci', ...flags, '--os=linux', '--libc=glibc'], {
      cwd: join(folder, 'theirs'),
      env: usersShell(),
      timeout: 200,
    });
    const theirs = await installed(join(folder, 'theirs/node_modules'));
    // npm does not tell apart what a tool for development and what an optional package for another platform needs
    // (`devOptional`), and installs it without either.
    const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8'));
    const unneeded = (name: string): boolean =>
      !(name in own) && lock.packages[`node_modules/${name.split('/')[0]}`]?.devOptional === true;
    expect(own).toEqual(Object.fromEntries(Object.entries(theirs).filter(([name]) => !unneeded(name))));
    expect(Object.keys(own).length).toBeGreaterThan(1000);
    const native = (await workshop.files(built, 'linux/arm64')).keys();
    expect([...native].filter((name) => name.endsWith('.node'))).toEqual([
      'app/node_modules/@napi-rs/lzma-linux-arm64-gnu/lzma.linux-arm64-gnu.node',
    ]);
  });
});
