/** All checks of `kina doctor`, in the order in which people want to know. */
import { appleChecks } from './apple.ts';
import type { Check } from './check.ts';
import { engineChecks } from './engines.ts';
import { machineChecks } from './machine.ts';
import { reachChecks } from './reach.ts';

export const doctorChecks: readonly Check[] = [...appleChecks, ...engineChecks, ...machineChecks, ...reachChecks];
