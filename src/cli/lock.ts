/** `kina lock [SOURCE]` */
import { Command } from 'commander';
import { checkFileDestination } from '../host/files.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from './context.ts';
import { addSourceOptions, type SourceFlags } from './shared.ts';

interface LockFlags extends SourceFlags, GlobalFlags {
  output: string;
  json: boolean;
}

export function lockCommand(): Command {
  return addSourceOptions(new Command('lock'))
    .description(
      'pin every artifact of a recipe in a file to commit; build from it with `kina build node-image --locked`',
    )
    .argument('[source]', 'Kubernetes, as for build node-image')
    .option('-o, --output <file>', 'where to write it; - for standard output', 'kina.lock')
    .option('--json', 'answer as JSON', false)
    .action((source: string | undefined, _own: LockFlags, command: Command) =>
      run(source, command.optsWithGlobals<LockFlags>()),
    );
}

async function run(source: string | undefined, flags: LockFlags): Promise<void> {
  // Loaded when wanted, as `build.ts` explains.
  const { formatLock, lockDigest, writeLock } = await import('../build/lock.ts');
  const { prepare } = await import('../build/prepare.ts');
  const { prepareRequest, toolboxFor } = await import('./request.ts');
  const request = prepareRequest(source, flags, undefined);
  if (flags.output !== '-') await checkFileDestination(flags.output, 'lock');
  const { lock } = await withProgress(flags, async (reporter, signal) =>
    prepare(request, await toolboxFor(flags, reporter, signal)),
  );
  if (flags.output === '-') return answer(formatLock(lock));
  await writeLock(flags.output, lock);
  if (flags.json) return answerJson({ file: flags.output, digest: lockDigest(lock) });
  answer(`${flags.output} ${lockDigest(lock)}`);
}
