/** `kina version` */
import { Command } from 'commander';
import { answer, type GlobalFlags, version } from '../terminal/context.ts';

export function versionCommand(): Command {
  return new Command('version').description('print the version').action((_own: unknown, command: Command) => {
    const { quiet } = command.optsWithGlobals<GlobalFlags>();
    answer(quiet ? version : `kina v${version} node${process.versions.node} ${process.platform}/${process.arch}`);
  });
}
