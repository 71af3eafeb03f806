/** `kina lock [SOURCE]` */
import { Command } from 'commander';
import { formatLock, lockDigest, writeLock } from '../build/lock.ts';
import { prepare } from '../build/prepare.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from './context.ts';
import { addSourceOptions, prepareRequest, type SourceFlags, toolboxFor } from './shared.ts';

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
    .action(async (source: string | undefined, _own: LockFlags, command: Command) => {
      const flags = command.optsWithGlobals<LockFlags>();
      const request = prepareRequest(source, flags, undefined);
      const { lock } = await withProgress(flags, async (reporter, signal) =>
        prepare(request, await toolboxFor(flags, reporter, signal)),
      );
      if (flags.output === '-') return answer(formatLock(lock));
      await writeLock(flags.output, lock);
      if (flags.json) return answerJson({ file: flags.output, digest: lockDigest(lock) });
      answer(`${flags.output} ${lockDigest(lock)}`);
    });
}
