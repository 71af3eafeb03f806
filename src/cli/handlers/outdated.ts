import { readLock } from '../../build/lock-file.ts';
import { compareLocks } from '../../ops/outdated/compare.ts';
import { newestLock } from '../../ops/outdated/newest.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { updatesText } from '../terminal/updates-text.ts';
import { sessionFor } from './shared/session.ts';

interface OutdatedFlags extends GlobalFlags {
  lock: string;
  recipe?: string;
  mirror: string[];
  insecureRegistry: string[];
  json: boolean;
}

export async function run(flags: OutdatedFlags): Promise<void> {
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
