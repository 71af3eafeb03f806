/** `kina lock [SOURCE]` */
import { Command } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { checkFileDestination } from '../../host/files.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { addSourceOptions, type SourceFlags } from './shared.ts';
import { sessionFor } from './toolbox.ts';

interface LockFlags extends SourceFlags, GlobalFlags {
  output: string;
  upgrade: boolean | string;
  json: boolean;
}

export function lockCommand(): Command {
  return addSourceOptions(new Command('lock'))
    .description(
      'pin every artifact of a recipe in a file to commit; build from it with `kina build node-image --locked`',
    )
    .argument('[source]', 'Kubernetes, as for build node-image')
    .option('-o, --output <file>', 'where to write it; - for standard output', 'kina.lock')
    .option(
      '--upgrade [name]',
      'lock again what the file has, with the newest patch of its Kubernetes minor; or only NAME: kubernetes, a Debian package, or a step such as runc',
      false,
    )
    .option('--json', 'answer as JSON', false)
    .action((source: string | undefined, _own: LockFlags, command: Command) => {
      const flags = command.optsWithGlobals<LockFlags>();
      if (flags.upgrade === false) return run(source, flags);
      const given = ['type', 'platform', 'arch', 'set', 'strict', 'offline'].filter(
        (name) => command.getOptionValueSource(name) === 'cli',
      );
      if (source !== undefined || given.length > 0)
        throw new KinaError('usage', `--upgrade takes what the lock has, but ${source ?? `--${given[0]}`} was given`, {
          hint: 'To lock something else, leave --upgrade out.',
        });
      return upgrade(flags);
    });
}

async function run(source: string | undefined, flags: LockFlags): Promise<void> {
  // Loaded when wanted, as `build.ts` explains.
  const { formatLock, lockDigest, writeLock } = await import('../../build/lock.ts');
  const { resolveRecipe } = await import('../../build/resolve.ts');
  const { resolveRequest } = await import('./request.ts');
  const request = resolveRequest(source, flags, undefined);
  if (flags.output !== '-') await checkFileDestination(flags.output, 'lock');
  const { lock } = await withProgress(flags, async (reporter, signal) =>
    resolveRecipe(request, await sessionFor(flags, reporter, signal)),
  );
  if (flags.output === '-') return answer(formatLock(lock));
  await writeLock(flags.output, lock);
  if (flags.json) return answerJson({ file: flags.output, digest: lockDigest(lock) });
  answer(`${flags.output} ${lockDigest(lock)}`);
}

/** What `kina outdated` names goes into the file. */
async function upgrade(flags: LockFlags): Promise<void> {
  const { lockDigest, readLock, writeLock } = await import('../../build/lock.ts');
  const { compareLocks } = await import('../../ops/outdated/compare.ts');
  const { newestLock } = await import('../../ops/outdated/newest.ts');
  const { updatesText } = await import('./outdated.ts');
  const old = await readLock(flags.output);
  const recipe = flags.recipe ?? old.recipe;
  const { upgradeOne } = await import('../../ops/outdated/upgrade.ts');
  const lock = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, reporter, signal);
    if (typeof flags.upgrade === 'string') return upgradeOne(flags.output, recipe, flags.upgrade, tools);
    return (await newestLock(old, recipe, tools)).lock;
  });
  await writeLock(flags.output, lock);
  const updates = compareLocks(old, lock);
  if (flags.json) return answerJson({ file: flags.output, digest: lockDigest(lock), updates });
  if (!flags.quiet && updates.length > 0) process.stderr.write(`${updatesText(updates)}\n`);
  answer(`${flags.output} ${lockDigest(lock)}`);
}
