import type { Update } from '../../ops/outdated/compare.ts';
import { table } from './format.ts';

/** A table with a line for each update. */
export function updatesText(updates: readonly Update[]): string {
  const rows = updates.map(({ kind, name, locked, newest, platforms, security, why }) => [
    security ? 'SECURITY' : kind,
    name,
    locked ?? '-',
    newest ?? '-',
    platforms.join(','),
    why,
  ]);
  return table([['KIND', 'NAME', 'LOCKED', 'NEWEST', 'PLATFORMS', 'WHY'], ...rows]);
}
