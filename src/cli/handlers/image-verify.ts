import { KinaError } from '../../host/errors.ts';
import { verifyImage } from '../../layers/image/verify.ts';
import { findImage } from '../../oci/image/select.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { openStore } from './shared/store.ts';

export async function run(flags: GlobalFlags & { readonly json: boolean }, ref: string): Promise<void> {
  const result = await withProgress(flags, async (reporter, signal) => {
    const store = await openStore();
    const descriptor = await findImage(store, ref);
    const task = reporter.task('read', ref);
    try {
      const found = await verifyImage(store, descriptor, { signal, task });
      task.done(undefined, true);
      return { ref, digest: descriptor.digest, ...found };
    } catch (error) {
      task.fail();
      throw error;
    }
  });
  if (flags.json) answerJson(result);
  if (result.damage.length) {
    process.exitCode = 1;
    if (flags.json) return;
    throw new KinaError('store', `${ref} is damaged`, {
      details: result.damage.map(({ what, digest, problem }) => `${what} (${digest.slice(0, 19)}): ${problem}`),
      hint: 'Build it again: damaged parts are downloaded or built again.',
    });
  }
  if (!flags.json) answer(`${ref}@${result.digest}: sound, ${result.blobs} blobs, ${bytes(result.bytes)} hashed`);
}
