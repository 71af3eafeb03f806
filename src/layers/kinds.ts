/** Finds step kinds by the name that recipes use. */
import type { StepKind } from './kind.ts';
import * as table from './kinds/table.ts';

export const stepKinds: ReadonlyMap<string, StepKind> = new Map(Object.values(table).map((kind) => [kind.name, kind]));
