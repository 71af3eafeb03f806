/**
 * `writeDisk` in a child process, for long-lived callers: planning the disk of a large image takes 100 MB for seconds, and a
 * process never returns that memory (measured: a service of 85 MB had 150 MB from its first large pull on).
 */
import { type ChildProcess, fork } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { KinaError } from '../../host/errors.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import type { Store } from '../../oci/store/store.ts';
import type { WrittenDisk } from './disk.ts';
import type { DiskAnswer, DiskOrder } from './disk-child.ts';

// the extension of this module, compiled or not
const program = fileURLToPath(import.meta.url).replace(/disk-process(\.\w+)$/, 'disk-child$1');

/** Like `writeDisk`; nothing is left at `path` when it throws. */
export async function writeDiskElsewhere(
  store: Store,
  image: PlatformImage,
  path: string,
  options: { texts: readonly string[]; signal: AbortSignal },
): Promise<WrittenDisk> {
  const { texts, signal } = options;
  signal.throwIfAborted();
  const child = fork(program, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  const stop = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', stop);
  try {
    const answer = await ask(child, { root: store.root, image, path, texts });
    signal.throwIfAborted();
    if ('error' in answer) {
      const { code, message, hint, details } = answer.error;
      throw new KinaError(code, message, { details, ...(hint === undefined ? {} : { hint }) });
    }
    return { size: answer.size, inodes: answer.inodes, texts: new Map(answer.texts) };
  } catch (error) {
    child.kill('SIGKILL');
    await rm(path, { force: true });
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function ask(child: ChildProcess, order: DiskOrder): Promise<DiskAnswer> {
  return new Promise((answered, failed) => {
    child.once('message', (answer) => answered(answer as DiskAnswer));
    child.once('error', failed);
    child.once('exit', (code, signal) =>
      failed(new KinaError('internal', `writing ${order.path} ended with ${signal ?? code} and no answer`)),
    );
    child.send(order);
  });
}
