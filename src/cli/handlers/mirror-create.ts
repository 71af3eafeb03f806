import { createMirror } from '../../ops/mirror.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { sessionFor } from './shared/session.ts';

interface CreateFlags extends MirrorFlags, GlobalFlags {
  json: boolean;
}

export async function run(flags: CreateFlags, lock: string, dir: string): Promise<void> {
  const result = await withProgress(flags, async (reporter, signal) =>
    createMirror(lock, dir, await sessionFor(flags, reporter, signal)),
  );
  if (flags.json) return answerJson(result);
  answer(result.directory);
  if (flags.quiet) return;
  const base = `file://${result.directory}`;
  process.stderr.write(
    [
      `${result.files} files, ${bytes(result.bytes)}, ${result.written} of them new`,
      `Next: kina build node-image --lock ${result.lock} ${mirrorArguments(base, result.archives)}`,
      '',
    ].join('\n'),
  );
}

function mirrorArguments(base: string, archives: readonly string[]): string {
  return [
    `--mirror ${base}`,
    ...(archives.includes('debian') ? [`--debian-mirror ${base}/debian`] : []),
    ...(archives.includes('debian-security') ? [`--debian-security-mirror ${base}/debian-security`] : []),
  ].join(' ');
}
