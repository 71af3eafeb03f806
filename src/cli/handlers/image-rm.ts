import { removeImage } from '../../oci/image/inspect.ts';
import { answer } from '../terminal/context.ts';
import { openStore } from './shared/store.ts';

export async function run(_flags: unknown, refs: string[]): Promise<void> {
  const store = await openStore();
  for (const ref of refs) {
    await removeImage(store, ref);
    answer(ref);
  }
}
