/** `kina doctor`: is everything here that images and clusters need? */
import { Command } from 'commander';
import { answer, answerJson, type GlobalFlags, version } from '../terminal/context.ts';
import { addMirrorOptions, type MirrorFlags } from './shared.ts';

type Flags = MirrorFlags & GlobalFlags & { json: boolean };

export function doctorCommand(): Command {
  return addMirrorOptions(new Command('doctor'))
    .description(
      'check this machine: engines, limits, disk, the store, upstreams, clock, clusters; what to do, line by line',
    )
    .option('--json', 'answer as JSON', false)
    .addHelpText(
      'after',
      '\nExit code: 0 all well (warnings too), 1 something will not work, 2 something could not be told.',
    )
    .action(async (_own: unknown, command: Command) => run(command.optsWithGlobals<Flags>()));
}

async function run(flags: Flags): Promise<void> {
  const { examine, exitCode } = await import('../../ops/doctor/check.ts');
  const { doctorChecks } = await import('../../ops/doctor/checks.ts');
  const { machineProbes } = await import('../../ops/doctor/probes.ts');
  const { openConnection } = await import('../../session/connection.ts');
  const connect = async () => {
    const { transport, debianBases } = await openConnection({ ...flags, mirrors: flags.mirror, version });
    return { transport, debian: debianBases.debian ?? 'http://ftp.debian.org/debian' };
  };
  const probes = machineProbes({ connect: flags.offline ? undefined : connect });
  const findings = await examine(doctorChecks, probes, (finding) => {
    if (flags.json || (flags.quiet && finding.state === 'ok')) return;
    answer(`${finding.state.padEnd(7)} ${finding.title}: ${finding.found}`);
    if (finding.advice) answer(`        ${finding.advice}`);
  });
  if (flags.json) answerJson(findings);
  process.exitCode = exitCode(findings);
}
