import { processEnvironment } from '../../host/environment.ts';
import { exitCode } from '../../ops/doctor/check.ts';
import { runDoctor } from '../../ops/doctor/doctor.ts';
import { version } from '../../session/version.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags } from '../terminal/context.ts';

type Flags = MirrorFlags & GlobalFlags & { json: boolean };

export async function run(flags: Flags): Promise<void> {
  const findings = await runDoctor({
    ...flags,
    environment: processEnvironment(),
    version,
    onFinding(finding) {
      if (flags.json || (flags.quiet && finding.state === 'ok')) return;
      answer(`${finding.state.padEnd(7)} ${finding.title}: ${finding.found}`);
      if (finding.advice) answer(`        ${finding.advice}`);
    },
  });
  if (flags.json) answerJson(findings);
  process.exitCode = exitCode(findings);
}
