/** All checks of `kina doctor`, in the order of the output. */
import { appleChecks } from './apple.ts';
import type { DoctorCheck } from './check.ts';
import { connectivityChecks } from './connectivity.ts';
import { engineChecks } from './engines.ts';
import { machineChecks } from './machine.ts';

export const doctorChecks: readonly DoctorCheck[] = [
  ...appleChecks,
  ...engineChecks,
  ...machineChecks,
  ...connectivityChecks,
];
