/** The child process of disk-process.ts: it takes one request, answers and ends. It also ends with its parent. */
import { KinaError } from '../../host/errors.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import { Store } from '../../oci/store/store.ts';
import { writeDisk } from './disk.ts';

export interface DiskOrder {
  /** Of the store. */
  readonly root: string;
  readonly image: PlatformImage;
  readonly path: string;
  readonly texts: readonly string[];
}

export type DiskAnswer =
  | { readonly size: number; readonly inodes: number; readonly texts: readonly (readonly [string, string])[] }
  | { readonly error: Pick<KinaError, 'code' | 'message' | 'hint' | 'details'> };

async function answerTo({ root, image, path, texts }: DiskOrder): Promise<DiskAnswer> {
  try {
    const disk = await writeDisk(await Store.open(root), image, path, { texts });
    return { size: disk.size, inodes: disk.inodes, texts: [...disk.texts] };
  } catch (error) {
    if (error instanceof KinaError) {
      const { code, message, hint, details } = error;
      return { error: { code, message, hint, details } };
    }
    return { error: { code: 'internal', message: (error as Error).message, hint: undefined, details: [] } };
  }
}

// the parent is gone; the next start removes the disk
process.once('disconnect', () => process.exit(1));
process.once('message', async (order) => {
  process.send?.(await answerTo(order as DiskOrder), () => process.exit(0));
});
