import { KinaError } from '../../host/errors.ts';
import { verifyStore } from '../../oci/store/holdings.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { openStore } from './shared/store.ts';

export async function run(flags: GlobalFlags & { readonly json: boolean }): Promise<void> {
  const result = await withProgress(flags, async (reporter, signal) => {
    const task = reporter.task('read', 'the store');
    try {
      const found = await verifyStore(await openStore(), signal, task);
      task.done(undefined, true);
      return found;
    } catch (error) {
      task.fail();
      throw error;
    }
  });
  if (flags.json) answerJson(result);
  else if (!result.damage.length) answer(`sound: ${result.blobs} blobs, ${bytes(result.bytes)} hashed`);
  if (!result.damage.length) return;
  process.exitCode = 1;
  if (flags.json) return;
  throw new KinaError('store', `${result.damage.length} of ${result.blobs} blobs are damaged`, {
    details: result.damage.map(
      ({ digest, problem, usedBy }) => `${digest}: ${problem}${usedBy.length ? `; used by ${usedBy.join(', ')}` : ''}`,
    ),
    hint: 'They are marked as damaged and will not be used. Build again to download or build them again.',
  });
}
