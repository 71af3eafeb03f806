/** `kina outdated`: what a lock would pin otherwise today. */
import { Command } from 'commander';
import type { Update } from '../../ops/outdated/compare.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { table } from '../terminal/format.ts';
import { insecureOption, mirrorOption } from './shared.ts';
import { sessionFor } from './toolbox.ts';

interface OutdatedFlags extends GlobalFlags {
  lock: string;
  recipe?: string;
  mirror: string[];
  debianMirror?: string;
  debianSecurityMirror?: string;
  insecureRegistry: string[];
  json: boolean;
}

export function outdatedCommand(): Command {
  return new Command('outdated')
    .description(
      'compare a lock with what upstream and Debian have now: what is newer and why it matters; exit code 1 when something is',
    )
    .option('--lock <file>', 'the lock', 'kina.lock')
    .option('--recipe <name|file>', "its recipe, when it is none of kina's (default: the one that the lock names)")
    .addOption(mirrorOption())
    .option('--debian-mirror <url>', "base URL of Debian's archive (also KINA_DEBIAN_MIRROR)")
    .option('--debian-security-mirror <url>', 'the same for its security updates (also KINA_DEBIAN_SECURITY_MIRROR)')
    .addOption(insecureOption())
    .option('--json', 'answer as JSON', false)
    .action(async (_own: unknown, command: Command) => run(command.optsWithGlobals<OutdatedFlags>()));
}

async function run(flags: OutdatedFlags): Promise<void> {
  const { readLock } = await import('../../build/lock.ts');
  const { compareLocks } = await import('../../ops/outdated/compare.ts');
  const { newestLock } = await import('../../ops/outdated/newest.ts');
  const old = await readLock(flags.lock);
  const now = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, reporter, signal);
    return newestLock(old, flags.recipe ?? old.recipe, tools);
  });
  const updates = compareLocks(old, now.lock, now.kubernetes);
  if (updates.length > 0) process.exitCode = 1;
  if (flags.json) return answerJson({ lock: flags.lock, outdated: updates.length > 0, updates });
  answer(updates.length > 0 ? updatesText(updates) : `${flags.lock} is up to date`);
}

/** A line each. */
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
