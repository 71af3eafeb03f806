/** Before tests that run the command line: compiles it when a source is newer, so that they never pass on yesterday's code. */
import { globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { check, projectRoot } from './command.ts';

export default async function compile(): Promise<void> {
  const written = statSync(join(projectRoot, 'dist/cli/main.js'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const sources = [
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    ...globSync('src/**/*.ts', { cwd: projectRoot }),
  ];
  if (sources.every((name) => statSync(join(projectRoot, name)).mtimeMs < written)) return;
  const compiler = join(projectRoot, 'node_modules/typescript/bin/tsc');
  await check([process.execPath, compiler, '-p', join(projectRoot, 'tsconfig.build.json')]);
}
