import { defineCommand } from '../command.ts';
import { jsonFlag, mirrorFlags } from '../flags.ts';

export const doctor = defineCommand({
  name: 'doctor',
  summary: 'Check this machine (engines, limits, disk, store, upstreams, clock, clusters) and print what to fix',
  flags: [...mirrorFlags, jsonFlag],
  notes: 'Exit code: 0 if all checks pass or only warn, 1 if something will not work, 2 if a check gave no answer.',
  run: () => import('../handlers/doctor.ts'),
});
