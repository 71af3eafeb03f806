/** Before tests that run the command line: compiles it, so that they never pass on yesterday's code. */
import { join } from 'node:path';
import { check, projectRoot } from './command.ts';

export default async function compile(): Promise<void> {
  const compiler = join(projectRoot, 'node_modules/typescript/bin/tsc');
  await check([process.execPath, compiler, '-p', join(projectRoot, 'tsconfig.build.json')]);
}
