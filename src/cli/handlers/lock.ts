import { lockDigest } from '../../build/lock.ts';
import { formatLock, readLock, writeLock } from '../../build/lock-file.ts';
import { resolveRecipe } from '../../build/resolve.ts';
import { KinaError } from '../../host/errors.ts';
import { checkFileDestination } from '../../host/files.ts';
import { compareLocks } from '../../ops/outdated/compare.ts';
import { newestLock } from '../../ops/outdated/newest.ts';
import { upgradeOne } from '../../ops/outdated/upgrade.ts';
import type { SourceFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { updatesText } from '../terminal/updates-text.ts';
import { resolveRequest } from './shared/request.ts';
import { sessionFor } from './shared/session.ts';

interface LockFlags extends SourceFlags, GlobalFlags {
  output: string;
  upgrade: boolean | string;
  json: boolean;
}

export async function run(flags: LockFlags, source: string | undefined): Promise<void> {
  if (flags.upgrade === false) return lock(source, flags);
  const given = source ?? flagsOfSource(flags);
  if (given !== undefined)
    throw new KinaError('usage', `--upgrade cannot be used with ${given}: it updates what is in the lock`, {
      hint: 'Without --upgrade, the lock is made from these settings.',
    });
  return upgrade(flags);
}

/** The first flag that selects what to lock. */
function flagsOfSource({ type, platform, arch, set, strict, offline }: LockFlags): string | undefined {
  const given = { type, platform, arch, set: set.length > 0, strict, offline };
  const name = Object.entries(given).find(([, value]) => value)?.[0];
  return name && `--${name}`;
}

async function lock(source: string | undefined, flags: LockFlags): Promise<void> {
  const request = resolveRequest(source, flags, undefined);
  if (flags.output !== '-') await checkFileDestination(flags.output, 'lock');
  const { lock } = await withProgress(flags, async (reporter, signal) =>
    resolveRecipe(request, await sessionFor(flags, reporter, signal)),
  );
  if (flags.output === '-') return answer(formatLock(lock));
  await writeLock(flags.output, lock);
  if (flags.json) return answerJson({ file: flags.output, digest: lockDigest(lock) });
  answer(`${flags.output} ${lockDigest(lock)}`);
}

/** Writes the updates that `kina outdated` lists into the file. */
async function upgrade(flags: LockFlags): Promise<void> {
  const old = await readLock(flags.output);
  const recipe = flags.recipe ?? old.recipe;
  const lock = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, reporter, signal);
    if (typeof flags.upgrade === 'string') return upgradeOne(flags.output, recipe, flags.upgrade, tools);
    return (await newestLock(old, recipe, tools)).lock;
  });
  await writeLock(flags.output, lock);
  const updates = compareLocks(old, lock);
  if (flags.json) return answerJson({ file: flags.output, digest: lockDigest(lock), updates });
  if (!flags.quiet && updates.length > 0) process.stderr.write(`${updatesText(updates)}\n`);
  answer(`${flags.output} ${lockDigest(lock)}`);
}
