import { processEnvironment } from '../../host/environment.ts';
import { examine, exitCode } from '../../ops/doctor/check.ts';
import { doctorChecks } from '../../ops/doctor/checks.ts';
import { machineProbes } from '../../ops/doctor/probes.ts';
import { openConnection } from '../../session/connection.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, version } from '../terminal/context.ts';

type Flags = MirrorFlags & GlobalFlags & { json: boolean };

export async function run(flags: Flags): Promise<void> {
  const environment = processEnvironment();
  const connect = async () => {
    const { transport, debianBases } = await openConnection({ ...flags, environment, version });
    return { transport, debian: debianBases.debian ?? 'http://ftp.debian.org/debian' };
  };
  const probes = machineProbes({ environment, connect: flags.offline ? undefined : connect });
  const findings = await examine(doctorChecks, probes, (finding) => {
    if (flags.json || (flags.quiet && finding.state === 'ok')) return;
    answer(`${finding.state.padEnd(7)} ${finding.title}: ${finding.found}`);
    if (finding.advice) answer(`        ${finding.advice}`);
  });
  if (flags.json) answerJson(findings);
  process.exitCode = exitCode(findings);
}
